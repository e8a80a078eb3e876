/* attention_amx.c - bf16 attention by AMX tiles.
 *
 * For 32 queries the keys go by 32 at a time (a "group"); probabilities of PENDING groups wait as tiles,
 * then are multiplied into the result at once. Heads of up to 64 channels keep their queries in tile
 * registers (4 to 7) over a whole block of scores. In the other products 0..3 are C, 4 and 5 A, 6 and 7 B. */
#include "backend/cpu/amx.h"
#include "backend/cpu/attention_parts.h"

#if defined(__x86_64__)
/* Scores of 32 keys: [key half][query half] tiles, one after another. */
AMX static void scores_of_narrow(const plan_of_head *p, int64_t group, float *c)
{
    const uint16_t *a = p->keys + group * 4 * TILE_HALVES;
    for (int half = 0; half < 2; half++, a += 2 * TILE_HALVES, c += 2 * TILE_FLOATS) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(2, a, 64);
        _tile_dpbf16ps(0, 2, 4);
        _tile_dpbf16ps(1, 2, 5);
        _tile_loadd(3, a + TILE_HALVES, 64);
        _tile_dpbf16ps(0, 3, 6);
        _tile_dpbf16ps(1, 3, 7);
        _tile_stored(0, c, 64);
        _tile_stored(1, c + TILE_FLOATS, 64);
    }
}

/* c[i][j] = (accumulate ? c[i][j] : 0) + sum over k < depth of a[i][k] b[k][j];  i, j < 2. */
AMX static void multiply_two(const uint16_t *a, int64_t a_step, const uint16_t *b, float *c, int64_t depth,
                             bool accumulate)
{
    amx_square_begin(c, accumulate);
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE_HALVES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + a_step, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    amx_square_end(c);
}

AMX static void multiply_one(const uint16_t *a, const uint16_t *b, float *c, int64_t depth, bool accumulate)
{
    if (accumulate) {
        _tile_loadd(0, c, 64);
        _tile_loadd(1, c + TILE_FLOATS, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE_HALVES, 64);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + TILE_FLOATS, 64);
}

/* Scores of one group; for narrow heads the queries must be in tiles 4 to 7. */
AMX static void multiply_scores(const plan_of_head *p, int64_t group, float *c)
{
    amx_fence();
    if (p->key_depth == 2)
        scores_of_narrow(p, group, c);
    else
        multiply_two(p->keys + group * 2 * p->key_depth * TILE_HALVES, p->key_depth * TILE_HALVES, p->query,
                     c, p->key_depth, false);
    amx_fence();
}

AMX static void load_narrow_queries(const plan_of_head *p)
{
    amx_fence();
    if (p->key_depth != 2)
        return;
    _tile_loadd(4, p->query, 64);
    _tile_loadd(5, p->query + TILE_HALVES, 64);
    _tile_loadd(6, p->query + 2 * TILE_HALVES, 64);
    _tile_loadd(7, p->query + 3 * TILE_HALVES, 64);
}

/* result += values of `count` groups from `first` on, times the waiting chances. */
AMX static void add_pending(const plan_of_head *p, int64_t first, int64_t count, const uint16_t *chances,
                            bool accumulate)
{
    amx_fence();
    int64_t e = 0, step = p->groups * TILE_HALVES;
    const uint16_t *a = p->values + first * TILE_HALVES;
    for (; e + 2 <= p->value_tiles; e += 2)
        multiply_two(a + e * step, step, chances, p->result + 2 * e * TILE_FLOATS, count, accumulate);
    if (e < p->value_tiles)
        multiply_one(a + e * step, chances, p->result + 2 * e * TILE_FLOATS, count, accumulate);
    amx_fence();
}

