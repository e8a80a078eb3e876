/* hot_group_norm.h - as hot_backward.h: the two walks over memory of group norm's gradients, in bf16, with SiLU after the
 * norm or nothing. */
#ifndef KILN_BACKEND_CPU_HOT_GROUP_NORM_H
#define KILN_BACKEND_CPU_HOT_GROUP_NORM_H

#include <stdbool.h>
#include <stdint.h>

/* Rows of channels: e = x + offset, t = e * factor + bias, g = dy * act'(t). */
typedef struct group_norm_rows {
    const uint16_t *x, *dy;
    int64_t rows, channels;
    const float *offset, *factor, *bias; /* [channels] */
    bool silu;
} group_norm_rows;

/* sum[c] += g, product[c] += g * e over the rows */
void hot_group_norm_sums_bf16(const group_norm_rows *, float *sum, float *product);

/* dx = g * by_g + e * by_x + common + added, which may be NULL; dx may be dy or added */
typedef struct group_norm_coefficients {
    const float *by_g, *by_x, *common; /* [channels] */
} group_norm_coefficients;
void hot_group_norm_backward_bf16(const group_norm_rows *, const group_norm_coefficients *,
                                  const uint16_t *added, uint16_t *dx);

#endif
