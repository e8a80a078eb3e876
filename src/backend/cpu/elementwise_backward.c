/* elementwise_backward.c - gradients that treat every element alone: of activations, PReLU, clamp, GEGLU, the mean and
 * the mean squared error; and fill and exp, which they are made of. The work is cut into fixed blocks, whatever the
 * number of threads. */
#include "backend/cpu/block.h"
#include "backend/cpu/block_backward.h"
#include "backend/cpu/hot_backward.h"
#include "backend/cpu/step.h"

/* The slopes of elements offset .. offset+n-1, whose channels repeat. */
static void load_slopes(const step *s, const kernel_arguments *a, int64_t offset, int64_t n, float *to)
{
    int64_t C = step_last(s->shape);
    for (int64_t done = 0; done < n;) {
        int64_t column = (offset + done) % C, length = C - column < n - done ? C - column : n - done;
        block_load(s->input_type[1], a->input[1], column, length, to + done);
        done += length;
    }
}

static void fill_block(float *x, float number, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = number;
}

/* The one number that input k is. */
static float load_one(const step *s, const kernel_arguments *a, int k)
{
    float number;
    block_load(s->input_type[k], a->input[k], 0, 1, &number);
    return number;
}

static bool all_bf16(const step *s)
{
    return s->features.avx512_bf16 && s->input_type[0] == DTYPE_BF16 && s->input_type[1] == DTYPE_BF16 &&
           s->type == DTYPE_BF16;
}

/* The activations of the models that are trained, bf16 throughout. */
static bool hot_block(const step *s, const kernel_arguments *a, int64_t offset, int64_t n)
{
    if (s->op != OP_ACTIVATION_BACKWARD || !all_bf16(s))
        return false;
    const uint16_t *x = (const uint16_t *)a->input[0] + offset, *dy = (const uint16_t *)a->input[1] + offset;
    uint16_t *dx = (uint16_t *)a->output + offset;
    switch (s->attributes.activation.kind) {
    case ACTIVATION_SILU:
        hot_silu_backward_bf16(x, dy, dx, 1, n);
        return true;
    case ACTIVATION_QUICK_GELU:
        hot_silu_backward_bf16(x, dy, dx, 1.702f, n);
        return true;
    case ACTIVATION_GELU:
        hot_gelu_backward_bf16(x, dy, dx, n);
        return true;
    default:
        return false;
    }
}

static void backward_block(const step *s, const kernel_arguments *a, int64_t offset, int64_t n)
{
    if (hot_block(s, a, offset, n))
        return;
    float x[BLOCK], y[BLOCK], dy[BLOCK];
    bool by_slope = s->op == OP_PRELU_BACKWARD_DATA;
    block_load(s->input_type[0], a->input[0], offset, n, x);
    block_load(s->input_type[by_slope ? 2 : 1], a->input[by_slope ? 2 : 1], offset, n, dy);
    switch (s->op) {
    case OP_ACTIVATION_BACKWARD:
        block_activate_backward(s->attributes.activation.kind, s->attributes.activation.slope, x, dy, n);
        break;
    case OP_CLAMP_BACKWARD:
        block_clamp_backward(x, s->attributes.clamp.low, s->attributes.clamp.high, dy, n);
        break;
    default:
        load_slopes(s, a, offset, n, y);
        block_prelu_backward(x, y, dy, n);
        break;
    }
    block_store(s->type, a->output, offset, n, dy);
}

static kiln_status backward_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->shape), blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (blocks > 8)
    for (int64_t i = 0; i < blocks; i++)
        backward_block(s, a, i * BLOCK, count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK);
    return KILN_OK;
}

