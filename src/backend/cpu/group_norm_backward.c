/* group_norm_backward.c - the gradients of group norm. With the mean and the variance of a group of `count` numbers
 * computed again, scale = 1 / sqrt(variance + eps), u = (x - mean) * scale and g = dy * w:
 *
 *   by data    dx = (g - mean(g) - u * mean(g * u)) * scale
 *   by weight  dw[c] = sum over samples and positions of dy * u
 *
 * Both want, for each sample and channel, S = sum of dy and P = sum of dy * (x - mean). As in group_norm.c, positions are
 * cut into chunks of a fixed size, worked on in f32 in the caches. A chunk takes its own mean m in place of the group's,
 * which is not known yet; merging, in order and in double, corrects that: P = sum of P_chunk + (m - mean) * S_chunk. */
#include "backend/cpu/block.h"
#include "backend/cpu/clones.h"
#include "backend/cpu/hot_backward.h"
#include "backend/cpu/row_sums.h"
#include "backend/cpu/step.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

enum { CHUNK_ELEMENTS = 8192 };

typedef struct moments {
    double mean, squares; /* squares: sum of (x - mean)^2 */
} moments;

/* Where everything lies in the scratch memory. */
typedef struct layout {
    int64_t samples, positions, channels, groups, width, chunk, chunks;
    size_t sums_at, coefficients_at, worker_at, worker_bytes, total;
} layout;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static layout layout_of(const step *s, int threads)
{
    shape X = s->input_shape[0];
    layout l = {.samples = X.dim[0], .channels = step_last(X), .groups = s->attributes.norm.groups};
    l.positions = l.samples ? step_rows(X) / l.samples : 0;
    l.width = l.channels / l.groups;
    l.chunk = CHUNK_ELEMENTS / l.channels < 4 ? 4 : CHUNK_ELEMENTS / l.channels;
    l.chunk = l.chunk > l.positions ? l.positions : l.chunk;
    l.chunks = l.chunk ? (l.positions + l.chunk - 1) / l.chunk : 0;
    size_t channels = (size_t)l.channels, samples = (size_t)l.samples, chunks = samples * (size_t)l.chunks;
    l.sums_at = rounded(chunks * (size_t)l.groups * sizeof(moments));
    l.coefficients_at = l.sums_at + rounded(2 * chunks * channels * sizeof(float));
    l.worker_at = l.coefficients_at + rounded((4 * samples + 1) * channels * sizeof(float));
    l.worker_bytes =
        rounded(2 * ((size_t)l.chunk + 1) * channels * sizeof(float)); /* x, dy; centres, squares */
    l.total = l.worker_at + (size_t)threads * l.worker_bytes;
    return l;
}

typedef struct call {
    const step *step;
    layout layout;
    const kernel_arguments *arguments;
    int dy; /* which input that is */
    moments *moments;
    float *sums;                           /* [N,chunks,2,C]: sums of dy, of dy * (x - centre) */
    float *offset, *by_x, *by_dy, *common; /* [N,C]: dx = dy * by_dy + (x + offset) * by_x + common */
    float *weight;
} call;

static int64_t chunk_rows(const layout *l, int64_t k)
{
    return l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk : l->chunk;
}

CLONES static void add_sums(const float *restrict x, const float *restrict dy, const float *restrict centre,
                            int64_t rows, int64_t C, float *restrict squares, float *restrict sum,
                            float *restrict product)
{
    int64_t i = 0;
    for (; i + 2 <= rows; i += 2, x += 2 * C, dy += 2 * C)
        for (int64_t c = 0; c < C; c++) {
            float d = x[c] - centre[c], e = x[C + c] - centre[c];
            squares[c] += d * d + e * e;
            sum[c] += dy[c] + dy[C + c];
            product[c] += dy[c] * d + dy[C + c] * e;
        }
    for (; i < rows; i++, x += C, dy += C)
        for (int64_t c = 0; c < C; c++) {
            float d = x[c] - centre[c];
            squares[c] += d * d;
            sum[c] += dy[c];
            product[c] += dy[c] * d;
        }
}

