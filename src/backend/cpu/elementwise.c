/* elementwise.c - ops that treat every element alone: activation, add, multiply, scale, clamp, cast,
 * prelu, and the broadcasts add_channels and add_positions. The work is cut into fixed blocks, whatever
 * the number of threads. */
#include "backend/cpu/block.h"
#include "backend/cpu/hot_avx512.h"
#include "backend/cpu/hot_backward.h"
#include "backend/cpu/step.h"

/* Elements i .. i+n-1 of the second operand that belong to elements of x from `offset` on. */
static void load_repeated(const step *s, const kernel_arguments *a, int64_t offset, int64_t n, float *to)
{
    int64_t C = step_last(s->shape), T = s->shape.rank > 1 ? s->shape.dim[s->shape.rank - 2] : 1;
    int64_t rows = step_rows(s->shape), positions = rows > s->shape.dim[0] ? rows / s->shape.dim[0] : 1;
    for (int64_t done = 0; done < n;) {
        int64_t index = offset + done, row = index / C, column = index % C;
        int64_t length = C - column < n - done ? C - column : n - done, from = 0;
        if (s->op == OP_ADD_CHANNELS)
            from = row / positions;
        else if (s->op == OP_ADD_POSITIONS)
            from = row % T;
        block_load(s->input_type[1], a->input[1], from * C + column, length, to + done);
        done += length;
    }
}

/* What shows in a profile, bf16 throughout. */
static bool hot_block(const step *s, const kernel_arguments *a, int64_t offset, int64_t n)
{
    if (!s->features.avx512_bf16 || s->input_type[0] != DTYPE_BF16 || s->type != DTYPE_BF16)
        return false;
    const uint16_t *x = (const uint16_t *)a->input[0] + offset;
    uint16_t *y = (uint16_t *)a->output + offset;
    if (s->op == OP_ADD && s->input_type[1] == DTYPE_BF16) {
        hot_add_bf16(x, (const uint16_t *)a->input[1] + offset, y, n);
        return true;
    }
    if (s->op != OP_ACTIVATION)
        return false;
    switch (s->attributes.activation.kind) {
    case ACTIVATION_SILU:
        hot_silu_bf16(x, y, 1, n);
        return true;
    case ACTIVATION_QUICK_GELU:
        hot_silu_bf16(x, y, 1.702f, n);
        return true;
    case ACTIVATION_GELU:
        hot_gelu_bf16(x, y, n);
        return true;
    default:
        return false;
    }
}

static void elementwise_block(const step *s, const kernel_arguments *a, int64_t offset, int64_t n)
{
    float x[BLOCK], y[BLOCK];
    if (hot_block(s, a, offset, n))
        return;
    block_load(s->input_type[0], a->input[0], offset, n, x);
    switch (s->op) {
    case OP_ACTIVATION:
        block_activate(s->attributes.activation.kind, s->attributes.activation.slope, x, n);
        break;
    case OP_SCALE:
        block_scale(x, s->attributes.scale.factor, s->attributes.scale.offset, n);
        break;
    case OP_CLAMP:
        block_clamp(x, s->attributes.clamp.low, s->attributes.clamp.high, n);
        break;
    case OP_ADD:
    case OP_MULTIPLY:
        block_load(s->input_type[1], a->input[1], offset, n, y);
        if (s->op == OP_ADD)
            block_add(x, y, n);
        else
            block_multiply(x, y, n);
        break;
    case OP_ADD_CHANNELS:
    case OP_ADD_POSITIONS:
        load_repeated(s, a, offset, n, y);
        block_add(x, y, n);
        break;
    case OP_PRELU:
        load_repeated(s, a, offset, n, y);
        block_prelu(x, y, n);
        break;
    default:
        break; /* cast, reshape: converting is all */
    }
    block_store(s->type, a->output, offset, n, x);
}

static kiln_status elementwise_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t count = shape_count(s->shape), blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (blocks > 8)
    for (int64_t i = 0; i < blocks; i++)
        elementwise_block(s, a, i * BLOCK, count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK);
    return KILN_OK;
}

kiln_status prepare_elementwise(const kernel_request *r, kernel *out, kiln_error *err)
{
    return step_prepare(r, "vector elementwise", elementwise_run, r->input_type[0] == r->output_type ? 0 : -1,
                        out, err);
}
