/* image_tensor.h - pixels to the numbers that models work on, and back.
 *
 * As diffusers' VaeImageProcessor: v/255 (16 bits: v/65535), then 2x-1; back: clamp(x/2+0.5, 0, 1), then
 * 255 times that, rounded half to even. */
#ifndef KILN_IMAGE_IMAGE_TENSOR_H
#define KILN_IMAGE_IMAGE_TENSOR_H

#include "image/image.h"

/* Fill `nhwc`, [height, width, 3], with values in -1..1. Gray is replicated; alpha is composited over
 * white in float (A1111's rule for img2img; opaque pixels are exact). */
void image_to_tensor(const image *, float *nhwc);

/* Fill `mask`, [height, width], with the luma (ITU-R 601, as PIL's "L") in 0..1, alpha ignored. */
void image_to_mask(const image *, float *mask);

/* A picture of `bits` (8 or 16) from `nhwc`, [height, width, channels] in -1..1; values outside are clamped.
 * BAD_FORMAT when a value is not finite: such a picture would be a lie. */
kiln_status image_from_tensor(const float *nhwc, int width, int height, int channels, int bits, image **out,
                              kiln_error *err);

#endif
