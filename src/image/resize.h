/* resize.h - resampling, as PIL does it: separable, columns then rows, the filter stretched by the scale
 * when shrinking (so it never aliases), weights normalised at the edges. Floats and 16-bit samples are
 * summed in float, in a fixed order; 8-bit pictures come out bit for bit as from PIL 9.4.
 *
 * Filters (support in source pixels when enlarging): nearest; box 0.5; bilinear (triangle) 1; bicubic
 * (Keys, a = -1/2) 2; Lanczos 3. Sources: R. Keys 1981; C. E. Duchon 1979; the behaviour of PIL's
 * Image.resize. */
#ifndef KILN_IMAGE_RESIZE_H
#define KILN_IMAGE_RESIZE_H

#include "image/image.h"

typedef enum resize_filter {
    RESIZE_NEAREST,
    RESIZE_BOX,
    RESIZE_BILINEAR,
    RESIZE_BICUBIC,
    RESIZE_LANCZOS,
} resize_filter;

/* Resample `from`, [from_height, from_width, channels], into `to`, [to_height, to_width, channels]. Values
 * are not clamped: bicubic and Lanczos overshoot. BAD_ARGUMENT for sizes out of 1..IMAGE_MAX_SIDE;
 * NO_MEMORY. */
kiln_status resize_floats(const float *from, int from_width, int from_height, int channels, float *to,
                          int to_width, int to_height, resize_filter filter, kiln_error *err);

/* Resample a picture; rounds to nearest and clamps. Colours are weighted by alpha where there is one
 * (except by RESIZE_NEAREST), so that what is under transparent pixels does not bleed. */
kiln_status image_resize(const image *from, int width, int height, resize_filter filter, image **out,
                         kiln_error *err);

#endif
