/* hot_backward.c - see hot_backward.h. */
#include "backend/cpu/hot_backward.h"

#include "backend/cpu/avx512.h"

#if defined(__x86_64__)
/* 1 / (1 + 2^t), to 6e-5. */
AVX512 static inline __m512 chance16(__m512 t)
{
    return _mm512_rcp14_ps(_mm512_add_ps(power_of_two_fast(t), _mm512_set1_ps(1.0f)));
}

AVX512_BF16 void hot_silu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, float slope,
                                        int64_t n)
{
    const __m512 k = _mm512_set1_ps(-1.44269504f * slope), one = _mm512_set1_ps(1.0f),
                 factor = _mm512_set1_ps(slope);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        fetch_ahead(dy + i);
        __m512 v = load_widened(x + i, m);
        /* 2^127 is where the exponential would leave the range; s is 0 there all the same. */
        __m512 s = chance16(_mm512_min_ps(_mm512_mul_ps(v, k), _mm512_set1_ps(126.0f)));
        __m512 z = _mm512_mul_ps(_mm512_mul_ps(v, factor), _mm512_sub_ps(one, s));
        __m512 d = _mm512_fmadd_ps(z, s, s);
        store_narrowed(dx + i, m, _mm512_mul_ps(d, load_widened(dy + i, m)));
    }
}

/* gelu'(x), when p is Phi(x): the density by the fast exponential. */
AVX512 static inline __m512 gelu_slope16(__m512 x, __m512 p)
{
    __m512 square = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.72134752f));
    __m512 density = power_of_two_fast(_mm512_max_ps(square, _mm512_set1_ps(-126.0f)));
    return _mm512_fmadd_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.398942280f)), density, p);
}

AVX512_BF16 void hot_gelu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        fetch_ahead(dy + i);
        __m512 v = load_widened(x + i, m);
        store_narrowed(dx + i, m, _mm512_mul_ps(load_widened(dy + i, m), gelu_slope16(v, phi16(v))));
    }
}

AVX512_BF16 void hot_geglu_backward_bf16(const uint16_t *x, const uint16_t *gate, const uint16_t *dy,
                                         uint16_t *dx, uint16_t *dgate, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        fetch_ahead(gate + i);
        fetch_ahead(dy + i);
        __m512 v = load_widened(gate + i, m), g = load_widened(dy + i, m), p = phi16(v);
        __m512 left = _mm512_mul_ps(g, _mm512_mul_ps(v, p));
        __m512 right = _mm512_mul_ps(_mm512_mul_ps(g, load_widened(x + i, m)), gelu_slope16(v, p));
        store_narrowed(dx + i, m, left);
        store_narrowed(dgate + i, m, right);
    }
}

AVX512_BF16 void hot_add_bf16(const uint16_t *x, const uint16_t *y, uint16_t *z, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(x + i);
        fetch_ahead(y + i);
        store_narrowed(z + i, m, _mm512_add_ps(load_widened(x + i, m), load_widened(y + i, m)));
    }
}
#else
void hot_silu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, float slope, int64_t n)
{
    (void)x, (void)dy, (void)dx, (void)slope, (void)n;
}
void hot_gelu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, int64_t n)
{
    (void)x, (void)dy, (void)dx, (void)n;
}
void hot_geglu_backward_bf16(const uint16_t *x, const uint16_t *gate, const uint16_t *dy, uint16_t *dx,
                             uint16_t *dgate, int64_t n)
{
    (void)x, (void)gate, (void)dy, (void)dx, (void)dgate, (void)n;
}
void hot_add_bf16(const uint16_t *x, const uint16_t *y, uint16_t *z, int64_t n)
{
    (void)x, (void)y, (void)z, (void)n;
}
#endif
