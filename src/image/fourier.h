/* fourier.h - the discrete Fourier transform of planes whose sides are powers of two (Cooley and Tukey 1965). */
#ifndef KILN_IMAGE_FOURIER_H
#define KILN_IMAGE_FOURIER_H

#include "base/error.h"

typedef struct wave {
    float re, im;
} wave;

/* The least power of two that is not below n >= 1. */
int fourier_size(int n);
/* Transform plane [height, width] in place: sums of x e^(-2 pi i k n / N), or with e^(+...) and divided by the number of
 * elements for `back`. The sides are powers of two. */
kiln_status fourier_plane(wave *plane, int width, int height, int back, kiln_error *);

#endif
