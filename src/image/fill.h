/* fill.h - something plausible where a picture is not known, for a drawing to start from.
 *
 * Pictures here are [height, width, 3] floats, in any range; masks are [height, width], 1 where nothing is known. */
#ifndef KILN_IMAGE_FILL_H
#define KILN_IMAGE_FILL_H

#include "base/error.h"

#include <stdbool.h>

/* The colours around, ever more blurred the farther they are: A1111's "fill". The known part is blurred by 256, 64, 16, 4
 * and 2 px with the unknown part as transparency, and the layers are laid over each other (1, 1, 2, 4, 2 times). */
kiln_status fill_blurred(float *picture, const float *mask, int width, int height, kiln_error *);

typedef struct fill_box {
    int x, y, width, height; /* px */
} fill_box;

/* What is outside of the box, as the box's edge goes on, or as it is mirrored at its edges. */
void fill_edge(float *picture, int width, int height, fill_box known);
void fill_mirror(float *picture, int width, int height, fill_box known);

/* Noise with the spectrum and the colours of the known part: what outpainting begins with when the picture is to go on,
 * not to be copied ("Outpainting mk2" of A1111, from its description). The known part, faded out towards the unknown one,
 * gives the amplitude of each frequency; the phases are random; then the noise is given the known part's distribution of
 * each colour. `noise` is [FILL_NOISES, height, width], normal numbers: those that all colours share, and of each colour
 * its own, of which there is a share of `variation` (0..1). */
enum { FILL_NOISES = 4 };
kiln_status fill_spectrum(float *picture, const float *mask, int width, int height, double variation,
                          const float *noise, kiln_error *);

#endif
