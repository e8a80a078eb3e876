/* group_norm.c - group norm (Wu & He 2018), with an optional shift [N,C] before it and an activation after it:
 * y = act((x + shift - mean) * w * scale + b), from statistics that are measured here or come as an input; and the op
 * that only measures them. The work is cut into chunks of positions, whatever the number of threads. */
#include "backend/cpu/block.h"
#include "backend/cpu/group_statistics.h"
#include "backend/cpu/norm_rows.h"
#include "backend/cpu/step.h"

enum { CHUNK_ELEMENTS = 16384 };

/* Where everything lies in the scratch memory. */
typedef struct layout {
    int64_t samples, positions, channels, groups, chunk, chunks;
    size_t coefficients_at, measuring_at, total;
} layout;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static group_input input_of(const step *s, const kernel_arguments *a)
{
    shape X = s->input_shape[0];
    return (group_input){.type = s->input_type[0],
                         .x = a ? a->input[0] : NULL,
                         .samples = X.dim[0],
                         .positions = X.dim[0] ? step_rows(X) / X.dim[0] : 0,
                         .channels = step_last(X),
                         .groups = s->attributes.norm.groups,
                         .epsilon = s->attributes.norm.epsilon};
}

static layout layout_of(const step *s, int threads)
{
    group_input in = input_of(s, NULL);
    layout l = {
        .samples = in.samples, .positions = in.positions, .channels = in.channels, .groups = in.groups};
    l.chunk = CHUNK_ELEMENTS / l.channels < 8 ? 8 : CHUNK_ELEMENTS / l.channels;
    l.chunks = (l.positions + l.chunk - 1) / l.chunk;
    l.coefficients_at = rounded((size_t)(l.samples * l.groups) * sizeof(group_statistics));
    l.measuring_at = l.coefficients_at + rounded((size_t)((3 * l.samples + 2) * l.channels) * sizeof(float));
    l.total = l.measuring_at + group_statistics_scratch(&in, threads);
    return l;
}

static void read_statistics(const float *from, int64_t count, group_statistics *to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = (group_statistics){(double)from[2 * i], (double)from[2 * i + 1]};
}

typedef struct call {
    const step *step;
    const kernel_arguments *arguments;
    layout layout;
    float *shift, *offset, *factor; /* [N,C] each; shift NULL when there is none */
    float *weight, *bias;
} call;

/* y = act((x + offset) * factor + bias), for the channels of one sample and group. */
static void find_coefficients(const call *c, const group_statistics *statistics, int64_t n, int64_t g)
{
    int64_t C = c->layout.channels, width = C / c->layout.groups;
    const group_statistics t = statistics[n * c->layout.groups + g];
    for (int64_t k = g * width; k < (g + 1) * width; k++) {
        c->offset[n * C + k] = (float)((c->shift ? (double)c->shift[n * C + k] : 0) - t.mean);
        c->factor[n * C + k] = (float)(t.scale * (double)c->weight[k]);
    }
}

static void apply(const call *c, int64_t item)
{
    const layout *l = &c->layout;
    const step *s = c->step;
    int64_t n = item / l->chunks, k = item % l->chunks, C = l->channels;
    size_t first = (size_t)((n * l->positions + k * l->chunk) * C);
    const norm_rows r = {.input_type = s->input_type[0],
                         .output_type = s->type,
                         .x = (const char *)c->arguments->input[0] + first * dtype_size(s->input_type[0]),
                         .y = (char *)c->arguments->output + first * dtype_size(s->type),
                         .rows =
                             l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk : l->chunk,
                         .channels = C,
                         .offset = c->offset + n * C,
                         .factor = c->factor + n * C,
                         .bias = c->bias,
                         .activation = s->attributes.norm.activation};
    norm_rows_apply(&r, &s->features);
}

static call call_of(const step *s, const kernel_arguments *a)
{
    call c = {.step = s, .arguments = a, .layout = layout_of(s, a->threads)};
    int64_t C = c.layout.channels, NC = c.layout.samples * C;
    c.offset = (float *)(void *)((char *)a->scratch + c.layout.coefficients_at);
    c.factor = c.offset + NC;
    c.weight = c.offset + 3 * NC;
    c.bias = c.weight + C;
    block_load(s->input_type[1], a->input[1], 0, C, c.weight);
    block_load(s->input_type[2], a->input[2], 0, C, c.bias);
    if (s->input_count > 3 && a->input[3]) {
        c.shift = c.offset + 2 * NC;
        block_load(s->input_type[3], a->input[3], 0, NC, c.shift);
    }
    return c;
}

static kiln_status group_norm_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    if (!shape_count(s->shape))
        return KILN_OK;
    call c = call_of(s, a);
    const layout *l = &c.layout;
    group_statistics *statistics = a->scratch;
    if (s->input_count > 4 && a->input[4])
        read_statistics(a->input[4], l->samples * l->groups, statistics);
    else {
        group_input in = input_of(s, a);
        in.shift = c.shift;
        group_statistics_run(&in, statistics, (char *)a->scratch + l->measuring_at, a->threads);
    }
    for (int64_t i = 0; i < l->samples * l->groups; i++)
        find_coefficients(&c, statistics, i / l->groups, i % l->groups);
    int64_t items = l->samples * l->chunks;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (items > 2)
    for (int64_t i = 0; i < items; i++)
        apply(&c, i);
    return KILN_OK;
}

kiln_status prepare_group_norm(const kernel_request *r, kernel *out, kiln_error *err)
{
    if (r->node->input_count > 4 && r->input_type[4] != DTYPE_F32)
        return KILN_OK;
    kiln_status status = step_prepare(r, "vector group_norm", group_norm_run,
                                      r->input_type[0] == r->output_type ? 0 : -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = layout_of(out->state, r->threads).total;
    return status;
}

static kiln_status statistics_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    if (!shape_count(s->shape))
        return KILN_OK;
    layout l = layout_of(s, a->threads);
    group_input in = input_of(s, a);
    group_statistics *statistics = a->scratch;
    float *out = a->output;
    group_statistics_run(&in, statistics, (char *)a->scratch + l.measuring_at, a->threads);
    for (int64_t i = 0; i < l.samples * l.groups; i++) {
        out[2 * i] = (float)statistics[i].mean;
        out[2 * i + 1] = (float)statistics[i].scale;
    }
    return KILN_OK;
}

kiln_status prepare_group_norm_statistics(const kernel_request *r, kernel *out, kiln_error *err)
{
    if (r->output_type != DTYPE_F32)
        return KILN_OK;
    kiln_status status = step_prepare(r, "vector group statistics", statistics_run, -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = layout_of(out->state, r->threads).total;
    return status;
}
