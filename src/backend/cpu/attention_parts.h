/* attention_parts.h - what the two bf16 attentions share: packing into tiles, masks, the running maximum,
 * the end. */
#ifndef KILN_BACKEND_CPU_ATTENTION_PARTS_H
#define KILN_BACKEND_CPU_ATTENTION_PARTS_H

#include "backend/cpu/attention.h"

#include "backend/cpu/avx512.h"
#include "backend/cpu/transpose16.h"

#include <math.h>

#if defined(__x86_64__)
enum { TILE_HALVES = 512, TILE_FLOATS = 256 };
enum { GROUP = 32, PENDING = 4 };

typedef struct plan_of_head {
    int64_t key_depth;   /* tiles along the width of a key */
    int64_t value_tiles; /* tiles of 16 along the width of a value */
    int64_t groups;      /* of 32 keys */
    uint16_t *keys;      /* [group * 2][key_depth] A tiles */
    uint16_t *values;    /* [value_tile][group] A tiles, transposed */
    uint16_t *query;     /* [key_depth][2] B tiles */
    uint16_t *chances;   /* [PENDING][2] B tiles: exp(score - maximum) */
    float *scores;       /* two buffers of 2 x 2 C tiles: [key half][query half] */
    float *result;       /* [value_tile][2] C tiles, transposed */
} plan_of_head;

typedef struct softmax_state {
    __m512 maximum[2], sum[2]; /* of 2 x 16 queries; scaled by log2(e) / sqrt(D) */
} softmax_state;

static inline plan_of_head plan_head(const attention_shape *s, void *work, size_t *bytes)
{
    plan_of_head p = {.key_depth = (s->key_width + 31) / 32,
                      .value_tiles = (s->value_width + 15) / 16,
                      .groups = (s->keys + GROUP - 1) / GROUP};
    size_t tile = TILE_HALVES,
           size[] = {(size_t)(p.groups * 2 * p.key_depth) * tile, (size_t)(p.value_tiles * p.groups) * tile,
                     (size_t)p.key_depth * 2 * tile, PENDING * 2 * tile};
    p.keys = work;
    p.values = p.keys + size[0];
    p.query = p.values + size[1];
    p.chances = p.query + size[2];
    p.scores = (float *)(void *)(p.chances + size[3]);
    p.result = p.scores + 8 * TILE_FLOATS;
    *bytes = (size[0] + size[1] + size[2] + size[3]) * sizeof(uint16_t) +
             (size_t)(8 + 2 * p.value_tiles) * TILE_FLOATS * sizeof(float);
    return p;
}

static inline size_t attention_work_bytes(const attention_shape *s)
{
    size_t bytes;
    plan_head(s, NULL, &bytes);
    return bytes;
}

static inline __mmask32 first_halves(int64_t n)
{
    return n >= 32 ? 0xFFFFFFFFu : (__mmask32)((1u << (n < 0 ? 0 : n)) - 1u);
}

AVX512 static inline void pack_keys(const attention_shape *s, const attention_task *t, const plan_of_head *p)
{
    uint16_t *to = p->keys;
    for (int64_t block = 0; block < p->groups * 2; block++)
        for (int64_t d = 0; d < p->key_depth; d++)
            for (int64_t i = 0; i < 16; i++, to += 32) {
                int64_t key = block * 16 + i;
                __mmask32 m = key < s->keys ? first_halves(s->key_width - d * 32) : 0;
                const uint16_t *from = (const uint16_t *)t->k + (m ? key * t->k_stride + d * 32 : 0);
                _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(m, from));
            }
}

/* Transposed: a row of a tile is one channel, 32 keys wide. */
AVX512 static inline void pack_values(const attention_shape *s, const attention_task *t,
                                      const plan_of_head *p)
{
    for (int64_t e = 0; e < p->value_tiles; e++)
        for (int64_t group = 0; group < p->groups; group++) {
            uint16_t *to = p->values + (e * p->groups + group) * TILE_HALVES;
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int64_t key = group * GROUP + 2 * i;
                const uint16_t *from = (const uint16_t *)t->v + key * t->v_stride + e * 16;
                __mmask16 m = first_lanes(s->value_width - e * 16), m0 = key < s->keys ? m : 0,
                          m1 = key + 1 < s->keys ? m : 0;
                __m256i even = _mm256_maskz_loadu_epi16(m0, m0 ? from : t->v);
                __m256i odd = _mm256_maskz_loadu_epi16(m1, m1 ? from + t->v_stride : t->v);
                r[i] = _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                                       _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
            }
            transpose16(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(to + i * 32, r[i]);
        }
}