/* One chunk's moments by group, and sums by channel. */
static void measure_chunk(const call *c, int64_t item, float *work)
{
    const layout *l = &c->layout;
    int64_t C = l->channels, n = item / l->chunks, k = item % l->chunks, rows = chunk_rows(l, k);
    int64_t first = (n * l->positions + k * l->chunk) * C;
    float *x = work, *dy = x + l->chunk * C, *centre = dy + l->chunk * C, *squares = centre + C;
    float *sum = c->sums + item * 2 * C;
    moments *out = c->moments + item * l->groups;
    block_load(c->step->input_type[0], c->arguments->input[0], first, rows * C, x);
    block_load(c->step->input_type[c->dy], c->arguments->input[c->dy], first, rows * C, dy);
    memset(squares, 0, (size_t)C * sizeof(float));
    memset(sum, 0, (size_t)(2 * C) * sizeof(float));
    row_sums_add_f32(x, rows, C, C, squares);
    for (int64_t g = 0; g < l->groups; g++) {
        double total = 0;
        for (int64_t i = g * l->width; i < (g + 1) * l->width; i++)
            total += (double)squares[i];
        out[g].mean = total / ((double)rows * (double)l->width);
        for (int64_t i = g * l->width; i < (g + 1) * l->width; i++)
            centre[i] = (float)out[g].mean;
        out[g].mean = (double)(float)out[g].mean; /* what was subtracted */
    }
    memset(squares, 0, (size_t)C * sizeof(float));
    add_sums(x, dy, centre, rows, C, squares, sum, sum + C);
    for (int64_t g = 0; g < l->groups; g++) {
        out[g].squares = 0;
        for (int64_t i = g * l->width; i < (g + 1) * l->width; i++)
            out[g].squares += (double)squares[i];
    }
}

typedef struct statistics {
    double mean, scale;
} statistics;

/* The chunks of one sample and group, merged. */
static statistics merge_moments(const call *c, int64_t n, int64_t g)
{
    const layout *l = &c->layout;
    double mean = 0, squares = 0, count = 0;
    for (int64_t k = 0; k < l->chunks; k++) {
        const moments *part = c->moments + (n * l->chunks + k) * l->groups + g;
        double size = (double)chunk_rows(l, k) * (double)l->width, delta = part->mean - mean;
        mean += delta * size / (count + size);
        squares += part->squares + delta * delta * count * size / (count + size);
        count += size;
    }
    return (statistics){mean, 1 / sqrt(squares / count + (double)c->step->attributes.norm.epsilon)};
}

/* S and P of one sample and channel. */
static void merge_sums(const call *c, int64_t n, int64_t channel, double mean, double *sum, double *product)
{
    const layout *l = &c->layout;
    int64_t g = channel / l->width;
    *sum = *product = 0;
    for (int64_t k = 0; k < l->chunks; k++) {
        int64_t item = n * l->chunks + k;
        double s = (double)c->sums[item * 2 * l->channels + channel];
        *sum += s;
        *product += (double)c->sums[(item * 2 + 1) * l->channels + channel] +
                    (c->moments[item * l->groups + g].mean - mean) * s;
    }
}

/* By data: the coefficients of one sample and group. */
static void data_coefficients(const call *c, int64_t n, int64_t g)
{
    const layout *l = &c->layout;
    statistics t = merge_moments(c, n, g);
    double sum = 0, product = 0, count = (double)l->positions * (double)l->width;
    for (int64_t i = g * l->width; i < (g + 1) * l->width; i++) {
        double s, p;
        merge_sums(c, n, i, t.mean, &s, &p);
        sum += s * (double)c->weight[i];
        product += p * (double)c->weight[i];
    }
    for (int64_t i = g * l->width; i < (g + 1) * l->width; i++) {
        int64_t at_channel = n * l->channels + i;
        c->offset[at_channel] = (float)-t.mean;
        c->by_dy[at_channel] = (float)(t.scale * (double)c->weight[i]);
        c->by_x[at_channel] = (float)(-t.scale * t.scale * t.scale * product / count);
        c->common[at_channel] = (float)(-t.scale * sum / count);
    }
}

/* By weight: the share of one sample and group, kept in by_dy. */
static void weight_shares(const call *c, int64_t n, int64_t g)
{
    const layout *l = &c->layout;
    statistics t = merge_moments(c, n, g);
    for (int64_t i = g * l->width; i < (g + 1) * l->width; i++) {
        double s, p;
        merge_sums(c, n, i, t.mean, &s, &p);
        c->by_dy[n * l->channels + i] = (float)(p * t.scale);
    }
}

