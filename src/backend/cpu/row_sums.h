/* row_sums.h - sums over rows of channels, as gradients of biases, slopes and norm weights are.
 *
 * Rows are cut into chunks of a fixed size, within each sample. A chunk is summed in f32 while its data are in the
 * first-level cache; the chunks are added in order, in double. So no sum depends on the number of threads. */
#ifndef KILN_BACKEND_CPU_ROW_SUMS_H
#define KILN_BACKEND_CPU_ROW_SUMS_H

#include "backend/backend.h"

typedef struct row_sums {
    int64_t samples, rows, channels; /* rows of each sample; the result is [samples,channels] */
    dtype type;                      /* of the result */
    /* sum[c] += f(row, c) for `count` rows from `first` on, counted over all samples; c from `from`, `width` of them. */
    void (*add)(const void *self, int64_t first, int64_t count, int64_t from, int64_t width, float *sum);
    const void *self;
} row_sums;

size_t row_sums_scratch(const row_sums *);
void row_sums_run(const row_sums *, void *output, void *scratch, int threads);

/* sum[c] += x[i*stride+c] over the rows */
void row_sums_add_f32(const float *x, int64_t rows, int64_t stride, int64_t width, float *sum);
void row_sums_add_bf16(const uint16_t *x, int64_t rows, int64_t stride, int64_t width, float *sum);

#endif
