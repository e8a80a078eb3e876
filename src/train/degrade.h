/* degrade.h - a picture made small as the world does it: blurred, resampled, noisy, squeezed into a JPEG.
 *
 * After Wang et al. 2021 (Real-ESRGAN, section 3), with ranges that a recipe sets: each picture draws how much of each it
 * gets, from its own bits, so that a training is repeatable. Of second order: all of it twice, the first time to a size
 * in between. */
#ifndef KILN_TRAIN_DEGRADE_H
#define KILN_TRAIN_DEGRADE_H

#include "base/error.h"

#include <stdbool.h>

typedef struct degradation {
    int scale;
    double blur;  /* most of the Gaussian's deviation, in pixels of the large picture */
    double noise; /* most of the deviation, of 0..255 */
    int jpeg;     /* lowest quality; 0: none */
    bool second_order;
} degradation;

/* `large`, [height,width,3] in -1..1, to `small`, [height/scale,width/scale,3] in 0..1, in steps of 1/255. Without blur,
 * noise and JPEG it is bicubic resampling. */
kiln_status degrade(const degradation *, const float *large, int width, int height, uint64_t bits,
                    float *small, kiln_error *err);

#endif
