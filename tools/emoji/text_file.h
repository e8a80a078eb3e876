/* text_file.h - whole small files in and out, folders made as needed. */
#ifndef EMOJI_TEXT_FILE_H
#define EMOJI_TEXT_FILE_H

#include "base/error.h"

#include <stddef.h>

/* *text is NUL-terminated and the caller's (free); NULL on failure. At most 1 GiB. */
kiln_status text_file_read(const char *path, char **text, size_t *size, kiln_error *err);
kiln_status text_file_write(const char *path, const void *bytes, size_t size, kiln_error *err);
/* Make a folder and those above it. One that exists is fine. */
kiln_status text_file_folder(const char *path, kiln_error *err);

#endif
