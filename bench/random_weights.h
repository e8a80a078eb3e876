/* random_weights.h - weights for networks whose speed and memory are measured: their values do not matter, but they must
 * keep signals finite through hundreds of layers. */
#ifndef KILN_BENCH_RANDOM_WEIGHTS_H
#define KILN_BENCH_RANDOM_WEIGHTS_H

#include "backend/packed.h"

/* Uniform numbers of deviation 1/sqrt(fan in); norms near 1, biases near 0. The same for the same parameter index. */
parameter_source random_weights(void);

#endif
