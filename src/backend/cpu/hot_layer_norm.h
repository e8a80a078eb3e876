/* hot_layer_norm.h - as hot_avx512.h: layer norm over rows of bf16, and its gradients. A row stays in the first-level
 * cache while mean, variance and result are taken of it. Rows have at most HOT_LONGEST_ROW channels. */
#ifndef KILN_BACKEND_CPU_HOT_LAYER_NORM_H
#define KILN_BACKEND_CPU_HOT_LAYER_NORM_H

#include <stdint.h>

enum { HOT_LONGEST_ROW = 4096 };

typedef struct layer_rows {
    const uint16_t *x;
    int64_t rows, channels;
    float epsilon;
    const float *weight, *bias; /* [channels]; bias: of the norm itself only */
} layer_rows;

/* y = (x - mean) * scale * weight + bias; y may be x */
void hot_layer_norm_bf16(const layer_rows *, uint16_t *y);
/* dx of dy, by data; dx may be dy */
void hot_layer_norm_backward_bf16(const layer_rows *, const uint16_t *dy, uint16_t *dx);
/* sum[c] += dy * (x - mean) * scale for channels from .. from+width-1; dy starts at its first row */
void hot_layer_norm_products_bf16(const layer_rows *, const uint16_t *dy, int64_t from, int64_t width,
                                  float *sum);

#endif
