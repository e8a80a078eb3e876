/* attention_f32.c - attention in f32, for any processor. Scores are [keys][16 queries]; the products are
 * small register tiles, rows by 16 queries. */
#include "backend/cpu/attention.h"

#include "backend/cpu/block.h"
#include "backend/cpu/vector_math.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, KEYS = 128 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

typedef struct workspace {
    float *keys, *values; /* [keys][width], packed */
    float *query;         /* [key_width][LANES] */
    float *scores;        /* [KEYS][LANES], then their exponentials */
    float *result;        /* [value_width][LANES] */
} workspace;

static workspace workspace_of(const attention_shape *s, void *memory)
{
    workspace w = {.query = memory};
    w.scores = w.query + s->key_width * LANES;
    w.result = w.scores + KEYS * LANES;
    w.keys = w.result + s->value_width * LANES;
    w.values = w.keys + s->keys * s->key_width;
    return w;
}

static size_t work_bytes(const attention_shape *s)
{
    return (size_t)((s->key_width + s->value_width) * (LANES + s->keys) + KEYS * LANES) * sizeof(float);
}

static void pack_rows(dtype type, const void *from, int64_t stride, int64_t rows, int64_t width, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        block_load(type, from, i * stride, width, to + i * width);
}

static void pack_queries(const attention_shape *s, const attention_task *t, int64_t first, const workspace *w)
{
    for (int64_t i = 0; i < LANES; i++) {
        float x[64];
        for (int64_t d = 0; d < s->key_width; d += 64) {
            int64_t n = s->key_width - d < 64 ? s->key_width - d : 64;
            if (first + i < t->query_count)
                block_load(s->input_type[0], t->q, (first + i) * t->q_stride + d, n, x);
            else
                memset(x, 0, sizeof x);
            for (int64_t k = 0; k < n; k++)
                w->query[(d + k) * LANES + i] = x[k];
        }
    }
}

/* c[i][:] = (accumulate ? c[i][:] : 0) + sum over k of a[i * row_step + k * step] * b[k][:], ROWS rows at
 * a time. */
#define MULTIPLY(name, ROWS)                                                                                 \
    INLINE void name(const float *a, int64_t row_step, int64_t step, const float *b, float *c,               \
                     int64_t depth, int accumulate)                                                          \
    {                                                                                                        \
        lanes sum[ROWS], y;                                                                                  \
        _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++)                                              \
        {                                                                                                    \
            if (accumulate)                                                                                  \
                memcpy(&sum[i], c + i * LANES, sizeof y);                                                    \
            else                                                                                             \
                sum[i] = (lanes){0};                                                                         \
        }                                                                                                    \
        for (int64_t k = 0; k < depth; k++, a += step, b += LANES) {                                         \
            memcpy(&y, b, sizeof y);                                                                         \
            _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) sum[i] += a[i * row_step] * y;           \
        }                                                                                                    \
        _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) memcpy(c + i * LANES, &sum[i], sizeof y);    \
    }
MULTIPLY(multiply_twelve, 12)
MULTIPLY(multiply_six, 6)
MULTIPLY(multiply_one, 1)

INLINE void multiply(int wide, const float *a, int64_t row_step, int64_t step, const float *b, float *c,
                     int64_t rows, int64_t depth, int accumulate)
{
    int64_t i = 0;
    if (wide)
        for (; i + 12 <= rows; i += 12)
            multiply_twelve(a + i * row_step, row_step, step, b, c + i * LANES, depth, accumulate);
    for (; i + 6 <= rows; i += 6)
        multiply_six(a + i * row_step, row_step, step, b, c + i * LANES, depth, accumulate);
    for (; i < rows; i++)
        multiply_one(a + i * row_step, row_step, step, b, c + i * LANES, depth, accumulate);
}

/* Where a query may not look: -infinity. */
static void mask_scores(float *scores, int64_t first_key, int64_t count, int64_t first_query)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < LANES; j++)
            if (first_key + i > first_query + j)
                scores[i * LANES + j] = -INFINITY;
}

