/* window_attention.c - attention within windows: a window's q, k and v of one head are gathered into scratch as f32 (keys
 * turned, so that a row of scores is a sum of their rows), and the scores of a few queries at a time stay in the cache.
 * The bias of each head is laid out as [T,T] once a run. */
#include "ops/window_attention.h"

#include "backend/cpu/block.h"
#include "backend/cpu/step.h"
#include "backend/cpu/vector_math.h"
#include "base/clones.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { LANES = 16 };

/* Floats of one worker: q [T,D], keys turned [D,T'], v [T,D'], one row of scores [T'], one row of the result [D'];
 * rounded up to whole lanes. */
typedef struct window_room {
    int64_t T, D, T_wide, D_wide, floats;
} window_room;

static int64_t lanes(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

static window_room room_of(const step *s)
{
    const window_attention_attributes *p = &s->attributes.window_attention;
    window_room r = {.T = (int64_t)p->height * p->width, .D = s->shape.dim[3] / p->heads};
    r.T_wide = lanes(r.T);
    r.D_wide = lanes(r.D);
    r.floats = lanes(r.T * r.D) + r.D * r.T_wide + r.T * r.D_wide + r.T_wide + r.D_wide;
    return r;
}

/* sum[i] = x[i] + sum_d factor[d] * rows[d][i]; wide is a multiple of LANES. */
CLONES static void weighted_rows(float *restrict sum, const float *restrict rows,
                                 const float *restrict factor, int64_t count, int64_t wide)
{
    for (int64_t i = 0; i < wide; i += LANES) {
        float lane[LANES];
        for (int j = 0; j < LANES; j++)
            lane[j] = sum[i + j];
        for (int64_t d = 0; d < count; d++)
            for (int j = 0; j < LANES; j++)
                lane[j] += factor[d] * rows[d * wide + i + j];
        for (int j = 0; j < LANES; j++)
            sum[i + j] = lane[j];
    }
}

/* exp(x - largest), and one over their sum. */
CLONES static float softmax_row(float *x, int64_t n)
{
    float largest = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (int64_t i = 0; i < n; i++)
        x[i] = exponential(x[i] - largest);
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return 1.0f / sum;
}

typedef struct window_call {
    const step *step;
    const kernel_arguments *arguments;
    window_map map;
    window_room room;
    const float *bias; /* [heads,T,T'], or NULL */
} window_call;

static void gather(const window_call *c, int64_t window, int64_t offset, float *q, float *k, float *v)
{
    const step *s = c->step;
    const window_room *r = &c->room;
    float scale = 1.0f / sqrtf((float)r->D), row[1024];
    memset(k, 0, (size_t)(r->D * r->T_wide) * sizeof *k);
    memset(v, 0, (size_t)(r->T * r->D_wide) * sizeof *v);
    for (int t = 0; t < r->T; t++) {
        int64_t from = offset + window_position(&c->map, window, t) * c->map.C;
        block_load(s->input_type[0], c->arguments->input[0], from, r->D, q + t * r->D);
        block_scale(q + t * r->D, scale, 0, r->D);
        block_load(s->input_type[1], c->arguments->input[1], from, r->D, row);
        for (int64_t d = 0; d < r->D; d++)
            k[d * r->T_wide + t] = row[d];
        block_load(s->input_type[2], c->arguments->input[2], from, r->D, v + t * r->D_wide);
    }
}

static void add_mask(const window_call *c, int64_t window, int t, float *score)
{
    int mine = window_region(&c->map, window, t);
    for (int s = 0; s < c->room.T; s++)
        score[s] += window_region(&c->map, window, s) == mine ? 0.0f : (float)WINDOW_MASK;
}

static void attend(const window_call *c, int64_t index, float *scratch)
{
    const window_room *r = &c->room;
    int64_t heads = c->map.heads, windows = c->map.rows * c->map.columns, head = index % heads;
    int64_t window = index / heads % windows, sample = index / heads / windows;
    int64_t offset = sample * c->map.H * c->map.W * c->map.C + head * r->D;
    float *q = scratch, *k = q + lanes(r->T * r->D), *v = k + r->D * r->T_wide;
    float *score = v + r->T * r->D_wide, *y = score + r->T_wide;
    bool mixed = window_is_mixed(&c->map, window);
    gather(c, window, offset, q, k, v);
    for (int t = 0; t < r->T; t++) {
        if (c->bias)
            memcpy(score, c->bias + (head * r->T + t) * r->T_wide, (size_t)r->T_wide * sizeof *score);
        else
            memset(score, 0, (size_t)r->T_wide * sizeof *score);
        weighted_rows(score, k, q + t * r->D, r->D, r->T_wide);
        if (mixed)
            add_mask(c, window, t, score);
        float scale = softmax_row(score, r->T);
        memset(y, 0, (size_t)r->D_wide * sizeof *y);
        weighted_rows(y, v, score, r->T, r->D_wide);
        block_scale(y, scale, 0, r->D);
        block_store(c->step->type, c->arguments->output,
                    offset + window_position(&c->map, window, t) * c->map.C, r->D, y);
    }
}

/* The table's numbers where the scores want them: [heads,T,T']. */
static void lay_out_bias(const window_call *c, const void *table, dtype type, float *to)
{
    int64_t heads = c->map.heads, T = c->room.T, wide = c->room.T_wide;
    for (int64_t t = 0; t < T; t++)
        for (int64_t s = 0; s < T; s++) {
            float row[64];
            int64_t from = window_bias_row(&c->map, (int)t, (int)s) * heads;
            block_load(type, table, from, heads, row);
            for (int64_t h = 0; h < heads; h++)
                to[(h * T + t) * wide + s] = row[h];
        }
    for (int64_t i = 0; i < heads * T; i++)
        for (int64_t s = T; s < wide; s++)
            to[i * wide + s] = 0;
}

static kiln_status window_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    window_call c = {.step = s,
                     .arguments = a,
                     .map = window_map_of(s->shape, &s->attributes.window_attention),
                     .room = room_of(s)};
    int64_t count = s->shape.dim[0] * c.map.rows * c.map.columns * c.map.heads;
    float *scratch = a->scratch;
    if (s->input_count > 3 && a->input[3]) {
        float *bias = scratch + c.room.floats * a->threads;
        lay_out_bias(&c, a->input[3], s->input_type[3], bias);
        c.bias = bias;
    }
#pragma omp parallel for schedule(static) num_threads(a->threads) if (count > 4)
    for (int64_t i = 0; i < count; i++)
        attend(&c, i, scratch + c.room.floats * omp_get_thread_num());
    return KILN_OK;
}

kiln_status prepare_window_attention(const kernel_request *r, kernel *out, kiln_error *err)
{
    int64_t heads = r->node->attributes.window_attention.heads;
    if (r->node->shape.dim[3] / heads > 1024 || heads > 64)
        return KILN_OK;
    kiln_status status = step_prepare(r, "window attention", window_run, -1, out, err);
    if (status != KILN_OK)
        return status;
    window_room room = room_of(out->state);
    bool bias = r->node->input_count > 3 && r->node->input[3].index;
    out->scratch_bytes =
        sizeof(float) * (size_t)(room.floats * r->threads + (bias ? heads * room.T * room.T_wide : 0));
    return KILN_OK;
}
