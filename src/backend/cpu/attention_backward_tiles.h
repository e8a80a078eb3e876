/* attention_backward_tiles.h - the gradients of attention by 16 x 16 tiles, whatever multiplies them: the file that
 * includes this defines TILES (its target attributes) and multiply_tiles() first.
 *
 *     multiply_tiles(rows, columns, a, a_step, b, b_step, c, depth, accumulate)
 *     c[i][j] = (accumulate ? c[i][j] : 0) + sum over k < depth of a[i][k] b[k][j];  i < rows, j < columns <= 2
 *
 * A tiles (16 by 32, a_step from one i to the next) and B tiles (16 pairs by 16, one j after another, b_step from one k to
 * the next) are bf16, C tiles f32, at c + 2i + j. As in the forward kernel, scores are [keys][queries].
 *
 * For 32 queries: scores of all keys, their softmax; then, a group of 32 keys after another, dp = v dy^T and
 * ds = p (dp - delta) scale, from which dv += p dy and dk += ds q at once; ds waits as B tiles for dq = k^T ds. */
#ifndef KILN_BACKEND_CPU_ATTENTION_BACKWARD_TILES_H
#define KILN_BACKEND_CPU_ATTENTION_BACKWARD_TILES_H

#include "backend/cpu/attention_backward.h"
#include "backend/cpu/attention_parts.h"

#include <string.h>

#if defined(__x86_64__)
enum { QUERIES = 32 };

typedef struct backward_plan {
    attention_shape key_side, value_side;
    plan_of_head keys, values;      /* of k: tiles, transposed tiles, queries; of v: tiles, dy as queries */
    int64_t key_pairs, value_pairs; /* tiles of 16 channels by twos */
    uint16_t *query_rows, *slope_rows;    /* q and dy as B tiles by pairs of queries: [tile] */
    uint16_t *chances, *slopes, *waiting; /* p and ds as A tiles: [2]; ds as B tiles: [group][2] */
    float *scores, *products;             /* [group][4]; dp of one group: [4] */
    float *dq, *dk, *dv;                  /* [pair][4]; [group][pair][4] */
    float *delta;                         /* [QUERIES] */
} backward_plan;

static inline backward_plan plan_backward(const attention_backward_shape *s, void *work, size_t *bytes)
{
    backward_plan p = {.key_side = {.keys = s->keys,
                                    .key_width = s->key_width,
                                    .value_width = s->key_width,
                                    .causal = s->causal,
                                    .scale = s->scale},
                       .value_side = {.keys = s->keys, .key_width = s->value_width}};
    int64_t groups = (s->keys + GROUP - 1) / GROUP, depth = (s->key_width + 31) / 32,
            value_depth = (s->value_width + 31) / 32;
    p.key_pairs = depth;
    p.value_pairs = value_depth;
    p.keys = (plan_of_head){.key_depth = depth, .value_tiles = (s->key_width + 15) / 16, .groups = groups};
    p.values =
        (plan_of_head){.key_depth = value_depth, .value_tiles = (s->value_width + 15) / 16, .groups = groups};
    uint16_t *halves = work;
    p.keys.keys = halves;
    p.values.keys = p.keys.keys + groups * 2 * depth * TILE_HALVES;
    p.keys.values = p.values.keys + groups * 2 * value_depth * TILE_HALVES;
    p.keys.query = p.keys.values + 2 * depth * groups * TILE_HALVES;
    p.values.query = p.keys.query + depth * 2 * TILE_HALVES;
    p.query_rows = p.values.query + value_depth * 2 * TILE_HALVES;
    p.slope_rows = p.query_rows + 2 * depth * TILE_HALVES;
    p.chances = p.slope_rows + 2 * value_depth * TILE_HALVES;
    p.slopes = p.chances + 2 * TILE_HALVES;
    p.waiting = p.slopes + 2 * TILE_HALVES;
    p.scores = (float *)(void *)(p.waiting + groups * 2 * TILE_HALVES);
    p.products = p.scores + groups * 4 * TILE_FLOATS;
    p.dq = p.products + 4 * TILE_FLOATS;
    p.dk = p.dq + depth * 4 * TILE_FLOATS;
    p.dv = p.dk + groups * depth * 4 * TILE_FLOATS;
    p.delta = p.dv + groups * value_depth * 4 * TILE_FLOATS;
    int64_t tiles = groups * (4 * depth + 2 * value_depth + 2) + 4 * (depth + value_depth) + 4;
    int64_t sums = groups * 4 * (1 + depth + value_depth) + 4 + depth * 4;
    *bytes = (size_t)tiles * TILE_HALVES * sizeof(uint16_t) + (size_t)sums * TILE_FLOATS * sizeof(float) +
             QUERIES * sizeof(float);
    return p;
}

