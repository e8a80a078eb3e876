/* orthogonalize.c - see orthogonalize.h.
 *
 * With X lying on its longer side (a tall matrix is turned), one round is A = X X^T, B = b A + c A A, X = a X + B X. With AMX X, A and B
 * are bf16 rows of whole tiles, and every product sums over rows of its left operand and packed tiles of its right one.
 * A and B are symmetric: half of their tiles are computed, the others mirrored. */
#include "backend/cpu/orthogonalize.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/transpose16.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { ROUNDS = 5, SQUARE = 32 /* rows and columns of two by two tiles */ };
static const float by_x = 3.4445f, by_cube = -4.7750f, by_fifth = 2.0315f;

typedef struct sides {
    int64_t shorter, longer; /* stored: with AMX, rounded up to whole squares */
    bool turned;
} sides;

static int64_t rounded(int64_t n, bool tiles)
{
    return tiles ? (n + SQUARE - 1) / SQUARE * SQUARE : n;
}

static sides sides_of(int64_t rows, int64_t columns, bool tiles)
{
    bool turned = rows > columns;
    return (sides){rounded(turned ? columns : rows, tiles), rounded(turned ? rows : columns, tiles), turned};
}

size_t orthogonalize_scratch(int64_t rows, int64_t columns, const cpu_features *features)
{
    sides s = sides_of(rows, columns, features->amx_bf16);
    size_t x = (size_t)(s.shorter * s.longer), a = (size_t)(s.shorter * s.shorter);
    return features->amx_bf16 ? (2 * x + 2 * a) * sizeof(uint16_t) : (2 * x + 2 * a) * sizeof(float);
}

/* One over the Frobenius norm; 0 for a matrix of zeros. */
static float norm_inverse(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 0;
}

/* ------------------------------------------------------------------------------------ f32 */

static void take_f32(const float *x, int64_t rows, int64_t columns, bool turned, float scale, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to[turned ? j * rows + i : i * columns + j] = scale * x[i * columns + j];
}

static void orthogonalize_f32(float *x, int64_t rows, int64_t columns, float *scratch)
{
    sides s = sides_of(rows, columns, false);
    int64_t m = s.shorter, n = s.longer;
    float *now = scratch, *next = now + m * n, *gram = next + m * n, *square = gram + m * m;
    take_f32(x, rows, columns, s.turned, norm_inverse(x, rows * columns), now);
    const plain_product by_itself = {
        .left = 'N', .right = 'T', .rows = m, .columns = m, .depth = n, .alpha = 1};
    const plain_product squared = {
        .left = 'N', .right = 'N', .rows = m, .columns = m, .depth = m, .alpha = 1};
    const plain_product times_x = {
        .left = 'N', .right = 'N', .rows = m, .columns = n, .depth = m, .alpha = 1, .beta = by_x};
    for (int round = 0; round < ROUNDS; round++) {
        product_plain(&by_itself, now, now, gram);
        product_plain(&squared, gram, gram, square);
        for (int64_t i = 0; i < m * m; i++)
            square[i] = by_cube * gram[i] + by_fifth * square[i];
        memcpy(next, now, (size_t)(m * n) * sizeof *next);
        product_plain(&times_x, square, now, next);
        float *swapped = now;
        now = next;
        next = swapped;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            x[i * columns + j] = now[s.turned ? j * rows + i : i * columns + j];
}

#if defined(__x86_64__)
/* ------------------------------------------------------------------------------------ bf16, tiles */

AVX512_BF16 static void take_row(const float *x, int64_t step, int64_t count, float scale, uint16_t *to,
                                 int64_t length)
{
    __m512 by = _mm512_set1_ps(scale);
    __m512i places =
        _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                           _mm512_set1_epi32((int)step));
    for (int64_t j = 0; j < length; j += 16) {
        __mmask16 m = first_lanes(count - j);
        __m512 v = _mm512_setzero_ps();
        if (step == 1)
            v = _mm512_maskz_loadu_ps(m, x + j);
        else if (m)
            v = _mm512_mask_i32gather_ps(v, m, places, x + j * step, 4);
        store_narrowed(to + j, 0xFFFF, _mm512_mul_ps(v, by));
    }
}

AVX512_BF16 static void give_row(const uint16_t *from, int64_t count, float *x, int64_t step)
{
    for (int64_t j = 0; j < count; j += 16) {
        __mmask16 m = first_lanes(count - j);
        __m512 v = load_widened(from + j, m);
        if (step == 1) {
            _mm512_mask_storeu_ps(x + j, m, v);
        } else {
            float lane[16];
            _mm512_storeu_ps(lane, v);
            for (int64_t k = 0; k < 16 && j + k < count; k++)
                x[(j + k) * step] = lane[k];
        }
    }
}

/* Tiles of the transpose of from [rows, depth]: pairs along the depth by 16 rows. */
AVX512 static void pack_turned(const uint16_t *from, int64_t rows, int64_t depth, uint16_t *to)
{
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t k = 0; k < depth; k += 32, to += AMX_HALVES) {
            __m512i r[16];
#pragma GCC unroll 16
            for (int q = 0; q < 16; q++)
                r[q] = _mm512_loadu_si512(from + (i + q) * depth + k);
            transpose16(r);
#pragma GCC unroll 16
            for (int q = 0; q < 16; q++)
                _mm512_storeu_si512(to + q * 32, r[q]);
        }
}