typedef struct running {
    float maximum[LANES], sum[LANES];
} running;

/* Raise the maxima to this block's, scale what is there, replace scores by exponentials. */
INLINE void soften(float *scores, int64_t count, float scale, running *r, float *result, int64_t width)
{
    float top[LANES], factor[LANES], sum[LANES];
    memcpy(top, r->maximum, sizeof top);
    for (int64_t i = 0; i < count; i++)
        for (int j = 0; j < LANES; j++) {
            float v = scores[i * LANES + j] * scale;
            scores[i * LANES + j] = v;
            top[j] = v > top[j] ? v : top[j];
        }
    for (int j = 0; j < LANES; j++) {
        factor[j] = exponential(r->maximum[j] - top[j]);
        sum[j] = r->sum[j] * factor[j];
        r->maximum[j] = top[j];
    }
    for (int64_t i = 0; i < count; i++)
        for (int j = 0; j < LANES; j++) {
            float e = exponential(scores[i * LANES + j] - top[j]);
            scores[i * LANES + j] = e;
            sum[j] += e;
        }
    memcpy(r->sum, sum, sizeof sum);
    for (int64_t k = 0; k < width; k++)
        for (int j = 0; j < LANES; j++)
            result[k * LANES + j] *= factor[j];
}

static void store_result(const attention_shape *s, const attention_task *t, int64_t first, const workspace *w,
                         const running *r)
{
    for (int64_t i = 0; i < LANES && first + i < t->query_count; i++) {
        float x[64], inverse = 1 / r->sum[i];
        for (int64_t e = 0; e < s->value_width; e += 64) {
            int64_t n = s->value_width - e < 64 ? s->value_width - e : 64;
            for (int64_t k = 0; k < n; k++)
                x[k] = w->result[(e + k) * LANES + i] * inverse;
            block_store(s->output_type, t->output, (first + i) * t->output_stride + e, n, x);
        }
    }
}

INLINE void attend(int wide, const attention_shape *s, const attention_task *t, const workspace *w,
                   int64_t first)
{
    running r;
    int64_t query = t->first_query + first,
            keys = s->causal && query + LANES < s->keys ? query + LANES : s->keys;
    for (int j = 0; j < LANES; j++) {
        r.maximum[j] = -3e38f;
        r.sum[j] = 0;
    }
    memset(w->result, 0, (size_t)s->value_width * LANES * sizeof(float));
    for (int64_t k = 0; k < keys; k += KEYS) {
        int64_t count = keys - k < KEYS ? keys - k : KEYS;
        multiply(wide, w->keys + k * s->key_width, s->key_width, 1, w->query, w->scores, count, s->key_width,
                 0);
        if (s->causal && k + count > query + 1)
            mask_scores(w->scores, k, count, query);
        soften(w->scores, count, s->scale, &r, w->result, s->value_width);
        multiply(wide, w->values + k * s->value_width, 1, s->value_width, w->scores, w->result,
                 s->value_width, count, 1);
    }
    store_result(s, t, first, w, &r);
}

INLINE void run(int wide, const attention_shape *s, const attention_task *t)
{
    workspace w = workspace_of(s, t->work);
    if (!t->packed) {
        pack_rows(s->input_type[1], t->k, t->k_stride, s->keys, s->key_width, w.keys);
        pack_rows(s->input_type[2], t->v, t->v_stride, s->keys, s->value_width, w.values);
    }
    for (int64_t first = 0; first < t->query_count; first += LANES) {
        pack_queries(s, t, first, &w);
        attend(wide, s, t, &w, first);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#endif
static void
run_avx512(const attention_shape *s, const attention_task *t)
{
    run(1, s, t);
}

CLONES static void run_any(const attention_shape *s, const attention_task *t)
{
    run(0, s, t);
}

const attention_method attention_f32_avx512 = {"attention f32 avx512", work_bytes, run_avx512, false};
const attention_method attention_f32 = {"attention f32", work_bytes, run_any, false};
