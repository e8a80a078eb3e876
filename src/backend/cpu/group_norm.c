/* group_norm.c - group norm (Wu & He 2018), with an optional shift [N,C] before it and an activation after
 * it.
 *
 * Positions are cut into chunks of a fixed size. Pass one gives each chunk's mean and sum of squared
 * deviations per group, both from data that is still in the first-level cache; the chunks are merged in
 * order, in double (Chan, Golub & LeVeque 1979). So the variance does not suffer from a large mean, and no
 * sum depends on the number of threads. Pass two applies y = act((x + shift - mean) * w / deviation + b). */
#include "backend/cpu/norm_rows.h"

#include "backend/cpu/block.h"
#include "backend/cpu/clones.h"
#include "backend/cpu/row_sums.h"
#include "backend/cpu/step.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

enum { CHUNK_ELEMENTS = 16384 };

typedef struct moments {
    double mean, squares; /* squares: sum of (x - mean)^2 */
} moments;

/* Where everything lies in the scratch memory. */
typedef struct layout {
    int64_t samples, positions, channels, groups, width, chunk, chunks;
    size_t moments_at, coefficients_at, worker_at, worker_bytes, total;
} layout;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static layout layout_of(const step *s, int threads)
{
    layout l = {
        .samples = s->shape.dim[0], .channels = step_last(s->shape), .groups = s->attributes.norm.groups};
    l.positions = l.samples ? step_rows(s->shape) / l.samples : 0;
    l.width = l.channels / l.groups;
    l.chunk = CHUNK_ELEMENTS / l.channels < 8 ? 8 : CHUNK_ELEMENTS / l.channels;
    l.chunks = (l.positions + l.chunk - 1) / l.chunk;
    size_t channels = (size_t)l.channels, samples = (size_t)l.samples;
    l.coefficients_at = rounded(samples * (size_t)l.chunks * (size_t)l.groups * sizeof(moments));
    l.worker_at = l.coefficients_at + rounded((3 * samples + 1) * channels * sizeof(float));
    l.worker_bytes = rounded(3 * channels * sizeof(float)); /* sums, centres, one row */
    l.total = l.worker_at + (size_t)threads * l.worker_bytes;
    return l;
}

INLINE float square(float x)
{
    return x * x;
}

