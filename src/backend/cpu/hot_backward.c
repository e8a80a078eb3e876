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
        __m512 v = load_widened(x + i, m);
        /* 2^127 is where the exponential would leave the range; s is 0 there all the same. */
        __m512 s = chance16(_mm512_min_ps(_mm512_mul_ps(v, k), _mm512_set1_ps(126.0f)));
        __m512 z = _mm512_mul_ps(_mm512_mul_ps(v, factor), _mm512_sub_ps(one, s));
        __m512 d = _mm512_fmadd_ps(z, s, s);
        store_narrowed(dx + i, m, _mm512_mul_ps(d, load_widened(dy + i, m)));
    }
}

/* Phi as in hot_avx512.c; the density by the fast exponential. */
AVX512 static inline __m512 phi16(__m512 x)
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
    return _mm512_min_ps(_mm512_max_ps(p, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
}

AVX512_BF16 void hot_geglu_backward_bf16(const uint16_t *x, const uint16_t *gate, const uint16_t *dy,
                                         uint16_t *dx, uint16_t *dgate, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 v = load_widened(gate + i, m), g = load_widened(dy + i, m), p = phi16(v);
        __m512 square = _mm512_mul_ps(_mm512_mul_ps(v, v), _mm512_set1_ps(-0.72134752f));
        __m512 density = power_of_two_fast(_mm512_max_ps(square, _mm512_set1_ps(-126.0f)));
        __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(v, _mm512_set1_ps(0.398942280f)), density, p);
        __m512 left = _mm512_mul_ps(g, _mm512_mul_ps(v, p));
        __m512 right = _mm512_mul_ps(_mm512_mul_ps(g, load_widened(x + i, m)), slope);
        store_narrowed(dx + i, m, left);
        store_narrowed(dgate + i, m, right);
    }
}

AVX512_BF16 void hot_add_bf16(const uint16_t *x, const uint16_t *y, uint16_t *z, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        store_narrowed(z + i, m, _mm512_add_ps(load_widened(x + i, m), load_widened(y + i, m)));
    }
}

AVX512_BF16 void hot_norm_rows_backward_bf16(const norm_rows_backward *r)
{
    const uint16_t *x = r->x, *dy = r->dy;
    uint16_t *dx = r->dx;
    for (int64_t i = 0; i < r->rows; i++, x += r->channels, dy += r->channels, dx += r->channels)
        for (int64_t c = 0; c < r->channels; c += 16) {
            __mmask16 m = first_lanes(r->channels - c);
            __m512 u = _mm512_add_ps(load_widened(x + c, m), _mm512_maskz_loadu_ps(m, r->offset + c));
            u = _mm512_fmadd_ps(u, _mm512_maskz_loadu_ps(m, r->by_x + c),
                                _mm512_maskz_loadu_ps(m, r->common + c));
            u = _mm512_fmadd_ps(load_widened(dy + c, m), _mm512_maskz_loadu_ps(m, r->by_dy + c), u);
            store_narrowed(dx + c, m, u);
        }
}
#else
void hot_silu_backward_bf16(const uint16_t *x, const uint16_t *dy, uint16_t *dx, float slope, int64_t n)
{
    (void)x, (void)dy, (void)dx, (void)slope, (void)n;
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
void hot_norm_rows_backward_bf16(const norm_rows_backward *r)
{
    (void)r;
}
#endif
