/* group_statistics.h - mean and scale = 1 / sqrt(variance + epsilon) of every group of channels of every sample.
 *
 * Positions are cut into chunks of a fixed size. Each chunk's mean and sum of squared deviations per group are both taken
 * from data that is still in the first-level cache; the chunks are merged in order, in double (Chan, Golub & LeVeque
 * 1979). So the variance does not suffer from a large mean, and no sum depends on the number of threads. */
#ifndef KILN_BACKEND_CPU_GROUP_STATISTICS_H
#define KILN_BACKEND_CPU_GROUP_STATISTICS_H

#include "tensor/tensor.h"

typedef struct group_statistics {
    double mean, scale;
} group_statistics;

/* What is measured: x [samples,positions,channels] as f32 or bf16, with a shift [samples,channels] added, or NULL. */
typedef struct group_input {
    dtype type;
    const void *x;
    const float *shift;
    int64_t samples, positions, channels, groups;
    float epsilon;
} group_input;

size_t group_statistics_scratch(const group_input *, int threads);
/* out [samples,groups] */
void group_statistics_run(const group_input *, group_statistics *out, void *scratch, int threads);

#endif
