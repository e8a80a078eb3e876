/* attention_backward_f32.c - the gradients of attention in f32, for any processor: oneDNN's plain matrix product on
 * blocks of queries against all keys of a head. */
#include "backend/cpu/attention_backward.h"

#include "backend/cpu/block.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/vector_math.h"
#include "base/clones.h"

#include <string.h>

enum { BLOCK_SCORES = 1 << 17, LANES = 16 };

typedef struct workspace {
    float *k, *v, *dk, *dv;       /* [keys][width] */
    float *q, *dq, *y, *dy;       /* [block][width] */
    float *scores, *score_slopes; /* [block][keys]: scores, then probabilities; their gradients */
} workspace;

/* Queries of a block: about BLOCK_SCORES scores. */
static int64_t block_of(const attention_backward_shape *s)
{
    int64_t block = BLOCK_SCORES / s->keys;
    block = block < 16 ? 16 : block;
    return block > s->queries ? s->queries : block;
}

static workspace workspace_of(const attention_backward_shape *s, float *memory, size_t *floats)
{
    int64_t block = block_of(s);
    workspace w = {.k = memory};
    w.v = w.k + s->keys * s->key_width;
    w.dk = w.v + s->keys * s->value_width;
    w.dv = w.dk + s->keys * s->key_width;
    w.q = w.dv + s->keys * s->value_width;
    w.dq = w.q + block * s->key_width;
    w.y = w.dq + block * s->key_width;
    w.dy = w.y + block * s->value_width;
    w.scores = w.dy + block * s->value_width;
    w.score_slopes = w.scores + block * s->keys;
    *floats = (size_t)(2 * (s->keys + block) * (s->key_width + s->value_width) + 2 * block * s->keys);
    return w;
}

static size_t work_bytes(const attention_backward_shape *s)
{
    size_t floats;
    workspace_of(s, NULL, &floats);
    return floats * sizeof(float);
}

static void load_rows(dtype type, const void *from, int64_t first, int64_t stride, int64_t rows,
                      int64_t width, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        block_load(type, from, (first + i) * stride, width, to + i * width);
}

static void store_rows(dtype type, void *to, int64_t first, int64_t stride, int64_t rows, int64_t width,
                       const float *from)
{
    for (int64_t i = 0; to && i < rows; i++)
        block_store(type, to, (first + i) * stride, width, from + i * width);
}

INLINE float join(float *lane)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* The softmax of one row of `seen` scores; zeros after them. */
CLONES static void soften(float *x, int64_t seen, int64_t keys)
{
    float top = x[0], lane[LANES] = {0};
    for (int64_t i = 1; i < seen; i++)
        top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < seen; i++)
        x[i] = exponential(x[i] - top);
    int64_t i = 0;
    for (; i + LANES <= seen; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (int j = 0; i + j < seen; j++)
        lane[j] += x[i + j];
    float inverse = 1.0f / join(lane);
    for (i = 0; i < seen; i++)
        x[i] *= inverse;
    for (; i < keys; i++)
        x[i] = 0;
}

CLONES static float dot(const float *x, const float *y, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j] * y[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += x[i + j] * y[i + j];
    return join(lane);
}

/* ds = p (dp - delta) scale, in the place of dp */
CLONES static void slope_row(const float *restrict p, float *restrict dp, float delta, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dp[i] = p[i] * (dp[i] - delta) * scale;
}

static void backward_block(const attention_backward_shape *s, const attention_backward_task *t,
                           const workspace *w, int64_t first, int64_t count)
{
    int64_t D = s->key_width, E = s->value_width, S = s->keys;
    load_rows(s->input_type[0], t->input[0], first, t->key_stride, count, D, w->q);
    load_rows(s->input_type[3], t->input[3], first, t->value_stride, count, E, w->y);
    load_rows(s->input_type[4], t->input[4], first, t->value_stride, count, E, w->dy);
    product_plain(&(plain_product){'N', 'T', count, S, D, s->scale, 0}, w->q, w->k, w->scores);
    product_plain(&(plain_product){'N', 'T', count, S, E, 1, 0}, w->dy, w->v, w->score_slopes);
    for (int64_t i = 0; i < count; i++) {
        int64_t seen = s->causal && first + i + 1 < S ? first + i + 1 : S;
        soften(w->scores + i * S, seen, S);
        slope_row(w->scores + i * S, w->score_slopes + i * S, dot(w->dy + i * E, w->y + i * E, E), s->scale,
                  S);
    }
    if (t->output[2])
        product_plain(&(plain_product){'T', 'N', S, E, count, 1, 1}, w->scores, w->dy, w->dv);
    if (t->output[1])
        product_plain(&(plain_product){'T', 'N', S, D, count, 1, 1}, w->score_slopes, w->q, w->dk);
    if (t->output[0])
        product_plain(&(plain_product){'N', 'N', count, D, S, 1, 0}, w->score_slopes, w->k, w->dq);
    store_rows(s->output_type, t->output[0], first, t->key_stride, count, D, w->dq);
}

static void run(const attention_backward_shape *s, const attention_backward_task *t)
{
    size_t floats;
    workspace w = workspace_of(s, t->work, &floats);
    int64_t block = block_of(s), S = s->keys, D = s->key_width, E = s->value_width;
    load_rows(s->input_type[1], t->input[1], 0, t->key_stride, S, D, w.k);
    load_rows(s->input_type[2], t->input[2], 0, t->value_stride, S, E, w.v);
    memset(w.dk, 0, (size_t)(S * (D + E)) * sizeof(float)); /* and dv, which follows it */
    for (int64_t first = 0; first < s->queries; first += block)
        backward_block(s, t, &w, first, s->queries - first < block ? s->queries - first : block);
    store_rows(s->output_type, t->output[1], 0, t->key_stride, S, D, w.dk);
    store_rows(s->output_type, t->output[2], 0, t->value_stride, S, E, w.dv);
}

const attention_backward_method attention_backward_f32 = {"attention backward f32", work_bytes, run, false};
