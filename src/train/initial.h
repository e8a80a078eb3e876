/* initial.h - weights made from nothing, as torch and transformers begin with them.
 *
 *   linear, convolution      weight and bias uniform in +-1/sqrt(fan in): torch's reset_parameters, which is
 *                            Kaiming-uniform with a = sqrt(5) (He et al. 2015)
 *   norms                    weight 1, bias 0
 *   zero_init                the last layer of each residual block, and the UNet's last convolution, are 0 ("zero_module"
 *                            in the code of Rombach et al. 2022)
 *   text encoder             normal, with the deviations of CLIP (Radford et al. 2021): embeddings 0.02, attention
 *                            width^-1/2 and (2 layers width)^-1/2, feed-forward (2 width)^-1/2; biases 0
 *
 * Each tensor's numbers depend on the seed and its own name, and on nothing else. */
#ifndef KILN_TRAIN_INITIAL_H
#define KILN_TRAIN_INITIAL_H

#include "weights/probe.h"

typedef struct initial_weights {
    part_kind part;
    const graph *graph; /* that declares the parameters: a bias looks up its weight */
    uint64_t seed;
    bool zero_init;
    int text_width, text_layers;
} initial_weights;

/* Borrows `self`. */
parameter_source initial_source(const initial_weights *self);

#endif
