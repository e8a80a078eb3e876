/* small_file.h - whole small files: configurations, vocabularies. */
#ifndef KILN_WEIGHTS_SMALL_FILE_H
#define KILN_WEIGHTS_SMALL_FILE_H

#include "base/arena.h"
#include "base/error.h"

#include <stddef.h>

/* No configuration is larger. */
enum { SMALL_FILE_MAX = 16 << 20 };

/* The bytes of the file, with a NUL after them, in the arena. */
kiln_status small_file_read(const char *path, arena *memory, const char **text, size_t *length,
                            kiln_error *err);

bool path_is_file(const char *path);
bool path_is_folder(const char *path);

#endif