/* sum[c] += (x[c] - centre[c])^2 over the rows */
CLONES static void square_rows_f32(const float *restrict x, const float *restrict centre, int64_t rows,
                                   int64_t C, float *restrict sum)
{
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += (square(x[c] - centre[c]) + square(x[C + c] - centre[c])) +
                      (square(x[2 * C + c] - centre[c]) + square(x[3 * C + c] - centre[c]));
    for (; i < rows; i++, x += C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += square(x[c] - centre[c]);
}

CLONES static void square_rows_bf16(const uint16_t *restrict x, const float *restrict centre, int64_t rows,
                                    int64_t C, float *restrict sum)
{
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += (square(bf16_to_f32(x[c]) - centre[c]) + square(bf16_to_f32(x[C + c]) - centre[c])) +
                      (square(bf16_to_f32(x[2 * C + c]) - centre[c]) +
                       square(bf16_to_f32(x[3 * C + c]) - centre[c]));
    for (; i < rows; i++, x += C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += square(bf16_to_f32(x[c]) - centre[c]);
}

/* Mean and squared deviations of each group in `rows` positions. work: 2 C floats. shift may be NULL. */
static void chunk_moments(const layout *l, dtype type, const void *x, const float *shift, int64_t rows,
                          float *work, moments *out)
{
    int64_t C = l->channels;
    float *sum = work, *centre = work + C;
    memset(sum, 0, (size_t)C * sizeof(float));
    if (type == DTYPE_BF16)
        row_sums_add_bf16(x, rows, C, C, sum);
    else
        row_sums_add_f32(x, rows, C, C, sum);
    for (int64_t g = 0; g < l->groups; g++) {
        double total = 0;
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            total += (double)sum[c] + (shift ? (double)rows * (double)shift[c] : 0);
        out[g].mean = total / ((double)rows * (double)l->width);
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            centre[c] = (float)(out[g].mean - (shift ? (double)shift[c] : 0));
    }
    memset(sum, 0, (size_t)C * sizeof(float));
    if (type == DTYPE_BF16)
        square_rows_bf16(x, centre, rows, C, sum);
    else
        square_rows_f32(x, centre, rows, C, sum);
    for (int64_t g = 0; g < l->groups; g++) {
        out[g].squares = 0;
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            out[g].squares += (double)sum[c];
    }
}

/* Merge the chunks of one sample and group, then write the factor and offset of its channels. */
static void group_coefficients(const layout *l, const moments *m, int64_t g, float epsilon,
                               const float *shift, const float *weight, float *offset, float *factor)
{
    double mean = 0, squares = 0, count = 0;
    for (int64_t k = 0; k < l->chunks; k++) {
        const moments *part = m + k * l->groups + g;
        int64_t rows = l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk : l->chunk;
        double size = (double)rows * (double)l->width, delta = part->mean - mean;
        mean += delta * size / (count + size);
        squares += part->squares + delta * delta * count * size / (count + size);
        count += size;
    }
    double scale = 1 / sqrt(squares / count + (double)epsilon);
    for (int64_t c = g * l->width; c < (g + 1) * l->width; c++) {
        offset[c] = (float)((shift ? (double)shift[c] : 0) - mean);
        factor[c] = (float)(scale * (double)weight[c]);
    }
}

typedef struct call {
    const step *step;
    layout layout;
    const kernel_arguments *arguments;
    moments *moments;
    float *shift, *offset, *factor; /* [N,C] each; shift NULL when there is none */
    float *bias;
} call;

static void worker_moments(const call *c, int64_t item, float *work)
{
    const layout *l = &c->layout;
    int64_t n = item / l->chunks, k = item % l->chunks;
    int64_t rows = l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk : l->chunk;
    dtype type = c->step->input_type[0];
    const char *x = (const char *)c->arguments->input[0] +
                    (size_t)((n * l->positions + k * l->chunk) * l->channels) * dtype_size(type);
    chunk_moments(l, type, x, c->shift ? c->shift + n * l->channels : NULL, rows, work,
                  c->moments + item * l->groups);
}

static void worker_apply(const call *c, int64_t item)
{
    const layout *l = &c->layout;
    int64_t n = item / l->chunks, k = item % l->chunks, C = l->channels;
    int64_t rows = l->positions - k * l->chunk < l->chunk ? l->positions - k * l->chunk : l->chunk;
    size_t first = (size_t)((n * l->positions + k * l->chunk) * C);
    const norm_rows r = {.input_type = c->step->input_type[0],
                         .output_type = c->step->type,
                         .x = (const char *)c->arguments->input[0] +
                              first * dtype_size(c->step->input_type[0]),
                         .y = (char *)c->arguments->output + first * dtype_size(c->step->type),
                         .rows = rows,
                         .channels = C,
                         .offset = c->offset + n * C,
                         .factor = c->factor + n * C,
                         .bias = c->bias,
                         .activation = c->step->attributes.norm.activation};
    norm_rows_apply(&r, &c->step->features);
}

static kiln_status group_norm_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    layout l = layout_of(s, a->threads);
    if (!shape_count(s->shape))
        return KILN_OK;
    char *base = a->scratch;
    float *coefficients = (float *)(void *)(base + l.coefficients_at);
    int64_t C = l.channels, NC = l.samples * C;
    call c = {.step = s,
              .layout = l,
              .arguments = a,
              .moments = (moments *)(void *)base,
              .offset = coefficients,
              .factor = coefficients + NC,
              .bias = coefficients + 3 * NC};
    if (s->input_count > 3 && a->input[3]) {
        c.shift = coefficients + 2 * NC;
        block_load(s->input_type[3], a->input[3], 0, NC, c.shift);
    }
    block_load(s->input_type[2], a->input[2], 0, C, c.bias);
    int64_t items = l.samples * l.chunks;
#pragma omp parallel num_threads(a->threads) if (items > 2)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num();
#else
        int worker = 0;
#endif
        float *work = (float *)(void *)(base + l.worker_at + (size_t)worker * l.worker_bytes);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            worker_moments(&c, i, work);
        block_load(s->input_type[1], a->input[1], 0, C, work);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < l.samples * l.groups; i++) {
            int64_t n = i / l.groups;
            group_coefficients(&l, c.moments + n * l.chunks * l.groups, i % l.groups,
                               s->attributes.norm.epsilon, c.shift ? c.shift + n * C : NULL, work,
                               c.offset + n * C, c.factor + n * C);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            worker_apply(&c, i);
    }
    return KILN_OK;
}

kiln_status prepare_group_norm(const kernel_request *r, kernel *out, kiln_error *err)
{
    kiln_status status = step_prepare(r, "vector group_norm", group_norm_run,
                                      r->input_type[0] == r->output_type ? 0 : -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = layout_of(out->state, r->threads).total;
    return status;
}
