/* hot_avx512.h - the few element-wise loops over bf16 that show in a profile, written with AVX-512
 * intrinsics. The caller has checked cpu_features.avx512_bf16. Results are rounded to bf16, so the
 * approximations only have to be good to about 1e-4 of the result. */
#ifndef KILN_BACKEND_CPU_HOT_AVX512_H
#define KILN_BACKEND_CPU_HOT_AVX512_H

#include "backend/cpu/norm_rows.h"

/* y = act((x + offset) * factor + bias), act SiLU or nothing; x, y bf16 */
void hot_norm_rows_bf16(const norm_rows *, bool silu);
/* y[i] = x[i] * gelu(gate[i]); bf16 */
void hot_geglu_bf16(const uint16_t *x, const uint16_t *gate, uint16_t *y, int64_t n);
/* y[i] = gelu(x[i]); bf16 */
void hot_gelu_bf16(const uint16_t *x, uint16_t *y, int64_t n);
/* y[i] = act(x[i]) for SiLU times `slope`; bf16 */
void hot_silu_bf16(const uint16_t *x, uint16_t *y, float slope, int64_t n);

#endif
