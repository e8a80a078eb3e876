/* peak.h - what this machine can do: the best speed of a matrix product, measured in this process. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "base/error.h"
#include "tensor/tensor.h"

/* GFLOP/s of the fastest of a few matrix products whose operands fit the caches as well as a model's do
 * (2048 x 2048 x 2048, 4096 x 1024 x 1024, 8192 x 1024 x 1024, 2048 x 640 x 640, 8192 x 320 x 320), each
 * the best of `repeats`. F32 or BF16; 0 where the type has no kernel. Takes about a second. */
kiln_status peak_measure(dtype, int threads, int repeats, double *gflops, kiln_error *);

#endif
