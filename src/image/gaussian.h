/* gaussian.h - a Gaussian blur by its very weights, for edges that others define to the bit; soften.h is the fast way. */
#ifndef KILN_IMAGE_GAUSSIAN_H
#define KILN_IMAGE_GAUSSIAN_H

#include "base/error.h"

#include <stdbool.h>

/* What lies beyond the edge. */
typedef enum gaussian_edge {
    GAUSSIAN_REPEAT, /* the edge's pixel goes on */
    GAUSSIAN_MIRROR  /* mirrored, the edge's pixel not repeated (OpenCV's BORDER_REFLECT_101) */
} gaussian_edge;

typedef struct gaussian {
    double sigma; /* px; 0: nothing is done */
    int reach;    /* px to each side that count; 0: nothing is done */
    gaussian_edge edge;
    bool bytes; /* after each direction numbers are rounded to steps of 1/255, as in an 8-bit picture */
} gaussian;

/* Blur `values`, [height, width, channels], in place, first along the rows. */
kiln_status gaussian_blur(const gaussian *, float *values, int width, int height, int channels, kiln_error *);

#endif
