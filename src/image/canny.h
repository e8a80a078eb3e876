/* canny.h - edges of a picture (Canny 1986), as OpenCV's Canny finds them with aperture 3 and the L1 norm: what edge
 * ControlNets were trained on.
 *
 * Sobel's 3x3 gradients with edge pixels repeated; of several channels the steepest counts; a pixel is a candidate where
 * |dx|+|dy| is above `low` and not less than its neighbours across the edge; it is an edge where it is above `high`, or
 * touches one that is an edge (8 neighbours). OpenCV's Canny blurs nothing before. */
#ifndef KILN_IMAGE_CANNY_H
#define KILN_IMAGE_CANNY_H

#include "image/image.h"

typedef struct canny_options {
    double low, high; /* 0..2040; which is which does not matter */
    double blur;      /* deviation of a Gauss filter before, in px, 0..64; 0: none */
} canny_options;

/* A grey picture of 8 bits: 255 on edges, else 0. Alpha is laid over white. BAD_ARGUMENT for options out of range. */
kiln_status canny_edges(const image *, const canny_options *, image **out, kiln_error *err);

#endif
