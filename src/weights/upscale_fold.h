/* upscale_fold.h - SPAN's convolutions in one: 1x1 (w1), 3x3 (w2), 1x1 (w3) in a row, and 1x1 (s) beside, are
 *
 *     w[o,c,i,j] = sum_gh w3[o,h] w2[h,g,i,j] w1[g,c] + (i = j = 1) s[o,c]
 *     b[o]       = b3[o] + sum_h w3[o,h] (b2[h] + sum_gij w2[h,g,i,j] b1[g]) + bs[o]
 *
 * exactly, borders included, because the picture is padded before the first of them. Sums are in double. */
#ifndef KILN_WEIGHTS_UPSCALE_FOLD_H
#define KILN_WEIGHTS_UPSCALE_FOLD_H

#include "weights/binding.h"

typedef struct upscale_fold {
    const graph *graph; /* declares the long form */
    const weights *weights;
} upscale_fold;

/* Parameters of the folded graph, by their names: those that the long form has too are read as they are. Borrows. */
parameter_source upscale_fold_source(const upscale_fold *);

#endif
