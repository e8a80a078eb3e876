/* group_norm_backward.c - the gradients of group norm, y = act((x - mean) * scale * w + b), in two walks over memory. With
 * e = x - mean and g = dy * act'(...):
 *
 *   sums   S = sum over positions of g,  P = scale * sum over positions of g * e, by sample and channel
 *   data   dx = g * scale * w - e * scale^2 * mean(w * P) - scale * mean(w * S), means over the group; plus, perhaps,
 *          another share of the gradient
 *
 * and the sums over samples of S and P, which are the gradients by bias and by weight. Positions are cut into chunks of a
 * fixed size, summed in f32; the chunks are added in order, in double. */
#include "backend/cpu/block.h"
#include "backend/cpu/block_backward.h"
#include "backend/cpu/hot_group_norm.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

#include <string.h>

enum { CHUNK_ELEMENTS = 32768, PIECE = 2048, X = 0, WEIGHT, DY, BIAS, STATISTICS, SUMS, ADDED };

/* Where everything lies in the scratch memory. */
typedef struct layout {
    int64_t samples, positions, channels, width, chunk, chunks;
    size_t coefficients_at, total;
} layout;

static layout layout_of(const step *s)
{
    shape x = s->input_shape[X];
    layout l = {.samples = x.dim[0], .channels = step_last(x)};
    l.positions = step_rows(x) / l.samples;
    l.width = l.channels / s->attributes.norm.groups;
    l.chunk = CHUNK_ELEMENTS / l.channels < 8 ? 8 : CHUNK_ELEMENTS / l.channels;
    l.chunks = (l.positions + l.chunk - 1) / l.chunk;
    bool sums = s->op == OP_GROUP_NORM_BACKWARD_SUMS;
    l.coefficients_at = sums ? (size_t)(2 * l.samples * l.chunks * l.channels) * sizeof(float) : 0;
    l.total = l.coefficients_at + (size_t)((5 * l.samples + 2) * l.channels) * sizeof(float);
    return l;
}

typedef struct call {
    const step *step;
    layout layout;
    const kernel_arguments *arguments;
    bool hot;
    float *offset, *factor, *by_g, *by_x, *common; /* [N,C] each */
    float *weight, *bias;
} call;

/* e = x + offset, t = e * factor + bias, for the channels of one sample and group. */
static void find_norm(const call *c, int64_t n, int64_t g)
{
    int64_t C = c->layout.channels, width = c->layout.width;
    const float *t = (const float *)c->arguments->input[STATISTICS] + (n * (C / width) + g) * 2;
    for (int64_t k = g * width; k < (g + 1) * width; k++) {
        c->offset[n * C + k] = -t[0];
        c->factor[n * C + k] = t[1] * c->weight[k];
    }
}

static call call_of(const step *s, const kernel_arguments *a)
{
    call c = {.step = s, .layout = layout_of(s), .arguments = a};
    int64_t C = c.layout.channels, NC = c.layout.samples * C;
    activation_kind kind = s->attributes.norm.activation;
    c.offset = (float *)(void *)((char *)a->scratch + c.layout.coefficients_at);
    c.factor = c.offset + NC;
    c.by_g = c.factor + NC;
    c.by_x = c.by_g + NC;
    c.common = c.by_x + NC;
    c.weight = c.common + NC;
    c.bias = c.weight + C;
    c.hot = s->features.avx512_bf16 && s->input_type[X] == DTYPE_BF16 && s->input_type[DY] == DTYPE_BF16 &&
            (kind == ACTIVATION_SILU || kind == ACTIVATION_NONE);
    block_load(s->input_type[WEIGHT], a->input[WEIGHT], 0, C, c.weight);
    block_load(s->input_type[BIAS], a->input[BIAS], 0, C, c.bias);
    int64_t groups = C / c.layout.width;
    for (int64_t i = 0; i < c.layout.samples * groups; i++)
        find_norm(&c, i / groups, i % groups);
    return c;
}

/* The rows of a chunk; first is the first of them, over all samples. */
static group_norm_rows rows_of(const call *c, int64_t item, int64_t *first)
{
    const layout *l = &c->layout;
    int64_t n = item / l->chunks, k = item % l->chunks, C = l->channels;
    *first = n * l->positions + k * l->chunk;
    return (group_norm_rows){.x = (const uint16_t *)c->arguments->input[X] + *first * C, /* as bf16 */
                             .dy = (const uint16_t *)c->arguments->input[DY] + *first * C,
                             .rows = l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk
                                                                            : l->chunk,
                             .channels = C,
                             .offset = c->offset + n * C,
                             .factor = c->factor + n * C,
                             .bias = c->bias,
                             .silu = c->step->attributes.norm.activation == ACTIVATION_SILU};
}

