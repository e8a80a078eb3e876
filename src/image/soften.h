/* soften.h - wide blurs in constant time per pixel.
 *
 * Three box filters in a row are a Gaussian but for a percent (the central limit theorem); a box whose length is no whole
 * odd number gives its two outermost pixels the rest of the weight, so that any deviation is met exactly. Beyond the edge
 * the edge's pixel goes on. This is how PIL's GaussianBlur works, which A1111's "fill" is defined by. */
#ifndef KILN_IMAGE_SOFTEN_H
#define KILN_IMAGE_SOFTEN_H

#include "base/error.h"

#include <stdbool.h>

/* Blur `values`, [height, width, channels], in place by a deviation of `sigma` px (0: nothing is done). */
kiln_status soften(float *values, int width, int height, int channels, double sigma, kiln_error *);

#endif
