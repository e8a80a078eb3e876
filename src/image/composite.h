/* composite.h - putting a drawn part into a picture, and its colours right first.
 *
 * Drawn parts are [height, width, 3] floats in -1..1 (what is beyond is cut off). */
#ifndef KILN_IMAGE_COMPOSITE_H
#define KILN_IMAGE_COMPOSITE_H

#include "image/image.h"

/* A place for a drawn part in a picture, both of them its size; it lies inside the picture. */
typedef struct place {
    int x, y, width, height; /* px */
} place;

/* Mix `drawn` into the picture, in its own samples: share [height, width] 0 leaves a pixel exactly as it is, bit for bit; 1
 * is the drawn pixel; between them both are mixed, weighted by alpha where there is one. What is drawn is opaque. A grey
 * picture stays grey (ITU-R 601 luma of what is drawn). */
void composite(image *picture, place, const float *drawn, const float *share);

/* Replace all colours of a picture of drawn's size; its alpha stays. */
void composite_colours(image *picture, const float *drawn);

/* Take a slow difference in colour between `drawn` and `original` away, which an autoencoder leaves even where nothing was
 * changed. Where `kept` [height, width] is not 0 both should be equal: their difference there, blurred by `sigma` px, is
 * added to the drawn part, fading with the distance from what is kept. */
kiln_status match_seam(float *drawn, const float *original, const float *kept, int width, int height,
                       double sigma, kiln_error *);

#endif