static size_t backward_work_bytes(const attention_backward_shape *s)
{
    size_t bytes;
    plan_backward(s, NULL, &bytes);
    return bytes;
}

/* 32 rows of `width` channels as B tiles whose pairs are rows; absent rows are zeros. */
AVX512 static inline void pack_row_pairs(const uint16_t *from, int64_t stride, int64_t count, int64_t width,
                                         int64_t tiles, uint16_t *to)
{
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t i = 0; i < 16; i++, to += 32) {
            __mmask16 m = first_lanes(width - t * 16);
            __m256i even = _mm256_setzero_si256(), odd = even;
            if (2 * i < count)
                even = _mm256_maskz_loadu_epi16(m, from + 2 * i * stride + t * 16);
            if (2 * i + 1 < count)
                odd = _mm256_maskz_loadu_epi16(m, from + (2 * i + 1) * stride + t * 16);
            _mm512_storeu_si512(to, _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                                                    _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16)));
        }
}

/* delta[t] = dy[t] . y[t] */
AVX512 static inline void find_delta(const uint16_t *y, const uint16_t *dy, int64_t stride, int64_t count,
                                     int64_t width, float *delta)
{
    for (int64_t i = 0; i < QUERIES; i++) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t e = 0; e < width && i < count; e += 16) {
            __mmask16 m = first_lanes(width - e);
            sum = _mm512_fmadd_ps(load_widened(y + i * stride + e, m), load_widened(dy + i * stride + e, m),
                                  sum);
        }
        delta[i] = _mm512_reduce_add_ps(sum);
    }
}

/* Scores of all visible groups; then their exponentials, and what to multiply those by. */
TILES static void soften_all(const backward_plan *p, int64_t groups, int64_t query, __m512 inverse[2])
{
    const attention_shape *s = &p->key_side;
    const __m512 scale = _mm512_set1_ps(s->scale * 1.44269504f);
    __m512 top[2] = {_mm512_set1_ps(-3e38f), _mm512_set1_ps(-3e38f)};
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t g = 0; g < groups; g++) {
        float *scores = p->scores + g * 4 * TILE_FLOATS;
        multiply_tiles(2, 2, p->keys.keys + g * 2 * p->keys.key_depth * TILE_HALVES,
                       p->keys.key_depth * TILE_HALVES, p->keys.query, 2 * TILE_HALVES, scores,
                       p->keys.key_depth, 0);
        if ((g + 1) * GROUP > s->keys || (s->causal && (g + 1) * GROUP > query + 1))
            mask_scores(s, scores, g * GROUP, query);
        for (int half = 0; half < 2; half++)
            top[half] = _mm512_max_ps(top[half], column_maximum(scores, half));
    }
    for (int half = 0; half < 2; half++)
        top[half] = _mm512_mul_ps(top[half], scale);
    for (int64_t i = 0; i < groups * 4; i++) {
        float *tile = p->scores + i * TILE_FLOATS;
        __m512 most = top[i & 1], total = _mm512_setzero_ps();
        for (int r = 0; r < 16; r++) {
            __m512 e = power_of_two_fast(_mm512_fmsub_ps(_mm512_loadu_ps(tile + r * 16), scale, most));
            total = _mm512_add_ps(total, e);
            _mm512_storeu_ps(tile + r * 16, e);
        }
        sum[i & 1] = _mm512_add_ps(sum[i & 1], total);
    }
    for (int half = 0; half < 2; half++)
        inverse[half] = _mm512_div_ps(_mm512_set1_ps(1.0f), sum[half]);
}

