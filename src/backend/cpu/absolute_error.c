/* absolute_error.c - the mean of absolute differences and its gradient. The pieces are fixed and joined in order, so that
 * the sum does not depend on the number of threads. */
#include "backend/cpu/block.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

#include <math.h>

CLONES static float sum_differences(const float *restrict x, const float *restrict y, int64_t n)
{
    enum { LANES = 16 };
    float lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += fabsf(x[i + j] - y[i + j]);
    for (int j = 0; i + j < n; j++)
        lane[j] += fabsf(x[i + j] - y[i + j]);
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

CLONES static void sign_differences(float *restrict x, const float *restrict y, float size, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] > y[i] ? size : 0.0f) - (x[i] < y[i] ? size : 0.0f);
}

static int64_t pieces_of(int64_t count)
{
    return (count + BLOCK - 1) / BLOCK;
}

static kiln_status error_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->input_shape[0]), pieces = pieces_of(count);
    double *sums = a->scratch, total = 0;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (pieces > 8)
    for (int64_t i = 0; i < pieces; i++) {
        float x[BLOCK], y[BLOCK];
        int64_t n = count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK;
        block_load(s->input_type[0], a->input[0], i * BLOCK, n, x);
        block_load(s->input_type[1], a->input[1], i * BLOCK, n, y);
        sums[i] = (double)sum_differences(x, y, n);
    }
    for (int64_t i = 0; i < pieces; i++)
        total += sums[i];
    float mean = (float)(total / (double)count);
    block_store(s->type, a->output, 0, 1, &mean);
    return KILN_OK;
}

static kiln_status backward_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->shape), pieces = pieces_of(count);
    float dy = 0;
    block_load(s->input_type[2], a->input[2], 0, 1, &dy);
    float size = (float)((double)dy / (double)count);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (pieces > 8)
    for (int64_t i = 0; i < pieces; i++) {
        float x[BLOCK], y[BLOCK];
        int64_t n = count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK;
        block_load(s->input_type[0], a->input[0], i * BLOCK, n, x);
        block_load(s->input_type[1], a->input[1], i * BLOCK, n, y);
        sign_differences(x, y, size, n);
        block_store(s->type, a->output, i * BLOCK, n, x);
    }
    return KILN_OK;
}

kiln_status prepare_absolute_error(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool forward = r->node->op == OP_MEAN_ABSOLUTE_ERROR;
    kiln_status status = step_prepare(r, forward ? "vector absolute error" : "vector absolute error backward",
                                      forward ? error_run : backward_run, -1, out, err);
    if (status == KILN_OK && forward)
        out->scratch_bytes = sizeof(double) * (size_t)pieces_of(shape_count(r->input_shape[0]));
    return status;
}