CLONES static void combine(const float *restrict x, float *restrict dy, const float *restrict offset,
                           const float *restrict by_x, const float *restrict by_dy,
                           const float *restrict common, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] = dy[i] * by_dy[i] + ((x[i] + offset[i]) * by_x[i] + common[i]);
}

static void apply_chunk(const call *c, int64_t item, float *work)
{
    const layout *l = &c->layout;
    int64_t C = l->channels, n = item / l->chunks, k = item % l->chunks, rows = chunk_rows(l, k);
    int64_t first = (n * l->positions + k * l->chunk) * C;
    float *x = work, *dy = x + l->chunk * C;
    if (c->step->features.avx512_bf16 && c->step->type == DTYPE_BF16 &&
        c->step->input_type[0] == DTYPE_BF16 && c->step->input_type[c->dy] == DTYPE_BF16) {
        hot_norm_rows_backward_bf16(
            &(norm_rows_backward){.x = (const uint16_t *)c->arguments->input[0] + first,
                                  .dy = (const uint16_t *)c->arguments->input[c->dy] + first,
                                  .dx = (uint16_t *)c->arguments->output + first,
                                  .rows = rows,
                                  .channels = C,
                                  .offset = c->offset + n * C,
                                  .by_x = c->by_x + n * C,
                                  .by_dy = c->by_dy + n * C,
                                  .common = c->common + n * C});
        return;
    }
    block_load(c->step->input_type[0], c->arguments->input[0], first, rows * C, x);
    block_load(c->step->input_type[c->dy], c->arguments->input[c->dy], first, rows * C, dy);
    for (int64_t i = 0; i < rows; i++)
        combine(x + i * C, dy + i * C, c->offset + n * C, c->by_x + n * C, c->by_dy + n * C,
                c->common + n * C, C);
    block_store(c->step->type, c->arguments->output, first, rows * C, dy);
}

static void store_weights(const call *c)
{
    const layout *l = &c->layout;
    for (int64_t i = 0; i < l->channels; i++) {
        double sum = 0;
        for (int64_t n = 0; n < l->samples; n++)
            sum += (double)c->by_dy[n * l->channels + i];
        c->weight[i] = (float)sum;
    }
    block_store(c->step->type, c->arguments->output, 0, l->channels, c->weight);
}

static call call_of(const step *s, const kernel_arguments *a, int dy)
{
    call c = {.step = s, .layout = layout_of(s, a->threads), .arguments = a, .dy = dy};
    const layout *l = &c.layout;
    char *base = a->scratch;
    int64_t NC = l->samples * l->channels;
    c.moments = (moments *)(void *)base;
    c.sums = (float *)(void *)(base + l->sums_at);
    c.offset = (float *)(void *)(base + l->coefficients_at);
    c.by_x = c.offset + NC;
    c.by_dy = c.by_x + NC;
    c.common = c.by_dy + NC;
    c.weight = c.common + NC;
    return c;
}

static kiln_status group_norm_backward_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    bool by_data = s->op == OP_GROUP_NORM_BACKWARD_DATA;
    call c = call_of(s, a, by_data ? 2 : 1);
    const layout *l = &c.layout;
    int64_t items = l->samples * l->chunks;
    if (by_data)
        block_load(s->input_type[1], a->input[1], 0, l->channels, c.weight);
#pragma omp parallel num_threads(a->threads) if (items > 2)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num();
#else
        int worker = 0;
#endif
        float *work = (float *)(void *)((char *)a->scratch + l->worker_at + (size_t)worker * l->worker_bytes);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            measure_chunk(&c, i, work);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < l->samples * l->groups; i++) {
            if (by_data)
                data_coefficients(&c, i / l->groups, i % l->groups);
            else
                weight_shares(&c, i / l->groups, i % l->groups);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < (by_data ? items : 0); i++)
            apply_chunk(&c, i, work);
    }
    if (!by_data)
        store_weights(&c);
    return KILN_OK;
}

kiln_status prepare_group_norm_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool by_data = r->node->op == OP_GROUP_NORM_BACKWARD_DATA;
    if (!shape_count(r->input_shape[0]) || r->node->attributes.norm.activation != ACTIVATION_NONE)
        return KILN_OK;
    int in_place = by_data && r->input_type[2] == r->output_type ? 2 : -1;
    kiln_status status =
        step_prepare(r, by_data ? "vector group_norm by data" : "vector group_norm by weight",
                     group_norm_backward_run, in_place, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = layout_of(out->state, r->threads).total;
    return status;
}
