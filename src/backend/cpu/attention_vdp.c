/* attention_vdp.c - bf16 attention by vdpbf16ps (avx512_bf16), for processors without AMX; the tiles are
 * the same.
 *
 * For 32 queries the keys go by 32 at a time (a "group"); probabilities of PENDING groups wait as tiles,
 * then are multiplied into the result at once. */
#include "backend/cpu/attention_parts.h"

#if defined(__x86_64__)
#include <string.h>

AVX512_BF16 static inline __attribute__((always_inline)) __m512bh pair(const uint16_t *a)
{
    int32_t bits;
    memcpy(&bits, a, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

/* 8 rows of one A tile against two B tiles: 16 accumulators. */
AVX512_BF16 static void eight_rows(const uint16_t *a, const uint16_t *b, float *c, int64_t depth,
                                   int accumulate)
{
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            sum[i][j] = accumulate ? _mm512_loadu_ps(c + j * TILE_FLOATS + i * 16) : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES)
        for (int r = 0; r < 16; r++) {
            __m512bh left = (__m512bh)_mm512_loadu_si512(b + r * 32);
            __m512bh right = (__m512bh)_mm512_loadu_si512(b + TILE_HALVES + r * 32);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                __m512bh x = pair(a + i * 32 + r * 2);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, left);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, right);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            _mm512_storeu_ps(c + j * TILE_FLOATS + i * 16, sum[i][j]);
}

static void multiply(const uint16_t *a, int64_t a_step, const uint16_t *b, float *c, int rows, int64_t depth,
                     int accumulate)
{
    for (int i = 0; i < rows; i++)
        for (int half = 0; half < 2; half++)
            eight_rows(a + i * a_step + half * 8 * 32, b, c + 2 * i * TILE_FLOATS + half * 8 * 16, depth,
                       accumulate);
}

/* exp of one half's scores into a B tile; returns their sums. */
AVX512_BF16 static inline __m512 exponentials(const float *scores, int half, __m512 scale, __m512 maximum,
                                              uint16_t *to)
{
    __m512 even_sum = _mm512_setzero_ps(), odd_sum = _mm512_setzero_ps();
    for (int tile = 0; tile < 2; tile++) {
        const float *row = scores + (tile * 2 + half) * TILE_FLOATS;
#pragma GCC unroll 4
        for (int i = 0; i < 8; i++, row += 32, to += 32) {
            __m512 even = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row), scale, maximum));
            __m512 odd = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row + 16), scale, maximum));
            even_sum = _mm512_add_ps(even_sum, even);
            odd_sum = _mm512_add_ps(odd_sum, odd);
            _mm512_storeu_si512(to, interleave_pairs(even, odd));
        }
    }
    return _mm512_add_ps(even_sum, odd_sum);
}

static void multiply_scores(const plan_of_head *p, int64_t group, float *scores)
{
    multiply(p->keys + group * 2 * p->key_depth * TILE_HALVES, p->key_depth * TILE_HALVES, p->query, scores,
             2, p->key_depth, 0);
}

/* result += values of `count` groups from `first` on, times their waiting chances. */
static void add_pending(const plan_of_head *p, int64_t first, int64_t count, const uint16_t *chances,
                        int accumulate)
{
    if (!count)
        return;
    for (int64_t e = 0; e < p->value_tiles; e += 2)
        multiply(p->values + (e * p->groups + first) * TILE_HALVES, p->groups * TILE_HALVES, chances,
                 p->result + 2 * e * TILE_FLOATS, p->value_tiles - e > 1 ? 2 : 1, count, accumulate);
}

AVX512_BF16 static void attend(const attention_shape *s, const attention_task *t, const plan_of_head *p,
                               int64_t first)
{
    const __m512 scale = _mm512_set1_ps(s->scale * 1.44269504f);
    int64_t query = t->first_query + first, groups = visible_groups(s, p->groups, query);
    softmax_state state;
    int64_t pending = 0, start = 0;
    int accumulate = 0;
    for (int64_t g = 0; g < groups; g++) {
        float *scores = p->scores;
        multiply_scores(p, g, scores);
        if ((g + 1) * GROUP > s->keys || (s->causal && (g + 1) * GROUP > query + 1))
            mask_scores(s, scores, g * GROUP, query);
        if (g == 0)
            for (int half = 0; half < 2; half++) {
                state.maximum[half] = _mm512_mul_ps(column_maximum(scores, half), scale);
                state.sum[half] = _mm512_setzero_ps();
            }
        uint16_t *to = p->chances + pending * 2 * TILE_HALVES;
        __m512 left = exponentials(scores, 0, scale, state.maximum[0], to);
        __m512 right = exponentials(scores, 1, scale, state.maximum[1], to + TILE_HALVES);
        if (too_large(left, right)) {
            add_pending(p, start, pending, p->chances, accumulate);
            accumulate |= pending > 0;
            start += pending;
            pending = 0;
            raise_maximum(p, &state, scores, scale);
            left = exponentials(scores, 0, scale, state.maximum[0], p->chances);
            right = exponentials(scores, 1, scale, state.maximum[1], p->chances + TILE_HALVES);
        }
        state.sum[0] = _mm512_add_ps(state.sum[0], left);
        state.sum[1] = _mm512_add_ps(state.sum[1], right);
        if (++pending == PENDING || g + 1 == groups) {
            add_pending(p, start, pending, p->chances, accumulate);
            accumulate = 1;
            start += pending;
            pending = 0;
        }
    }
    store_result(s, t, p, &state, first);
    store_levels(t, &state, first);
}

static void run(const attention_shape *s, const attention_task *t)
{
    size_t bytes;
    plan_of_head p = plan_head(s, t->work, &bytes);
    if (!t->packed) {
        pack_keys(s, t, &p);
        pack_values(s, t, &p);
    }
    for (int64_t first = 0; first < t->query_count; first += 32) {
        pack_queries(s, t, &p, first);
        attend(s, t, &p, first);
    }
}

const attention_method attention_bf16 = {"attention avx512_bf16", attention_work_bytes, run, true};
#else
const attention_method attention_bf16 = {0};
#endif
