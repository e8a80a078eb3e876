/* hot_group_norm.c - see hot_group_norm.h. */
#include "backend/cpu/hot_group_norm.h"

#include "backend/cpu/avx512.h"

#if defined(__x86_64__)
/* silu'(t) = s * (1 + t * (1 - s)), s = 1 / (1 + e^-t) by the fast exponential; the reciprocal is good to 6e-5. */
AVX512 static inline __m512 silu_slope16(__m512 t)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    /* 2^127 is where the exponential would leave the range; s is 0 there all the same. */
    __m512 k = _mm512_min_ps(_mm512_mul_ps(t, _mm512_set1_ps(-1.44269504f)), _mm512_set1_ps(126.0f));
    __m512 s = _mm512_rcp14_ps(_mm512_add_ps(power_of_two_fast(k), one));
    __m512 z = _mm512_fnmadd_ps(t, s, t);
    return _mm512_fmadd_ps(z, s, s);
}

/* e, and g as the result, of channels c .. c+15. */
AVX512 static inline __m512 at_channels(const group_norm_rows *r, const uint16_t *x, const uint16_t *dy,
                                        int64_t c, __mmask16 m, bool silu, __m512 *e)
{
    fetch_ahead(x + c);
    fetch_ahead(dy + c);
    __m512 g = load_widened(dy + c, m);
    *e = _mm512_add_ps(load_widened(x + c, m), _mm512_maskz_loadu_ps(m, r->offset + c));
    if (!silu)
        return g;
    __m512 t =
        _mm512_fmadd_ps(*e, _mm512_maskz_loadu_ps(m, r->factor + c), _mm512_maskz_loadu_ps(m, r->bias + c));
    return _mm512_mul_ps(g, silu_slope16(t));
}

AVX512 static inline __attribute__((always_inline)) void add_rows(const group_norm_rows *r, bool silu,
                                                                  float *sum, float *product)
{
    const uint16_t *x = r->x, *dy = r->dy;
    for (int64_t i = 0; i < r->rows; i++, x += r->channels, dy += r->channels)
        for (int64_t c = 0; c < r->channels; c += 16) {
            __mmask16 m = first_lanes(r->channels - c);
            __m512 e, g = at_channels(r, x, dy, c, m, silu, &e);
            __m512 s = _mm512_add_ps(_mm512_maskz_loadu_ps(m, sum + c), g);
            __m512 p = _mm512_fmadd_ps(g, e, _mm512_maskz_loadu_ps(m, product + c));
            _mm512_mask_storeu_ps(sum + c, m, s);
            _mm512_mask_storeu_ps(product + c, m, p);
        }
}

AVX512 void hot_group_norm_sums_bf16(const group_norm_rows *r, float *sum, float *product)
{
    if (r->silu)
        add_rows(r, true, sum, product);
    else
        add_rows(r, false, sum, product);
}

AVX512_BF16 static inline __attribute__((always_inline)) void combine_rows(const group_norm_rows *r,
                                                                           const group_norm_coefficients *k,
                                                                           bool silu, const uint16_t *added,
                                                                           uint16_t *dx)
{
    const uint16_t *x = r->x, *dy = r->dy;
    for (int64_t i = 0; i < r->rows; i++, x += r->channels, dy += r->channels, dx += r->channels)
        for (int64_t c = 0; c < r->channels; c += 16) {
            __mmask16 m = first_lanes(r->channels - c);
            __m512 e, g = at_channels(r, x, dy, c, m, silu, &e);
            __m512 d = _mm512_fmadd_ps(e, _mm512_maskz_loadu_ps(m, k->by_x + c),
                                       _mm512_maskz_loadu_ps(m, k->common + c));
            d = _mm512_fmadd_ps(g, _mm512_maskz_loadu_ps(m, k->by_g + c), d);
            if (added) {
                const uint16_t *more = added + i * r->channels + c;
                fetch_ahead(more);
                d = _mm512_add_ps(d, load_widened(more, m));
            }
            store_narrowed(dx + c, m, d);
        }
}

AVX512_BF16 void hot_group_norm_backward_bf16(const group_norm_rows *r, const group_norm_coefficients *k,
                                              const uint16_t *added, uint16_t *dx)
{
    if (r->silu)
        combine_rows(r, k, true, added, dx);
    else
        combine_rows(r, k, false, added, dx);
}
#else
void hot_group_norm_sums_bf16(const group_norm_rows *r, float *sum, float *product)
{
    (void)r, (void)sum, (void)product;
}
void hot_group_norm_backward_bf16(const group_norm_rows *r, const group_norm_coefficients *k,
                                  const uint16_t *added, uint16_t *dx)
{
    (void)r, (void)k, (void)added, (void)dx;
}
#endif
