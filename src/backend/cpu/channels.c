/* channels.c - ops that treat every channel alike at all positions: batch norm by given statistics, and a gate. */
#include "backend/cpu/block.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

#include <math.h>

/* x = x * factor + shift */
CLONES static void scale_row(float *restrict x, const float *restrict factor, const float *restrict shift,
                             int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * factor[i] + shift[i];
}

/* Row after row of `channels`, in pieces of a block. Factors are [samples, channels], shifts [channels]. */
static void scale_rows(const step *s, const kernel_arguments *a, const float *factor, const float *shift,
                       int64_t samples)
{
    int64_t C = step_last(s->shape), rows = step_rows(s->shape), each = samples ? rows / samples : 0;
    int64_t pieces = (C + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows * C > 16384)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float x[BLOCK];
        int64_t row = i / pieces, first = i % pieces * BLOCK, n = C - first < BLOCK ? C - first : BLOCK;
        block_load(s->input_type[0], a->input[0], row * C + first, n, x);
        const float *f = factor + (samples > 1 ? row / each * C : 0) + first;
        if (shift)
            scale_row(x, f, shift + first, n);
        else
            block_multiply(x, f, n);
        block_store(s->type, a->output, row * C + first, n, x);
    }
}

/* One number a row: rows of one channel. */
static kiln_status gate_single(const step *s, const kernel_arguments *a)
{
    int64_t rows = shape_count(s->shape), samples = s->shape.dim[0], each = samples ? rows / samples : 0;
    for (int64_t i = 0; i < samples; i++) {
        float x[BLOCK], y;
        block_load(s->input_type[1], a->input[1], i, 1, &y);
        for (int64_t done = 0; done < each; done += BLOCK) {
            int64_t n = each - done < BLOCK ? each - done : BLOCK;
            block_load(s->input_type[0], a->input[0], i * each + done, n, x);
            block_scale(x, y, 0, n);
            block_store(s->type, a->output, i * each + done, n, x);
        }
    }
    return KILN_OK;
}

static kiln_status gate_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    if (step_last(s->shape) == 1)
        return gate_single(s, a);
    int64_t count = shape_count(s->input_shape[1]);
    float *factor = a->scratch;
    block_load(s->input_type[1], a->input[1], 0, count, factor);
    scale_rows(s, a, factor, NULL, s->shape.dim[0]);
    return KILN_OK;
}

static kiln_status batch_norm_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t C = step_last(s->shape);
    float *factor = a->scratch, *shift = factor + C;
    const float *mean = a->input[1], *variance = a->input[2], *w = a->input[3], *b = a->input[4];
    for (int64_t i = 0; i < C; i++) {
        double f = (w ? (double)w[i] : 1) / sqrt((double)variance[i] + (double)s->attributes.norm.epsilon);
        factor[i] = (float)f;
        shift[i] = (float)((b ? (double)b[i] : 0) - (double)mean[i] * f);
    }
    scale_rows(s, a, factor, shift, 1);
    return KILN_OK;
}

kiln_status prepare_channels(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool norm = r->node->op == OP_BATCH_NORM;
    for (int i = 1; norm && i < 5; i++)
        if (r->node->input[i].index && r->input_type[i] != DTYPE_F32)
            return KILN_OK;
    kiln_status status =
        step_prepare(r, norm ? "vector batch norm" : "vector gate", norm ? batch_norm_run : gate_run,
                     r->input_type[0] == r->output_type ? 0 : -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes =
            sizeof(float) * (size_t)(norm ? 2 * step_last(r->node->shape) : shape_count(r->input_shape[1]));
    return status;
}
