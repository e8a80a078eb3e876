/* picture_size.h - width and height of a picture file from its header alone.
 *
 * PNG (IHDR), JPEG (the SOF marker; ITU-T T.81, B.2.2) and WebP (VP8, VP8L, VP8X; RFC 9649), upright: a
 * JPEG's EXIF orientation swaps them. The body is not looked at. */
#ifndef KILN_TRAIN_PICTURE_SIZE_H
#define KILN_TRAIN_PICTURE_SIZE_H

#include "base/error.h"

/* IO, or BAD_FORMAT when the file is no picture or its header is cut off. The sentence does not name the
 * file. */
kiln_status picture_size(const char *path, int *width_px, int *height_px, kiln_error *err) KILN_CHECKED;

#endif
