/* reduce.c - sums: over rows and positions, of PReLU's slopes, over everything, and of squared errors. The pieces are
 * fixed and joined in order, so no result depends on the number of threads. */
#include "backend/cpu/block.h"
#include "backend/cpu/row_sums.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

enum { LANES = 16 };

typedef struct row_call {
    const step *step;
    const kernel_arguments *arguments;
    int64_t channels;
} row_call;

static void add_rows(const void *self, int64_t first, int64_t count, int64_t from, int64_t width, float *sum)
{
    const row_call *c = self;
    int64_t offset = first * c->channels + from;
    if (c->step->input_type[0] == DTYPE_BF16)
        row_sums_add_bf16((const uint16_t *)c->arguments->input[0] + offset, count, c->channels, width, sum);
    else
        row_sums_add_f32((const float *)c->arguments->input[0] + offset, count, c->channels, width, sum);
}

CLONES static void add_slopes(const float *restrict x, const float *restrict dy, float *restrict sum,
                              int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i] >= 0 ? 0.0f : dy[i] * x[i];
}

static void add_slope_rows(const void *self, int64_t first, int64_t count, int64_t from, int64_t width,
                           float *sum)
{
    const row_call *c = self;
    float x[BLOCK], dy[BLOCK];
    for (int64_t i = 0; i < count; i++) {
        int64_t offset = (first + i) * c->channels + from;
        block_load(c->step->input_type[0], c->arguments->input[0], offset, width, x);
        block_load(c->step->input_type[1], c->arguments->input[1], offset, width, dy);
        add_slopes(x, dy, sum, width);
    }
}

static row_sums sums_of(const step *s)
{
    shape X = s->input_shape[0];
    int64_t samples = s->op == OP_SUM_POSITIONS ? X.dim[0] : 1;
    return (row_sums){.samples = samples,
                      .rows = samples ? step_rows(X) / samples : 0,
                      .channels = step_last(X),
                      .type = s->type,
                      .add = s->op == OP_PRELU_BACKWARD_SLOPE ? add_slope_rows : add_rows};
}

static kiln_status rows_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    row_sums sums = sums_of(s);
    row_call call = {s, a, sums.channels};
    sums.self = &call;
    row_sums_run(&sums, a->output, a->scratch, a->threads);
    return KILN_OK;
}

/* In 16 lanes, joined in a fixed order. */
CLONES static float block_sum(const float *x, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += x[i + j];
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

CLONES static void square_differences(float *restrict x, const float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - y[i]) * (x[i] - y[i]);
}

static double piece_sum(const step *s, const kernel_arguments *a, int64_t sample, int64_t offset, int64_t n)
{
    float x[BLOCK], y[BLOCK], weight = 1;
    block_load(s->input_type[0], a->input[0], offset, n, x);
    if (s->op == OP_MEAN)
        return (double)block_sum(x, n);
    block_load(s->input_type[1], a->input[1], offset, n, y);
    square_differences(x, y, n);
    if (s->input_count > 2 && a->input[2])
        block_load(s->input_type[2], a->input[2], sample, 1, &weight);
    return (double)block_sum(x, n) * (double)weight;
}

/* Pieces of a sample, so that each has one weight. */
static int64_t pieces_of(const step *s, int64_t *samples, int64_t *sample)
{
    int64_t count = shape_count(s->input_shape[0]);
    *samples = s->op == OP_MEAN || !count ? 1 : s->input_shape[0].dim[0];
    *sample = count / *samples;
    return (*sample + BLOCK - 1) / BLOCK;
}

static kiln_status mean_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t samples, sample, pieces = pieces_of(s, &samples, &sample);
    double *sums = a->scratch, total = 0;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (samples * pieces > 8)
    for (int64_t i = 0; i < samples * pieces; i++) {
        int64_t first = i % pieces * BLOCK, n = sample - first < BLOCK ? sample - first : BLOCK;
        sums[i] = piece_sum(s, a, i / pieces, i / pieces * sample + first, n);
    }
    for (int64_t i = 0; i < samples * pieces; i++)
        total += sums[i];
    float mean = (float)(total / (double)(samples * sample));
    block_store(s->type, a->output, 0, 1, &mean);
    return KILN_OK;
}

kiln_status prepare_reduce(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool whole = r->node->op == OP_MEAN || r->node->op == OP_MEAN_SQUARED_ERROR;
    kiln_status status = step_prepare(r, whole ? "vector mean" : "vector sum of rows",
                                      whole ? mean_run : rows_run, -1, out, err);
    if (status != KILN_OK)
        return status;
    int64_t samples, sample;
    row_sums sums = sums_of(out->state);
    out->scratch_bytes =
        whole ? (size_t)pieces_of(out->state, &samples, &sample) * sizeof(double) : row_sums_scratch(&sums);
    if (whole)
        out->scratch_bytes *= (size_t)samples;
    return KILN_OK;
}