/* p and ds of one group of keys, in the forms that the products want. */
TILES static void find_slopes(const backward_plan *p, int64_t group, const __m512 inverse[2])
{
    const float *scores = p->scores + group * 4 * TILE_FLOATS;
    const __m512 scale = _mm512_set1_ps(p->key_side.scale), left = _mm512_loadu_ps(p->delta),
                 right = _mm512_loadu_ps(p->delta + 16);
    uint16_t *waiting = p->waiting + group * 2 * TILE_HALVES;
    for (int pair = 0; pair < 16; pair++) {
        __m512 ds[2][2];
        for (int k = 0; k < 2; k++) {
            int row = 2 * pair + k, at_row = row / 16 * 2 * TILE_FLOATS + row % 16 * 16;
            __m512 p0 = _mm512_mul_ps(_mm512_loadu_ps(scores + at_row), inverse[0]);
            __m512 p1 = _mm512_mul_ps(_mm512_loadu_ps(scores + at_row + TILE_FLOATS), inverse[1]);
            __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(p->products + at_row), left);
            __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(p->products + at_row + TILE_FLOATS), right);
            ds[k][0] = _mm512_mul_ps(_mm512_mul_ps(p0, d0), scale);
            ds[k][1] = _mm512_mul_ps(_mm512_mul_ps(p1, d1), scale);
            _mm512_storeu_si512(p->chances + row * 32, (__m512i)_mm512_cvtne2ps_pbh(p1, p0));
            _mm512_storeu_si512(p->slopes + row * 32, (__m512i)_mm512_cvtne2ps_pbh(ds[k][1], ds[k][0]));
        }
        for (int half = 0; half < 2; half++)
            _mm512_storeu_si512(waiting + half * TILE_HALVES + pair * 32,
                                interleave_pairs(ds[0][half], ds[1][half]));
    }
}

/* c [pair][4] += a (32 keys by 32 queries) times rows (32 queries by tiles of channels) */
TILES static void add_products(const uint16_t *a, const uint16_t *rows, int64_t tiles, float *c)
{
    for (int64_t t = 0; t < tiles; t += 2, c += 4 * TILE_FLOATS)
        multiply_tiles(2, tiles - t > 1 ? 2 : 1, a, TILE_HALVES, rows + t * TILE_HALVES, 0, c, 1, 1);
}

AVX512_BF16 static inline void store_sixteen(dtype type, void *to, int64_t offset, __mmask16 m, __m512 x)
{
    if (type == DTYPE_BF16)
        store_narrowed((uint16_t *)to + offset, m, x);
    else
        _mm512_mask_storeu_ps((float *)to + offset, m, x);
}

TILES static void store_dq(const attention_backward_shape *s, const attention_backward_task *t,
                           const backward_plan *p, int64_t first)
{
    for (int64_t d = 0; d < p->keys.value_tiles; d++)
        for (int64_t half = 0; half < 2; half++) {
            const float *tile = p->dq + (d * 2 + half) * TILE_FLOATS;
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_loadu_si512(tile + i * 16);
            transpose16(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int64_t query = first + half * 16 + i;
                if (query < s->queries)
                    store_sixteen(s->output_type, t->output[0], query * t->key_stride + d * 16,
                                  first_lanes(s->key_width - d * 16), _mm512_castsi512_ps(r[i]));
            }
        }
}

