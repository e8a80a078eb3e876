/* layout.c - ops that only move elements: concat, slice, upsample. Runs that are contiguous on both sides
 * are copied (or converted) at once. */
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

static int64_t product(const int64_t *dim, int first, int end)
{
    int64_t n = 1;
    for (int i = first; i < end; i++)
        n *= dim[i];
    return n;
}

static int axis_of(shape s, int axis)
{
    return axis < 0 ? axis + s.rank : axis;
}

static kiln_status concat_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int axis = axis_of(s->shape, s->attributes.concat.axis);
    int64_t outer = product(s->shape.dim, 0, axis), whole = product(s->shape.dim, axis, s->shape.rank);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (outer > 16)
    for (int64_t i = 0; i < outer; i++) {
        int64_t target = i * whole;
        for (int j = 0; j < s->input_count; j++) {
            int64_t part = product(s->input_shape[j].dim, axis, s->shape.rank);
            move_activations(s->input_type[j], a->input[j], i * part, s->type, a->output, target, part);
            target += part;
        }
    }
    return KILN_OK;
}

static kiln_status slice_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int axis = axis_of(s->shape, s->attributes.slice.axis);
    int64_t outer = product(s->shape.dim, 0, axis), inner = product(s->shape.dim, axis + 1, s->shape.rank);
    int64_t part = s->shape.dim[axis] * inner, whole = s->input_shape[0].dim[axis] * inner;
    int64_t first = s->attributes.slice.start * inner;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (outer > 16)
    for (int64_t i = 0; i < outer; i++)
        move_activations(s->input_type[0], a->input[0], i * whole + first, s->type, a->output, i * part,
                         part);
    return KILN_OK;
}

static kiln_status upsample_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t f = s->attributes.upsample.factor, W = s->shape.dim[2], C = s->shape.dim[3],
            rows = s->input_shape[0].dim[1];
    int64_t count = s->shape.dim[0] * rows;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (count > 4)
    for (int64_t i = 0; i < count; i++) {
        for (int64_t w = 0; w < W; w++)
            move_activations(s->input_type[0], a->input[0], (i * (W / f) + w / f) * C, s->type, a->output,
                             (i * f * W + w) * C, C);
        for (int64_t j = 1; j < f; j++)
            move_activations(s->type, a->output, i * f * W * C, s->type, a->output, (i * f + j) * W * C,
                             W * C);
    }
    return KILN_OK;
}

kiln_status prepare_layout(const kernel_request *r, kernel *out, kiln_error *err)
{
    switch (r->node->op) {
    case OP_CONCAT:
        return step_prepare(r, "vector concat", concat_run, -1, out, err);
    case OP_SLICE:
        return step_prepare(r, "vector slice", slice_run, -1, out, err);
    case OP_UPSAMPLE:
        return step_prepare(r, "vector upsample", upsample_run, -1, out, err);
    default:
        return KILN_OK;
    }
}