static kiln_status geglu_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t C = step_last(s->shape) / 2, rows = step_rows(s->shape), pieces = (C + BLOCK - 1) / BLOCK;
    bool hot = all_bf16(s);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float x[BLOCK], gate[BLOCK], dy[BLOCK];
        int64_t row = i / pieces, first = i % pieces * BLOCK, n = C - first < BLOCK ? C - first : BLOCK;
        int64_t at_x = row * 2 * C + first;
        if (hot) {
            const uint16_t *from = (const uint16_t *)a->input[0] + at_x;
            uint16_t *to = (uint16_t *)a->output + at_x;
            hot_geglu_backward_bf16(from, from + C, (const uint16_t *)a->input[1] + row * C + first, to,
                                    to + C, n);
            continue;
        }
        block_load(s->input_type[0], a->input[0], at_x, n, x);
        block_load(s->input_type[0], a->input[0], at_x + C, n, gate);
        block_load(s->input_type[1], a->input[1], row * C + first, n, dy);
        block_geglu_backward(x, gate, dy, n);
        block_store(s->type, a->output, at_x, n, x);
        block_store(s->type, a->output, at_x + C, n, gate);
    }
    return KILN_OK;
}

/* 2 / count * weights[n] * (prediction - target) * dy, sample after sample. */
static kiln_status squared_error_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t samples = s->shape.dim[0], count = shape_count(s->shape);
    if (!count)
        return KILN_OK;
    int64_t sample = count / samples, pieces = (sample + BLOCK - 1) / BLOCK;
    double factor = 2 / (double)count * (double)load_one(s, a, 3);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (samples * pieces > 8)
    for (int64_t i = 0; i < samples * pieces; i++) {
        float x[BLOCK], y[BLOCK], weight = 1;
        int64_t first = i % pieces * BLOCK, n = sample - first < BLOCK ? sample - first : BLOCK;
        int64_t offset = i / pieces * sample + first;
        if (a->input[2])
            block_load(s->input_type[2], a->input[2], i / pieces, 1, &weight);
        block_load(s->input_type[0], a->input[0], offset, n, x);
        block_load(s->input_type[1], a->input[1], offset, n, y);
        block_difference(x, y, (float)(factor * (double)weight), n);
        block_store(s->type, a->output, offset, n, x);
    }
    return KILN_OK;
}

/* The same number everywhere. */
static kiln_status fill_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->shape), blocks = (count + BLOCK - 1) / BLOCK;
    if (!count)
        return KILN_OK;
    float x[BLOCK];
    fill_block(
        x, s->op == OP_FILL ? s->attributes.fill.number : (float)((double)load_one(s, a, 0) / (double)count),
        BLOCK);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (blocks > 8)
    for (int64_t i = 0; i < blocks; i++)
        block_store(s->type, a->output, i * BLOCK, count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK, x);
    return KILN_OK;
}

static kiln_status exp_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->shape), blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (blocks > 8)
    for (int64_t i = 0; i < blocks; i++) {
        float x[BLOCK];
        int64_t n = count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK;
        block_load(s->input_type[0], a->input[0], i * BLOCK, n, x);
        block_exp(x, n);
        block_store(s->type, a->output, i * BLOCK, n, x);
    }
    return KILN_OK;
}

kiln_status prepare_elementwise_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    int dy = r->node->op == OP_PRELU_BACKWARD_DATA ? 2 : 1;
    switch (r->node->op) {
    case OP_GEGLU_BACKWARD:
        return step_prepare(r, "vector geglu backward", geglu_run, -1, out, err);
    case OP_MEAN_SQUARED_ERROR_BACKWARD:
        return step_prepare(r, "vector squared error backward", squared_error_run, -1, out, err);
    case OP_FILL:
    case OP_MEAN_BACKWARD:
        return step_prepare(r, "vector fill", fill_run, -1, out, err);
    case OP_EXP:
        return step_prepare(r, "vector exp", exp_run, r->input_type[0] == r->output_type ? 0 : -1, out, err);
    default:
        return step_prepare(r, "vector elementwise backward", backward_run,
                            r->input_type[dy] == r->output_type ? dy : -1, out, err);
    }
}