/* dk or dv: tiles [group][pair][key half][tile of the pair]. */
TILES static void store_keys(const attention_backward_shape *s, void *to, int64_t stride, int64_t width,
                             const float *from)
{
    int64_t pairs = (width + 31) / 32;
    for (int64_t key = 0; key < s->keys; key++)
        for (int64_t c = 0; c < width; c += 16) {
            const float *tile =
                from + ((key / GROUP * pairs + c / 32) * 4 + key % GROUP / 16 * 2 + c / 16 % 2) * TILE_FLOATS;
            store_sixteen(s->output_type, to, key * stride + c, first_lanes(width - c),
                          _mm512_loadu_ps(tile + key % 16 * 16));
        }
}

TILES static void backward_queries(const attention_backward_shape *s, const attention_backward_task *t,
                                   const backward_plan *p, int64_t first)
{
    const uint16_t *q = (const uint16_t *)t->input[0] + first * t->key_stride,
                   *y = (const uint16_t *)t->input[3] + first * t->value_stride,
                   *dy = (const uint16_t *)t->input[4] + first * t->value_stride;
    int64_t count = s->queries - first, groups = visible_groups(&p->key_side, p->keys.groups, first);
    const attention_task query = {.q = q, .q_stride = t->key_stride, .query_count = count},
                         slope = {.q = dy, .q_stride = t->value_stride, .query_count = count};
    pack_queries(&p->key_side, &query, &p->keys, 0);
    pack_queries(&p->value_side, &slope, &p->values, 0);
    pack_row_pairs(q, t->key_stride, count, s->key_width, p->keys.value_tiles, p->query_rows);
    pack_row_pairs(dy, t->value_stride, count, s->value_width, p->values.value_tiles, p->slope_rows);
    find_delta(y, dy, t->value_stride, count, s->value_width, p->delta);
    __m512 inverse[2];
    soften_all(p, groups, first, inverse);
    for (int64_t g = 0; g < groups; g++) {
        multiply_tiles(2, 2, p->values.keys + g * 2 * p->values.key_depth * TILE_HALVES,
                       p->values.key_depth * TILE_HALVES, p->values.query, 2 * TILE_HALVES, p->products,
                       p->values.key_depth, 0);
        find_slopes(p, g, inverse);
        if (t->output[2])
            add_products(p->chances, p->slope_rows, p->values.value_tiles,
                         p->dv + g * p->value_pairs * 4 * TILE_FLOATS);
        if (t->output[1])
            add_products(p->slopes, p->query_rows, p->keys.value_tiles,
                         p->dk + g * p->key_pairs * 4 * TILE_FLOATS);
    }
    if (!t->output[0])
        return;
    int64_t tile = p->keys.groups * TILE_HALVES;
    for (int64_t d = 0; d < p->keys.value_tiles; d += 2)
        multiply_tiles(p->keys.value_tiles - d > 1 ? 2 : 1, 2, p->keys.values + d * tile, tile, p->waiting,
                       2 * TILE_HALVES, p->dq + d * 2 * TILE_FLOATS, groups, 0);
    store_dq(s, t, p, first);
}

TILES static void backward_head(const attention_backward_shape *s, const attention_backward_task *t)
{
    size_t bytes;
    backward_plan p = plan_backward(s, t->work, &bytes);
    const attention_task key = {.k = t->input[1],
                                .v = t->input[1],
                                .k_stride = t->key_stride,
                                .v_stride = t->key_stride},
                         values = {.k = t->input[2], .k_stride = t->value_stride};
    pack_keys(&p.key_side, &key, &p.keys);
    pack_values(&p.key_side, &key, &p.keys);
    pack_keys(&p.value_side, &values, &p.values);
    memset(p.dk, 0,
           (size_t)(p.keys.groups * (p.key_pairs + p.value_pairs) * 4 * TILE_FLOATS) * sizeof(float));
    for (int64_t first = 0; first < s->queries; first += QUERIES)
        backward_queries(s, t, &p, first);
    if (t->output[1])
        store_keys(s, t->output[1], t->key_stride, s->key_width, p.dk);
    if (t->output[2])
        store_keys(s, t->output[2], t->value_stride, s->value_width, p.dv);
}
#endif

#endif
