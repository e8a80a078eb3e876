/* hot_avx512.c - see hot_avx512.h. */
#include "backend/cpu/hot_avx512.h"

#include "backend/cpu/avx512.h"

#if defined(__x86_64__)
/* x / (1 + 2^(x * k)), k = -log2(e) * slope; reciprocal good to 6e-5. */
AVX512 static inline __m512 silu16(__m512 x, __m512 k)
{
    __m512 e = power_of_two_fast(_mm512_mul_ps(x, k));
    return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(e, _mm512_set1_ps(1.0f))));
}

AVX512_BF16 void hot_norm_rows_bf16(const norm_rows *r, bool silu)
{
    const uint16_t *x = r->x;
    uint16_t *y = r->y;
    const __m512 k = _mm512_set1_ps(-1.44269504f);
    for (int64_t i = 0; i < r->rows; i++, x += r->channels, y += r->channels)
        for (int64_t c = 0; c < r->channels; c += 16) {
            __mmask16 m = first_lanes(r->channels - c);
            fetch_ahead(x + c);
            __m512 v = _mm512_add_ps(load_widened(x + c, m), _mm512_maskz_loadu_ps(m, r->offset + c));
            v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, r->factor + c),
                                _mm512_maskz_loadu_ps(m, r->bias + c));
            store_narrowed(y + c, m, silu ? silu16(v, k) : v);
        }
}

AVX512_BF16 void hot_geglu_bf16(const uint16_t *x, const uint16_t *gate, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        fetch_ahead(gate + i);
        store_narrowed(y + i, m, _mm512_mul_ps(load_widened(x + i, m), gelu16(load_widened(gate + i, m))));
    }
}

AVX512_BF16 void hot_gelu_bf16(const uint16_t *x, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        store_narrowed(y + i, m, gelu16(load_widened(x + i, m)));
    }
}

AVX512_BF16 void hot_silu_bf16(const uint16_t *x, uint16_t *y, float slope, int64_t n)
{
    const __m512 k = _mm512_set1_ps(-1.44269504f * slope);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        store_narrowed(y + i, m, silu16(load_widened(x + i, m), k));
    }
}
#else
void hot_norm_rows_bf16(const norm_rows *r, bool silu)
{
    (void)r, (void)silu;
}
void hot_geglu_bf16(const uint16_t *x, const uint16_t *gate, uint16_t *y, int64_t n)
{
    (void)x, (void)gate, (void)y, (void)n;
}
void hot_gelu_bf16(const uint16_t *x, uint16_t *y, int64_t n)
{
    (void)x, (void)y, (void)n;
}
void hot_silu_bf16(const uint16_t *x, uint16_t *y, float slope, int64_t n)
{
    (void)x, (void)y, (void)slope, (void)n;
}
#endif