/* exp of a group's scores into two B tiles. */
AMX static inline void soften(const float *scores, __m512 scale, const __m512 maximum[2], uint16_t *to,
                              __m512 sums[2])
{
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    const __m512 left = maximum[0], right = maximum[1];
    for (int pair = 0; pair < 16; pair++) {
        const float *row = scores + pair / 8 * 2 * TILE_FLOATS + pair % 8 * 32;
        __m512 a = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row), scale, left));
        __m512 b = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row + 16), scale, left));
        __m512 c = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row + TILE_FLOATS), scale, right));
        __m512 d = power_of_two_rough(_mm512_fmsub_ps(_mm512_loadu_ps(row + TILE_FLOATS + 16), scale, right));
        sum[0] = _mm512_add_ps(sum[0], a);
        sum[1] = _mm512_add_ps(sum[1], b);
        sum[2] = _mm512_add_ps(sum[2], c);
        sum[3] = _mm512_add_ps(sum[3], d);
        _mm512_storeu_si512(to + pair * 32, interleave_pairs(a, b));
        _mm512_storeu_si512(to + pair * 32 + TILE_HALVES, interleave_pairs(c, d));
    }
    sums[0] = _mm512_add_ps(sum[0], sum[1]);
    sums[1] = _mm512_add_ps(sum[2], sum[3]);
}

AMX static void attend(const attention_shape *s, const attention_task *t, const plan_of_head *p,
                       int64_t first)
{
    const __m512 scale = _mm512_set1_ps(s->scale * 1.44269504f);
    int64_t query = t->first_query + first, groups = visible_groups(s, p->groups, query);
    softmax_state state = {{_mm512_setzero_ps(), _mm512_setzero_ps()},
                           {_mm512_setzero_ps(), _mm512_setzero_ps()}};
    for (int64_t block = 0; block < groups; block += PENDING) {
        int64_t count = groups - block < PENDING ? groups - block : PENDING, done = 0;
        load_narrow_queries(p);
        multiply_scores(p, block, p->scores);
        for (int64_t i = 0; i < count; i++) {
            int64_t g = block + i;
            float *scores = p->scores + i % 2 * 4 * TILE_FLOATS;
            if (i + 1 < count)
                multiply_scores(p, g + 1, p->scores + (i + 1) % 2 * 4 * TILE_FLOATS);
            if ((g + 1) * GROUP > s->keys || (s->causal && (g + 1) * GROUP > query + 1))
                mask_scores(s, scores, g * GROUP, query);
            for (int half = 0; half < 2 && g == 0; half++)
                state.maximum[half] = _mm512_mul_ps(column_maximum(scores, half), scale);
            __m512 sums[2];
            uint16_t *to = p->chances + i * 2 * TILE_HALVES;
            soften(scores, scale, state.maximum, to, sums);
            if (too_large(sums[0], sums[1])) {
                if (i > done)
                    add_pending(p, block + done, i - done, p->chances + done * 2 * TILE_HALVES,
                                block + done > 0);
                load_narrow_queries(p);
                raise_maximum(p, &state, scores, scale);
                done = i;
                soften(scores, scale, state.maximum, to, sums);
            }
            state.sum[0] = _mm512_add_ps(state.sum[0], sums[0]);
            state.sum[1] = _mm512_add_ps(state.sum[1], sums[1]);
        }
        add_pending(p, block + done, count - done, p->chances + done * 2 * TILE_HALVES, block + done > 0);
    }
    store_result(s, t, p, &state, first);
    store_levels(t, &state, first);
}

AMX static void run(const attention_shape *s, const attention_task *t)
{
    size_t bytes;
    plan_of_head p = plan_head(s, t->work, &bytes);
    if (!t->packed) {
        pack_keys(s, t, &p);
        pack_values(s, t, &p);
    }
    _tile_loadconfig(&amx_whole_tiles);
    for (int64_t first = 0; first < t->query_count; first += 32) {
        pack_queries(s, t, &p, first);
        attend(s, t, &p, first);
    }
    _tile_release();
}

const attention_method attention_amx = {"attention amx", attention_work_bytes, run, true};
#else
const attention_method attention_amx = {0};
#endif