/* 32 queries, transposed by pairs; absent queries are zeros. */
AVX512 static inline void pack_queries(const attention_shape *s, const attention_task *t,
                                       const plan_of_head *p, int64_t first)
{
    for (int64_t d = 0; d < p->key_depth; d++)
        for (int64_t half = 0; half < 2; half++) {
            uint16_t *to = p->query + (2 * d + half) * TILE_HALVES;
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int64_t query = first + half * 16 + i;
                __mmask32 m = query < t->query_count ? first_halves(s->key_width - d * 32) : 0;
                r[i] = _mm512_maskz_loadu_epi16(m, (const uint16_t *)t->q +
                                                       (m ? query * t->q_stride + d * 32 : 0));
            }
            transpose16(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(to + i * 32, r[i]);
        }
}

/* Keys past the end, and keys after the query where that is asked for, get a score that has no weight. */
AVX512 static inline void mask_scores(const attention_shape *s, float *scores, int64_t first_key,
                                      int64_t first_query)
{
    const __m512 nothing = _mm512_set1_ps(-1e30f);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int64_t i = 0; i < GROUP; i++)
        for (int64_t half = 0; half < 2; half++) {
            float *row = scores + ((i / 16) * 2 + half) * TILE_FLOATS + i % 16 * 16;
            int64_t key = first_key + i, ahead = key - first_query - half * 16;
            __mmask16 m = key >= s->keys ? 0xFFFF : 0;
            if (s->causal)
                m |= _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32((int)(ahead > 16  ? 16
                                                                           : ahead < 0 ? 0
                                                                                       : ahead)));
            _mm512_mask_storeu_ps(row, m, nothing);
        }
}

AVX512 static inline __m512 column_maximum(const float *scores, int half)
{
    __m512 m = _mm512_loadu_ps(scores + half * TILE_FLOATS);
    for (int i = 1; i < GROUP; i++)
        m = _mm512_max_ps(m, _mm512_loadu_ps(scores + ((i / 16) * 2 + half) * TILE_FLOATS + i % 16 * 16));
    return m;
}

/* The rare case: a group so far above the maximum that its sum would overflow. */
AVX512 static inline void raise_maximum(const plan_of_head *p, softmax_state *state, const float *scores,
                                        __m512 scale)
{
    for (int half = 0; half < 2; half++) {
        __m512 top = _mm512_max_ps(state->maximum[half], _mm512_mul_ps(column_maximum(scores, half), scale));
        __m512 factor = power_of_two_fast(_mm512_sub_ps(state->maximum[half], top));
        state->maximum[half] = top;
        state->sum[half] = _mm512_mul_ps(state->sum[half], factor);
        for (int64_t e = 0; e < p->value_tiles; e++)
            for (int i = 0; i < 16; i++) {
                float *row = p->result + (2 * e + half) * TILE_FLOATS + i * 16;
                _mm512_storeu_ps(row, _mm512_mul_ps(_mm512_loadu_ps(row), factor));
            }
    }
}

/* Divide by the sums, transpose back, store in the output's type. */
AVX512_BF16 static inline void store_result(const attention_shape *s, const attention_task *t,
                                            const plan_of_head *p, const softmax_state *state, int64_t first)
{
    for (int64_t e = 0; e < p->value_tiles; e++)
        for (int64_t half = 0; half < 2; half++) {
            const float *tile = p->result + (2 * e + half) * TILE_FLOATS;
            __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), state->sum[half]);
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_loadu_ps(tile + i * 16), inverse));
            transpose16(r);
            __mmask16 m = first_lanes(s->value_width - e * 16);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int64_t query = first + half * 16 + i;
                if (query >= t->query_count)
                    continue;
                int64_t to = query * t->output_stride + e * 16;
                if (s->output_type == DTYPE_BF16)
                    store_narrowed((uint16_t *)t->output + to, m, _mm512_castsi512_ps(r[i]));
                else
                    _mm512_mask_storeu_ps((float *)t->output + to, m, _mm512_castsi512_ps(r[i]));
            }
        }
}

/* What each query's scores are divided by, as a power of two. */
AVX512 static inline void store_levels(const attention_task *t, const softmax_state *state, int64_t first)
{
    float maximum[32], sum[32];
    for (int half = 0; half < 2; half++) {
        _mm512_storeu_ps(maximum + half * 16, state->maximum[half]);
        _mm512_storeu_ps(sum + half * 16, state->sum[half]);
    }
    for (int i = 0; t->levels && i < 32 && first + i < t->query_count; i++)
        t->levels[first + i] = maximum[i] + log2f(sum[i]);
}

/* Some query's share of this group is so large that the maximum has to be raised. */
AVX512 static inline bool too_large(__m512 left, __m512 right)
{
    const __m512 limit = _mm512_set1_ps(0x1p64f);
    return _mm512_cmp_ps_mask(left, limit, _CMP_GT_OQ) | _mm512_cmp_ps_mask(right, limit, _CMP_GT_OQ);
}

/* How many groups of keys the 32 queries from `query` on may see. */
static inline int64_t visible_groups(const attention_shape *s, int64_t groups, int64_t query)
{
    int64_t last = (query + 31) / GROUP + 1;
    return s->causal && last < groups ? last : groups;
}
#endif

#endif
