/* attention_backward_tiles.h - the gradients of attention by 16 x 16 tiles, whatever multiplies them: the file that
 * includes this defines TILES (its target attributes) and multiply_tiles() first.
 *
 *     multiply_tiles(rows, columns, a, a_step, b, b_step, c, depth, accumulate)
 *     c[i][j] = (accumulate ? c[i][j] : 0) + sum over k < depth of a[i][k] b[k][j];  i < rows, j < columns <= 2
 *
 * A tiles (16 by 32, a_step from one i to the next) and B tiles (16 pairs by 16, one j after another, b_step from one k to
 * the next) are bf16, C tiles f32, at c + 2i + j. As in the forward kernel, scores are [keys][queries].
 *
 * For 32 queries: scores of all keys and their softmax p. When TOGETHER such blocks have theirs, the keys go by, 32 at a
 * time (a "group"): for each block dp = v dy^T and ds = p (dp - delta) scale, from which dv += p dy and dk += ds q, which
 * thus stay in the first-level cache for all the blocks; ds of PENDING groups waits for dq += k^T ds. */
#ifndef KILN_BACKEND_CPU_ATTENTION_BACKWARD_TILES_H
#define KILN_BACKEND_CPU_ATTENTION_BACKWARD_TILES_H

#include "backend/cpu/attention_backward.h"
#include "backend/cpu/attention_parts.h"

#include <string.h>

#if defined(__x86_64__)
enum { QUERIES = 32, TOGETHER = 4 };

/* What belongs to one block of 32 queries. */
typedef struct query_block {
    uint16_t *query, *slope;           /* q and dy as B tiles, for scores and dp */
    uint16_t *query_rows, *slope_rows; /* the same with pairs of queries: [tile] */
    uint16_t *waiting;                 /* ds as B tiles: [PENDING][2] */
    float *dq;                         /* [pair][4] */
    float *delta;                      /* [QUERIES] */
    int64_t first, groups;             /* its first query; the groups of keys that it sees */
} query_block;

typedef struct backward_plan {
    attention_shape key_side, value_side;
    plan_of_head keys, values;      /* of k: tiles, transposed tiles, queries; of v: tiles, dy as queries */
    int64_t key_pairs, value_pairs; /* tiles of 16 channels by twos */
    query_block block[TOGETHER];
    uint16_t *chances;        /* p as A tiles: [group][TOGETHER][2] */
    uint16_t *slopes;         /* ds as A tiles: [2] */
    float *scores, *products; /* of one block: [group][4]; dp: [4] */
    float *dk, *dv;           /* [group][pair][4] */
} backward_plan;

/* Take what a block needs from the two stores of memory. */
static inline void plan_block(query_block *b, int64_t depth, int64_t value_depth, uint16_t **halves,
                              float **floats)
{
    b->query = *halves;
    b->slope = b->query + depth * 2 * TILE_HALVES;
    b->query_rows = b->slope + value_depth * 2 * TILE_HALVES;
    b->slope_rows = b->query_rows + depth * 2 * TILE_HALVES;
    b->waiting = b->slope_rows + value_depth * 2 * TILE_HALVES;
    *halves = b->waiting + PENDING * 2 * TILE_HALVES;
    b->dq = *floats;
    b->delta = b->dq + depth * 4 * TILE_FLOATS;
    *floats = b->delta + QUERIES;
}

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
    p.chances = p.keys.values + 2 * depth * groups * TILE_HALVES;
    p.slopes = p.chances + groups * TOGETHER * 2 * TILE_HALVES;
    halves = p.slopes + 2 * TILE_HALVES;
    int64_t block_halves = (4 * (depth + value_depth) + 2 * PENDING) * TILE_HALVES;
    p.scores = (float *)(void *)(halves + TOGETHER * block_halves);
    p.products = p.scores + groups * 4 * TILE_FLOATS;
    p.dk = p.products + 4 * TILE_FLOATS;
    p.dv = p.dk + groups * depth * 4 * TILE_FLOATS;
    float *floats = p.dv + groups * value_depth * 4 * TILE_FLOATS;
    for (int i = 0; i < TOGETHER; i++)
        plan_block(&p.block[i], depth, value_depth, &halves, &floats);
    int64_t tiles = groups * (4 * depth + 2 * value_depth + 2 * TOGETHER) + 2;
    int64_t sums = groups * 4 * (1 + depth + value_depth) + 4;
    *bytes = (size_t)(tiles * TILE_HALVES + TOGETHER * block_halves) * sizeof(uint16_t) +
             (size_t)(sums * TILE_FLOATS + TOGETHER * (depth * 4 * TILE_FLOATS + QUERIES)) * sizeof(float);
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