/* ------------------------------------------------------------------------------------ any type, any activation */

CLONES static void normalise(float *restrict x, float *restrict t, const float *restrict offset,
                             const float *restrict factor, const float *restrict bias, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] += offset[i];
        t[i] = x[i] * factor[i] + bias[i];
    }
}

/* Some rows, or a part of one: channels `channel` .. `channel` + width - 1. */
typedef struct piece {
    int64_t at_element, rows, channel, width;
    float e[PIECE], g[PIECE];
} piece;

static void load_piece(const call *c, const group_norm_rows *r, piece *p)
{
    float t[PIECE];
    const step *s = c->step;
    int64_t n = p->rows * p->width, k = p->channel;
    block_load(s->input_type[X], c->arguments->input[X], p->at_element, n, p->e);
    block_load(s->input_type[DY], c->arguments->input[DY], p->at_element, n, p->g);
    for (int64_t i = 0; i < n; i += p->width)
        normalise(p->e + i, t + i, r->offset + k, r->factor + k, r->bias + k, p->width);
    block_activate_backward(s->attributes.norm.activation, 0, t, p->g, n);
}

/* The piece at row `row` and channel `channel`, of a chunk that starts at row `first`; steps on. False: there is none. */
static bool next_piece(const group_norm_rows *r, int64_t first, int64_t *row, int64_t *channel, piece *p)
{
    int64_t C = r->channels;
    if (*row == r->rows)
        return false;
    p->at_element = (first + *row) * C + *channel;
    p->channel = *channel;
    p->width = C - *channel < PIECE ? C - *channel : PIECE;
    p->rows = PIECE / C < 1 ? 1 : PIECE / C;
    p->rows = p->rows > r->rows - *row ? r->rows - *row : p->rows;
    *channel += p->width;
    if (*channel == C) {
        *channel = 0;
        *row += p->rows;
    }
    return true;
}

CLONES static void add_piece(const float *restrict e, const float *restrict g, float *restrict sum,
                             float *restrict product, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        sum[i] += g[i];
        product[i] += g[i] * e[i];
    }
}

CLONES static void combine(const float *restrict e, float *restrict g, const float *restrict by_g,
                           const float *restrict by_x, const float *restrict common, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        g[i] = g[i] * by_g[i] + (e[i] * by_x[i] + common[i]);
}

/* ------------------------------------------------------------------------------------ sums */

static void sum_chunk(const call *c, int64_t item)
{
    int64_t first, C = c->layout.channels;
    group_norm_rows r = rows_of(c, item, &first);
    float *sum = (float *)c->arguments->scratch + item * 2 * C, *product = sum + C;
    memset(sum, 0, (size_t)(2 * C) * sizeof *sum);
    if (c->hot) {
        hot_group_norm_sums_bf16(&r, sum, product);
        return;
    }
    piece p;
    for (int64_t row = 0, k = 0; next_piece(&r, first, &row, &k, &p);) {
        load_piece(c, &r, &p);
        for (int64_t i = 0; i < p.rows * p.width; i += p.width)
            add_piece(p.e + i, p.g + i, sum + p.channel, product + p.channel, p.width);
    }
}

/* The chunks of one sample; the first C elements are S, the rest P. */
static void join_chunks(const call *c, int64_t n)
{
    const layout *l = &c->layout;
    int64_t C = l->channels, groups = C / l->width;
    const float *part = (const float *)c->arguments->scratch + n * l->chunks * 2 * C;
    const float *statistics = (const float *)c->arguments->input[STATISTICS] + n * groups * 2;
    float *out = (float *)c->arguments->output + n * 2 * C;
    for (int64_t i = 0; i < 2 * C; i++) {
        double sum = 0;
        for (int64_t k = 0; k < l->chunks; k++)
            sum += (double)part[k * 2 * C + i];
        out[i] = (float)(i < C ? sum : sum * (double)statistics[(i - C) / l->width * 2 + 1]);
    }
}

static kiln_status sums_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    call c = call_of(k->state, a);
    int64_t items = c.layout.samples * c.layout.chunks;
