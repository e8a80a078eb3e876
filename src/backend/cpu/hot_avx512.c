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

/* x * Phi(x), Phi by an odd minimax polynomial on [-4, 4], within 9e-5; exactly 0 and 1 outside. */
AVX512 static inline __m512 gelu16(__m512 x)
{
    __m512 t = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-4.0f)), _mm512_set1_ps(4.0f));
    __m512 u = _mm512_mul_ps(t, t);
    __m512 p = _mm512_set1_ps(-1.5807914e-9f);
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(1.21712916e-7f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-4.10098668e-6f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(8.06707251e-5f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-1.04825763e-3f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(9.66542266e-3f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-6.61793056e-2f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(3.98871424e-1f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f));
    p = _mm512_min_ps(_mm512_max_ps(p, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
    return _mm512_mul_ps(x, p);
}

AVX512_BF16 void hot_norm_rows_bf16(const norm_rows *r, bool silu)
{
    const uint16_t *x = r->x;
    uint16_t *y = r->y;
    const __m512 k = _mm512_set1_ps(-1.44269504f);
    for (int64_t i = 0; i < r->rows; i++, x += r->channels, y += r->channels)
        for (int64_t c = 0; c < r->channels; c += 16) {
            __mmask16 m = first_lanes(r->channels - c);
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
        store_narrowed(y + i, m, _mm512_mul_ps(load_widened(x + i, m), gelu16(load_widened(gate + i, m))));
    }
}

AVX512_BF16 void hot_silu_bf16(const uint16_t *x, uint16_t *y, float slope, int64_t n)
{
    const __m512 k = _mm512_set1_ps(-1.44269504f * slope);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
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
void hot_silu_bf16(const uint16_t *x, uint16_t *y, float slope, int64_t n)
{
    (void)x, (void)y, (void)slope, (void)n;
}
#endif
