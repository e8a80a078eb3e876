/* hot_backward.h - as hot_avx512.h, for the reverse pass: loops over bf16 that show in a profile. The caller has checked
 * cpu_features.avx512_bf16. */
#ifndef KILN_BACKEND_CPU_HOT_BACKWARD_H
#define KILN_BACKEND_CPU_HOT_BACKWARD_H

#include <stdint.h>

/* dx = dy * silu'(x) for SiLU times `slope`; dx may be dy */
void hot_silu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, float slope, int64_t n);
/* dx = dy * gelu'(x); dx may be dy */
void hot_gelu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, int64_t n);
/* dx = dy * gelu(gate), dgate = dy * x * gelu'(gate) */
void hot_geglu_backward_bf16(const uint16_t *x, const uint16_t *gate, const uint16_t *dy, uint16_t *dx,
                             uint16_t *dgate, int64_t n);
/* z = x + y; z may be x */
void hot_add_bf16(const uint16_t *x, const uint16_t *y, uint16_t *z, int64_t n);

#endif
