/* hot_layer_norm.c - see hot_layer_norm.h. Sums along a row run in 16 lanes, which are joined in a fixed order. */
#include "backend/cpu/hot_layer_norm.h"

#include "backend/cpu/avx512.h"

#include <math.h>

#if defined(__x86_64__)
typedef struct row_statistics {
    float mean, scale;
} row_statistics;

/* Widens a row of n into v, whose length is rounded up to 16, and measures it. */
AVX512 static inline row_statistics measure_row(const uint16_t *x, int64_t n, float epsilon, float *v)
{
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    for (int64_t i = 0; i < n; i += 16) {
        fetch_ahead(x + i);
        __m512 t = load_widened(x + i, first_lanes(n - i));
        sum = _mm512_add_ps(sum, t);
        _mm512_storeu_ps(v + i, t);
    }
    float mean = _mm512_reduce_add_ps(sum) / (float)n;
    __m512 middle = _mm512_set1_ps(mean);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 d = _mm512_maskz_sub_ps(first_lanes(n - i), _mm512_loadu_ps(v + i), middle);
        squares = _mm512_fmadd_ps(d, d, squares);
    }
    return (row_statistics){mean, 1 / sqrtf(_mm512_reduce_add_ps(squares) / (float)n + epsilon)};
}

AVX512_BF16 void hot_layer_norm_bf16(const layer_rows *r, uint16_t *y)
{
    float v[HOT_LONGEST_ROW];
    int64_t n = r->channels;
    for (int64_t row = 0; row < r->rows; row++, y += n) {
        row_statistics t = measure_row(r->x + row * n, n, r->epsilon, v);
        __m512 mean = _mm512_set1_ps(t.mean), scale = _mm512_set1_ps(t.scale);
        for (int64_t i = 0; i < n; i += 16) {
            __mmask16 m = first_lanes(n - i);
            __m512 u = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(v + i), mean), scale);
            store_narrowed(y + i, m,
                           _mm512_fmadd_ps(u, _mm512_maskz_loadu_ps(m, r->weight + i),
                                           _mm512_maskz_loadu_ps(m, r->bias + i)));
        }
    }
}

/* v becomes u = (x - mean) * scale, g = dy * weight. dx = (g - mean(g) - u * mean(g * u)) * scale. */
AVX512_BF16 static void backward_row(const layer_rows *r, row_statistics t, const uint16_t *dy, float *v,
                                     float *g, uint16_t *dx)
{
    int64_t n = r->channels;
    __m512 mean = _mm512_set1_ps(t.mean), scale = _mm512_set1_ps(t.scale), sum = _mm512_setzero_ps(),
           product = sum;
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        fetch_ahead(dy + i);
        __m512 u = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(v + i), mean), scale);
        __m512 d = _mm512_mul_ps(load_widened(dy + i, m), _mm512_maskz_loadu_ps(m, r->weight + i));
        sum = _mm512_add_ps(sum, d);
        product = _mm512_fmadd_ps(d, u, product);
        _mm512_storeu_ps(v + i, u);
        _mm512_storeu_ps(g + i, d);
    }
    __m512 mean_g = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)n),
           share = _mm512_set1_ps(_mm512_reduce_add_ps(product) / (float)n);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 d = _mm512_sub_ps(_mm512_loadu_ps(g + i), mean_g);
        d = _mm512_fnmadd_ps(_mm512_loadu_ps(v + i), share, d);
        store_narrowed(dx + i, first_lanes(n - i), _mm512_mul_ps(d, scale));
    }
}

AVX512_BF16 void hot_layer_norm_backward_bf16(const layer_rows *r, const uint16_t *dy, uint16_t *dx)
{
    float v[HOT_LONGEST_ROW], g[HOT_LONGEST_ROW];
    int64_t n = r->channels;
    for (int64_t row = 0; row < r->rows; row++)
        backward_row(r, measure_row(r->x + row * n, n, r->epsilon, v), dy + row * n, v, g, dx + row * n);
}

AVX512 void hot_layer_norm_products_bf16(const layer_rows *r, const uint16_t *dy, int64_t from, int64_t width,
                                         float *sum)
{
    float v[HOT_LONGEST_ROW];
    int64_t n = r->channels;
    for (int64_t row = 0; row < r->rows; row++, dy += n) {
        row_statistics t = measure_row(r->x + row * n, n, r->epsilon, v);
        __m512 mean = _mm512_set1_ps(t.mean), scale = _mm512_set1_ps(t.scale);
        for (int64_t i = 0; i < width; i += 16) {
            __mmask16 m = first_lanes(width - i);
            fetch_ahead(dy + from + i);
            __m512 u = _mm512_maskz_loadu_ps(m, v + from + i);
            u = _mm512_mul_ps(_mm512_sub_ps(u, mean), scale);
            __m512 s = _mm512_maskz_loadu_ps(m, sum + i);
            _mm512_mask_storeu_ps(sum + i, m, _mm512_fmadd_ps(load_widened(dy + from + i, m), u, s));
        }
    }
}
#else
void hot_layer_norm_bf16(const layer_rows *r, uint16_t *y)
{
    (void)r, (void)y;
}
void hot_layer_norm_backward_bf16(const layer_rows *r, const uint16_t *dy, uint16_t *dx)
{
    (void)r, (void)dy, (void)dx;
}
void hot_layer_norm_products_bf16(const layer_rows *r, const uint16_t *dy, int64_t from, int64_t width,
                                  float *sum)
{
    (void)r, (void)dy, (void)from, (void)width, (void)sum;
}
#endif