/* Scores of all groups that a block sees, into p->scores; returns their maxima, scaled. */
TILES static void find_scores(const backward_plan *p, const query_block *b, __m512 scale, __m512 top[2])
{
    const attention_shape *s = &p->key_side;
    top[0] = top[1] = _mm512_set1_ps(-3e38f);
    for (int64_t g = 0; g < b->groups; g++) {
        float *scores = p->scores + g * 4 * TILE_FLOATS;
        multiply_tiles(2, 2, p->keys.keys + g * 2 * p->keys.key_depth * TILE_HALVES,
                       p->keys.key_depth * TILE_HALVES, b->query, 2 * TILE_HALVES, scores, p->keys.key_depth,
                       0);
        if ((g + 1) * GROUP > s->keys || (s->causal && (g + 1) * GROUP > b->first + 1))
            mask_scores(s, scores, g * GROUP, b->first);
        for (int half = 0; half < 2; half++)
            top[half] = _mm512_max_ps(top[half], column_maximum(scores, half));
    }
    for (int half = 0; half < 2; half++)
        top[half] = _mm512_mul_ps(top[half], scale);
}

/* The softmax of block `index`, into its chances. */
TILES static void soften_block(const backward_plan *p, int index)
{
    const query_block *b = &p->block[index];
    const __m512 scale = _mm512_set1_ps(p->key_side.scale * 1.44269504f);
    __m512 top[2], sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, inverse[2];
    find_scores(p, b, scale, top);
    for (int64_t i = 0; i < b->groups * 4; i++) {
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
    for (int64_t i = 0; i < b->groups * 2; i++) {
        const float *left = p->scores + i * 2 * TILE_FLOATS, *right = left + TILE_FLOATS;
        uint16_t *to = p->chances + (i / 2 * TOGETHER + index) * 2 * TILE_HALVES + i % 2 * TILE_HALVES;
        for (int r = 0; r < 16; r++)
            _mm512_storeu_si512(to + r * 32, (__m512i)_mm512_cvtne2ps_pbh(
                                                 _mm512_mul_ps(_mm512_loadu_ps(right + r * 16), inverse[1]),
                                                 _mm512_mul_ps(_mm512_loadu_ps(left + r * 16), inverse[0])));
    }
}

/* ds of one group of keys and one block, from its chances: as A tiles, and as B tiles into `waiting`. */
TILES static void find_slopes(const backward_plan *p, const query_block *b, const uint16_t *chances,
                              uint16_t *waiting)
{
    const __m512 scale = _mm512_set1_ps(p->key_side.scale), left = _mm512_loadu_ps(b->delta),
                 right = _mm512_loadu_ps(b->delta + 16);
    for (int pair = 0; pair < 16; pair++) {
        __m512 ds[2][2];
        for (int k = 0; k < 2; k++) {
            int row = 2 * pair + k, at_row = row / 16 * 2 * TILE_FLOATS + row % 16 * 16;
            __m512i both = _mm512_loadu_si512(chances + row * 32);
            __m512 p0 = _mm512_mul_ps(widen(_mm512_castsi512_si256(both)), scale);
            __m512 p1 = _mm512_mul_ps(widen(_mm512_extracti64x4_epi64(both, 1)), scale);
            ds[k][0] = _mm512_mul_ps(p0, _mm512_sub_ps(_mm512_loadu_ps(p->products + at_row), left));
            ds[k][1] =
                _mm512_mul_ps(p1, _mm512_sub_ps(_mm512_loadu_ps(p->products + at_row + TILE_FLOATS), right));
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
                           const backward_plan *p, const query_block *b)
{
    for (int64_t d = 0; d < p->keys.value_tiles; d++)
        for (int64_t half = 0; half < 2; half++) {
            const float *tile = b->dq + (d * 2 + half) * TILE_FLOATS;
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_loadu_si512(tile + i * 16);
            transpose16(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int64_t query = b->first + half * 16 + i;
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

/* Pack block `index`, which starts at query `first`, and find its chances. */
TILES static void begin_block(const attention_backward_shape *s, const attention_backward_task *t,
                              backward_plan *p, int index, int64_t first)
{
    query_block *b = &p->block[index];
    const uint16_t *q = (const uint16_t *)t->input[0] + first * t->key_stride,
                   *y = (const uint16_t *)t->input[3] + first * t->value_stride,
                   *dy = (const uint16_t *)t->input[4] + first * t->value_stride;
    int64_t count = s->queries - first;
    b->first = first;
    b->groups = visible_groups(&p->key_side, p->keys.groups, first);
    const attention_task query = {.q = q, .q_stride = t->key_stride, .query_count = count},
                         slope = {.q = dy, .q_stride = t->value_stride, .query_count = count};
    p->keys.query = b->query;
    p->values.query = b->slope;
    pack_queries(&p->key_side, &query, &p->keys, 0);
    pack_queries(&p->value_side, &slope, &p->values, 0);
    pack_row_pairs(q, t->key_stride, count, s->key_width, p->keys.value_tiles, b->query_rows);
    pack_row_pairs(dy, t->value_stride, count, s->value_width, p->values.value_tiles, b->slope_rows);
    find_delta(y, dy, t->value_stride, count, s->value_width, b->delta);
    soften_block(p, index);
}

/* One group of keys and one block of queries. */
TILES static void backward_group(const attention_backward_task *t, const backward_plan *p, int index,
                                 int64_t g)
{
    const query_block *b = &p->block[index];
    const uint16_t *chances = p->chances + (g * TOGETHER + index) * 2 * TILE_HALVES;
    multiply_tiles(2, 2, p->values.keys + g * 2 * p->values.key_depth * TILE_HALVES,
                   p->values.key_depth * TILE_HALVES, b->slope, 2 * TILE_HALVES, p->products,
                   p->values.key_depth, 0);
    find_slopes(p, b, chances, b->waiting + g % PENDING * 2 * TILE_HALVES);
    if (t->output[2])
        add_products(chances, b->slope_rows, p->values.value_tiles,
                     p->dv + g * p->value_pairs * 4 * TILE_FLOATS);
    if (t->output[1])
        add_products(p->slopes, b->query_rows, p->keys.value_tiles,
                     p->dk + g * p->key_pairs * 4 * TILE_FLOATS);
}

/* dq += k^T ds for the groups from `first` on that wait. */
TILES static void add_waiting(const backward_plan *p, const query_block *b, int64_t first)
{
    int64_t tile = p->keys.groups * TILE_HALVES,
            count = b->groups - first < PENDING ? b->groups - first : PENDING;
    for (int64_t d = 0; d < p->keys.value_tiles && count > 0; d += 2)
        multiply_tiles(p->keys.value_tiles - d > 1 ? 2 : 1, 2,
                       p->keys.values + d * tile + first * TILE_HALVES, tile, b->waiting, 2 * TILE_HALVES,
                       b->dq + d * 2 * TILE_FLOATS, count, first > 0);
}

TILES static void backward_queries(const attention_backward_shape *s, const attention_backward_task *t,
                                   backward_plan *p, int64_t first)
{
    int blocks = 0;
    for (; blocks < TOGETHER && first + blocks * QUERIES < s->queries; blocks++)
        begin_block(s, t, p, blocks, first + blocks * QUERIES);
    int64_t groups = p->block[blocks - 1].groups; /* later queries see no less */
    for (int64_t start = 0; start < groups; start += PENDING) {
        for (int64_t g = start; g < groups && g < start + PENDING; g++)
            for (int i = 0; i < blocks; i++)
                if (g < p->block[i].groups)
                    backward_group(t, p, i, g);
        for (int i = 0; i < blocks && t->output[0]; i++)
            add_waiting(p, &p->block[i], start);
    }
    for (int i = 0; i < blocks && t->output[0]; i++)
        store_dq(s, t, p, &p->block[i]);
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
    for (int64_t first = 0; first < s->queries; first += QUERIES * TOGETHER)
        backward_queries(s, t, &p, first);
    if (t->output[1])
        store_keys(s, t->output[1], t->key_stride, s->key_width, p.dk);
    if (t->output[2])
        store_keys(s, t->output[2], t->value_stride, s->value_width, p.dv);
}
#endif

#endif