/* Tiles of from [depth, columns] itself. */
AVX512 static void pack_plain(const uint16_t *from, int64_t depth, int64_t columns, uint16_t *to)
{
    for (int64_t j = 0; j < columns; j += 16)
        for (int64_t k = 0; k < depth; k += 2, to += 32) {
            __m256i even = _mm256_loadu_si256((const __m256i *)(from + k * columns + j));
            __m256i odd = _mm256_loadu_si256((const __m256i *)(from + (k + 1) * columns + j));
            _mm512_storeu_si512(to, _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                                                    _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16)));
        }
}

/* to = alpha * (left right) + beta * plus, for rows of `left` [rows, depth] and packed tiles of `right`. */
typedef struct tiled_product {
    const uint16_t *left, *right, *plus; /* plus: as `to`, which it may be */
    uint16_t *to;
    int64_t rows, columns, depth;
    float alpha, beta;
    bool symmetric;
} tiled_product;

AMX static void sum_square(const tiled_product *p, int64_t i, int64_t j, float *c)
{
    const uint16_t *a = p->left + i * p->depth, *b = p->right + j * p->depth;
    int64_t down = 16 * p->depth, row = p->depth * (int64_t)sizeof(uint16_t);
    amx_fence();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < p->depth; k += 32, b += AMX_HALVES) {
        _tile_loadd(4, a + k, row);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + down, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + down + k, row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + AMX_FLOATS, 64);
    _tile_stored(2, c + 2 * AMX_FLOATS, 64);
    _tile_stored(3, c + 3 * AMX_FLOATS, 64);
    amx_fence();
}

AVX512_BF16 static void store_tile(const tiled_product *p, int64_t i, int64_t j, const float *c)
{
    __m512 alpha = _mm512_set1_ps(p->alpha), beta = _mm512_set1_ps(p->beta);
    __m512i r[16];
    for (int64_t q = 0; q < 16; q++) {
        int64_t place = (i + q) * p->columns + j;
        __m512 v = _mm512_mul_ps(alpha, _mm512_loadu_ps(c + q * 16));
        if (p->plus)
            v = _mm512_fmadd_ps(beta, load_widened(p->plus + place, 0xFFFF), v);
        store_narrowed(p->to + place, 0xFFFF, v);
        r[q] = _mm512_castps_si512(v);
    }
    if (!p->symmetric || i / SQUARE == j / SQUARE)
        return;
    transpose16(r);
#pragma GCC unroll 16
    for (int q = 0; q < 16; q++)
        store_narrowed(p->to + (j + q) * p->columns + i, 0xFFFF, _mm512_castsi512_ps(r[q]));
}

static void run_product(const tiled_product *p)
{
    _Alignas(64) float c[4 * AMX_FLOATS];
    for (int64_t j = 0; j < p->columns; j += SQUARE)
        for (int64_t i = 0; i < (p->symmetric ? j + SQUARE : p->rows); i += SQUARE) {
            sum_square(p, i, j, c);
            for (int q = 0; q < 4; q++)
                store_tile(p, i + q / 2 * 16, j + q % 2 * 16, c + (int64_t)q * AMX_FLOATS);
        }
}

AMX static void configure_tiles(void)
{
    _tile_loadconfig(&amx_whole_tiles);
}

AMX static void release_tiles(void)
{
    _tile_release();
}

static void orthogonalize_tiles(float *x, int64_t rows, int64_t columns, uint16_t *scratch)
{
    sides s = sides_of(rows, columns, true);
    int64_t m = s.shorter, n = s.longer, there = s.turned ? columns : rows,
            length = s.turned ? rows : columns;
    int64_t row_step = s.turned ? 1 : columns, step = s.turned ? columns : 1;
    uint16_t *now = scratch, *panels = now + m * n, *gram = panels + m * n, *sum = gram + m * m;
    float scale = norm_inverse(x, rows * columns);
    for (int64_t i = 0; i < m; i++)
        take_row(x + (i < there ? i : 0) * row_step, step, i < there ? length : 0, scale, now + i * n, n);
    configure_tiles();
    for (int round = 0; round < ROUNDS; round++) {
        pack_turned(now, m, n, panels);
        run_product(&(tiled_product){.left = now,
                                     .right = panels,
                                     .to = gram,
                                     .rows = m,
                                     .columns = m,
                                     .depth = n,
                                     .alpha = 1,
                                     .symmetric = true});
        pack_turned(gram, m, m, panels);
        run_product(&(tiled_product){.left = gram,
                                     .right = panels,
                                     .plus = gram,
                                     .to = sum,
                                     .rows = m,
                                     .columns = m,
                                     .depth = m,
                                     .alpha = by_fifth,
                                     .beta = by_cube,
                                     .symmetric = true});
        pack_plain(now, m, n, panels);
        run_product(&(tiled_product){.left = sum,
                                     .right = panels,
                                     .plus = now,
                                     .to = now,
                                     .rows = m,
                                     .columns = n,
                                     .depth = m,
                                     .alpha = 1,
                                     .beta = by_x});
    }
    release_tiles();
    for (int64_t i = 0; i < there; i++)
        give_row(now + i * n, length, x + i * row_step, step);
}
#endif

void orthogonalize(float *x, int64_t rows, int64_t columns, const cpu_features *features, void *scratch)
{
#if defined(__x86_64__)
    if (features->amx_bf16) {
        orthogonalize_tiles(x, rows, columns, scratch);
        return;
    }
#endif
    (void)features;
    orthogonalize_f32(x, rows, columns, scratch);
}
