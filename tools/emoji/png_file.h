/* png_file.h - RGB pictures to PNG, fast (zlib level 1) or small. */
#ifndef EMOJI_PNG_FILE_H
#define EMOJI_PNG_FILE_H

#include "base/error.h"

#include <stdint.h>

/* `level` is zlib's, 0..9. Not through a temporary file: a set of scenes is made again when it was interrupted. */
kiln_status png_file_write(const char *path, const uint8_t *rgb, int width, int height, int level,
                           kiln_error *err);

#endif