#pragma omp parallel num_threads(a->threads) if (items > 1)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            sum_chunk(&c, i);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < c.layout.samples; n++)
            join_chunks(&c, n);
    }
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ data */

/* The coefficients of one sample and group. */
static void find_group(const call *c, int64_t n, int64_t g)
{
    const layout *l = &c->layout;
    int64_t C = l->channels, from = g * l->width, groups = C / l->width;
    const float *sums = (const float *)c->arguments->input[SUMS] + n * 2 * C;
    double mean = 0, product = 0, count = (double)l->positions * (double)l->width,
           scale = (double)((const float *)c->arguments->input[STATISTICS])[(n * groups + g) * 2 + 1];
    for (int64_t i = from; i < from + l->width; i++) {
        mean += (double)sums[i] * (double)c->weight[i];
        product += (double)sums[C + i] * (double)c->weight[i];
    }
    for (int64_t i = from; i < from + l->width; i++) {
        c->by_g[n * C + i] = (float)(scale * (double)c->weight[i]);
        c->by_x[n * C + i] = (float)(-scale * scale * product / count);
        c->common[n * C + i] = (float)(-scale * mean / count);
    }
}

static void data_chunk(const call *c, int64_t item)
{
    int64_t first, C = c->layout.channels, at_sample = item / c->layout.chunks * C;
    const step *s = c->step;
    group_norm_rows r = rows_of(c, item, &first);
    const group_norm_coefficients by = {c->by_g + at_sample, c->by_x + at_sample, c->common + at_sample};
    const void *added = s->input_count > ADDED ? c->arguments->input[ADDED] : NULL;
    if (c->hot && s->type == DTYPE_BF16 && (!added || s->input_type[ADDED] == DTYPE_BF16)) {
        hot_group_norm_backward_bf16(&r, &by, added ? (const uint16_t *)added + first * C : NULL,
                                     (uint16_t *)c->arguments->output + first * C);
        return;
    }
    piece p;
    for (int64_t row = 0, k = 0; next_piece(&r, first, &row, &k, &p);) {
        int64_t n = p.rows * p.width;
        load_piece(c, &r, &p);
        for (int64_t i = 0; i < n; i += p.width)
            combine(p.e + i, p.g + i, by.by_g + p.channel, by.by_x + p.channel, by.common + p.channel,
                    p.width);
        if (added) {
            block_load(s->input_type[ADDED], added, p.at_element, n, p.e);
            block_add(p.g, p.e, n);
        }
        block_store(s->type, c->arguments->output, p.at_element, n, p.g);
    }
}

static kiln_status data_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    call c = call_of(k->state, a);
    int64_t groups = c.layout.channels / c.layout.width, items = c.layout.samples * c.layout.chunks;
    for (int64_t i = 0; i < c.layout.samples * groups; i++)
        find_group(&c, i / groups, i % groups);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (items > 1)
    for (int64_t i = 0; i < items; i++)
        data_chunk(&c, i);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ shares */

static kiln_status share_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t samples = s->input_shape[0].dim[0], C = s->input_shape[0].dim[2];
    const float *sums = (const float *)a->input[0] + s->attributes.slice.start * C;
    for (int64_t i = 0; i < C; i++) {
        double sum = 0;
        for (int64_t n = 0; n < samples; n++)
            sum += (double)sums[2 * n * C + i];
        ((float *)a->output)[i] = (float)sum;
    }
    return KILN_OK;
}

kiln_status prepare_group_norm_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    op_kind op = r->node->op;
    if (op == OP_GROUP_NORM_BACKWARD_SHARE)
        return r->input_type[0] == DTYPE_F32 && r->output_type == DTYPE_F32
                   ? step_prepare(r, "vector group_norm share", share_run, -1, out, err)
                   : KILN_OK;
    bool sums = op == OP_GROUP_NORM_BACKWARD_SUMS;
    if (!shape_count(r->input_shape[X]) || r->input_type[STATISTICS] != DTYPE_F32 ||
        (sums ? r->output_type : r->input_type[SUMS]) != DTYPE_F32)
        return KILN_OK;
    int in_place = !sums && r->input_type[DY] == r->output_type ? DY : -1;
    kiln_status status = step_prepare(r, sums ? "vector group_norm sums" : "vector group_norm by data",
                                      sums ? sums_run : data_run, in_place, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = layout_of(out->state).total;
    return status;
}
