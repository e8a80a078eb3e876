/* layout_backward.c - gradients of ops that move elements: zeros around a slice, sums of an enlargement's copies, sums of
 * the rows that a look-up read. */
#include "backend/cpu/block.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include <string.h>

static void clear(dtype type, void *to, int64_t offset, int64_t n)
{
    size_t size = dtype_size(type);
    memset((char *)to + (size_t)offset * size, 0, (size_t)n * size);
}

static kiln_status slice_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int axis =
        s->attributes.slice.axis < 0 ? s->attributes.slice.axis + s->shape.rank : s->attributes.slice.axis;
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis; i++)
        outer *= s->shape.dim[i];
    for (int i = axis + 1; i < s->shape.rank; i++)
        inner *= s->shape.dim[i];
    int64_t whole = s->shape.dim[axis] * inner, part = s->input_shape[0].dim[axis] * inner;
    int64_t first = s->attributes.slice.start * inner;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (outer > 16)
    for (int64_t i = 0; i < outer; i++) {
        clear(s->type, a->output, i * whole, first);
        move_activations(s->input_type[0], a->input[0], i * part, s->type, a->output, i * whole + first,
                         part);
        clear(s->type, a->output, i * whole + first + part, whole - first - part);
    }
    return KILN_OK;
}

/* The f * f copies of each pixel, added up. */
static kiln_status upsample_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t f = s->attributes.upsample.factor, W = s->shape.dim[2], C = s->shape.dim[3];
    int64_t rows = s->shape.dim[0] * s->shape.dim[1];
    if (f == 2) {
        sum_enlarged(s->input_type[0], a->input[0], s->type, a->output, rows, W, C, a->threads);
        return KILN_OK;
    }
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 4)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t w = 0; w < W; w++)
            for (int64_t c = 0; c < C; c += BLOCK) {
                float sum[BLOCK] = {0}, x[BLOCK];
                int64_t n = C - c < BLOCK ? C - c : BLOCK;
                for (int64_t copy = 0; copy < f * f; copy++) {
                    int64_t row = i * f + copy / f, column = w * f + copy % f;
                    block_load(s->input_type[0], a->input[0], (row * W * f + column) * C + c, n, x);
                    block_add(sum, x, n);
                }
                block_store(s->type, a->output, (i * W + w) * C + c, n, sum);
            }
    return KILN_OK;
}

/* Rows with the same id are added in their order; a worker takes a piece of the columns. */
static kiln_status embedding_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    enum { COLUMNS = 256 };
    const step *s = k->state;
    int64_t V = s->shape.dim[0], C = s->shape.dim[1], count = shape_count(s->input_shape[0]);
    int64_t pieces = (C + COLUMNS - 1) / COLUMNS;
    const int32_t *ids = a->input[0];
    float *output = a->output;
#pragma omp parallel num_threads(a->threads) if (V * C > 65536)
    {
#pragma omp for schedule(static)
        for (int64_t v = 0; v < V; v++)
            memset(output + v * C, 0, (size_t)C * sizeof *output);
#pragma omp for schedule(static)
        for (int64_t p = 0; p < pieces; p++) {
            float x[COLUMNS];
            int64_t first = p * COLUMNS, n = C - first < COLUMNS ? C - first : COLUMNS;
            for (int64_t i = 0; i < count; i++) {
                if (ids[i] < 0 || ids[i] >= V)
                    continue;
                block_load(s->input_type[1], a->input[1], i * C + first, n, x);
                block_add(output + ids[i] * C + first, x, n);
            }
        }
    }
    return KILN_OK;
}

static kiln_status gather_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t T = s->shape.dim[1], C = s->shape.dim[2];
    const int32_t *index = a->input[0];
    clear(s->type, a->output, 0, shape_count(s->shape));
    for (int64_t n = 0; n < s->shape.dim[0]; n++) {
        int64_t t = index[n] < 0 ? 0 : index[n] >= T ? T - 1 : index[n];
        move_activations(s->input_type[1], a->input[1], n * C, s->type, a->output, (n * T + t) * C, C);
    }
    return KILN_OK;
}

kiln_status prepare_layout_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    switch (r->node->op) {
    case OP_SLICE_BACKWARD:
        return step_prepare(r, "vector slice backward", slice_run, -1, out, err);
    case OP_UPSAMPLE_BACKWARD:
        return step_prepare(r, "vector upsample backward", upsample_run, -1, out, err);
    case OP_EMBEDDING_BACKWARD:
        if (r->output_type != DTYPE_F32)
            return KILN_OK;
        return step_prepare(r, "vector embedding backward", embedding_run, -1, out, err);
    case OP_GATHER_TOKENS_BACKWARD:
        return step_prepare(r, "vector gather_tokens backward", gather_run, -1, out, err);
    default:
        return KILN_OK;
    }
}
