/* image.h - a picture in memory: interleaved pixels, nothing else.
 *
 * Channels are 1 gray, 2 gray+alpha, 3 RGB, 4 RGB+alpha (alpha not premultiplied, as the files have it).
 * Samples are uint8_t (bits 8) or native-endian uint16_t (bits 16), rows from the top, no padding. */
#ifndef KILN_IMAGE_IMAGE_H
#define KILN_IMAGE_IMAGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMAGE_MAX_SIDE = 65500 };
#define IMAGE_MAX_PIXELS ((int64_t)1 << 28)

typedef struct image {
    int width, height;
    int channels; /* 1..4 */
    int bits;     /* 8 or 16 */
    void *pixels;
} image;

/* A zeroed (black, transparent) picture. BAD_ARGUMENT when a side is not 1..IMAGE_MAX_SIDE or there would
 * be more than IMAGE_MAX_PIXELS; NO_MEMORY. The caller gives it back with image_free. */
kiln_status image_new(int width, int height, int channels, int bits, image **out, kiln_error *err);
/* Accepts NULL. */
void image_free(image *);

/* Bytes of one row, and of the whole picture. */
size_t image_row_bytes(const image *);
size_t image_bytes(const image *);
static inline bool image_has_alpha(const image *picture)
{
    return picture->channels == 2 || picture->channels == 4;
}

/* The rectangle of `width` x `height` whose top left corner is (x, y), which must lie inside. */
kiln_status image_crop(const image *from, int x, int y, int width, int height, image **out, kiln_error *err);

/* Turn a picture the way its EXIF orientation (1..8, TIFF tag 0x0112) asks for it to be shown; any other
 * number leaves it alone. Replaces *picture; on failure *picture is as before. */
kiln_status image_orient(image **picture, int orientation, kiln_error *err);

/* A copy with 8 bits per sample (16-bit samples scaled by 255/65535 and rounded) in `channels` channels:
 * gray is replicated to RGB; RGB becomes gray by ITU-R 601 luma (0.299, 0.587, 0.114); a lost alpha is
 * composited over white; a gained alpha is opaque. */
kiln_status image_to_bytes(const image *from, int channels, image **out, kiln_error *err);

#endif
