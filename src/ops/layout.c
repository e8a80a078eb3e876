/* layout.c - ops that only move elements: concat, slice, reshape, upsample. */
#include "ops/op.h"

#include <string.h>

value op_concat(at a, int count, const value *values, int axis)
{
    if (count < 1 || count > OP_MAX_INPUTS)
        return graph_fail(a, "concat takes 1 to %d values, got %d", OP_MAX_INPUTS, count);
    if (op_any_absent((size_t)count, values))
        return NO_VALUE;
    shape out = value_shape(a, values[0]);
    axis = op_axis(out, axis);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (axis < 0 || axis >= out.rank)
        return graph_fail(a, "concat: %s has no axis %d", shape_text(out, text), axis);
    for (int i = 1; i < count; i++) {
        shape s = value_shape(a, values[i]);
        bool fits = s.rank == out.rank;
        for (int d = 0; fits && d < s.rank; d++)
            fits = d == axis || s.dim[d] == out.dim[d];
        if (!fits)
            return graph_fail(a, "concat: %s does not fit %s on axis %d", shape_text(s, text),
                              shape_text(out, other), axis);
        out.dim[axis] += s.dim[axis];
    }
    return graph_emit(a, OP_CONCAT, out, DTYPE_F32, count, values, &(op_attributes){.concat = {axis}});
}

void reference_concat(const op_call *c)
{
    int axis = c->node->attributes.concat.axis;
    int64_t outer = op_outer(c->shape, axis), inner = op_inner(c->shape, axis),
            row = c->shape.dim[axis] * inner, offset = 0;
    for (int k = 0; k < c->node->input_count; k++) {
        int64_t part = c->input_shape[k].dim[axis] * inner;
        for (int64_t i = 0; i < outer; i++)
            memcpy(c->output + i * row + offset, (const float *)c->input[k] + i * part,
                   (size_t)part * sizeof(float));
        offset += part;
    }
}

void gradient_concat(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    int axis = n->attributes.concat.axis;
    int64_t start = 0;
    for (int k = 0; k < n->input_count; k++) {
        int64_t length = value_shape(a, n->input[k]).dim[axis];
        if (wanted[k])
            dx[k] = op_slice(a, dy, axis, start, length);
        start += length;
    }
}

value op_slice(at a, value x, int axis, int64_t start, int64_t length)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape out = value_shape(a, x);
    axis = op_axis(out, axis);
    char text[SHAPE_TEXT];
    if (axis < 0 || axis >= out.rank || start < 0 || length < 1 || start > out.dim[axis] - length)
        return graph_fail(a, "slice: %s has no elements %lld..%lld on axis %d", shape_text(out, text),
                          (long long)start, (long long)(start + length - 1), axis);
    out.dim[axis] = length;
    return graph_emit(a, OP_SLICE, out, graph_node(a.graph, x)->type, 1, &x,
                      &(op_attributes){.slice = {axis, start}});
}

void reference_slice(const op_call *c)
{
    const slice_attributes *p = &c->node->attributes.slice;
    int64_t outer = op_outer(c->shape, p->axis), inner = op_inner(c->shape, p->axis);
    int64_t part = c->shape.dim[p->axis] * inner, row = c->input_shape[0].dim[p->axis] * inner;
    for (int64_t i = 0; i < outer; i++)
        memcpy(c->output + i * part, (const float *)c->input[0] + i * row + p->start * inner,
               (size_t)part * sizeof(float));
}

void gradient_slice(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_slice_backward(a, dy, value_shape(a, n->input[0]), &n->attributes.slice);
}

value op_reshape(at a, value x, shape s)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (!shape_is_valid(s) || shape_count(X) != shape_count(s))
        return graph_fail(a, "reshape: %s does not hold as many elements as %s", shape_text(s, text),
                          shape_text(X, other));
    return graph_emit(a, OP_RESHAPE, s, graph_node(a.graph, x)->type, 1, &x, NULL);
}

void reference_reshape(const op_call *c)
{
    memmove(c->output, c->input[0], (size_t)shape_count(c->shape) * sizeof(float));
}

void gradient_reshape(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_reshape(a, dy, value_shape(a, n->input[0]));
}

value op_upsample(at a, value x, int factor)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT];
    if (X.rank != 4 || factor < 1 || factor > 64)
        return graph_fail(a, "upsample wants [N,H,W,C] and a factor of 1 to 64, got %s and %d",
                          shape_text(X, text), factor);
    X.dim[1] *= factor;
    X.dim[2] *= factor;
    return graph_emit(a, OP_UPSAMPLE, X, DTYPE_F32, 1, &x, &(op_attributes){.upsample = {factor}});
}

void reference_upsample(const op_call *c)
{
    shape X = c->input_shape[0];
    int f = c->node->attributes.upsample.factor;
    float *y = c->output;
    for (int64_t n = 0; n < X.dim[0]; n++)
        for (int64_t h = 0; h < X.dim[1] * f; h++)
            for (int64_t w = 0; w < X.dim[2] * f; w++, y += X.dim[3])
                memcpy(y, (const float *)c->input[0] + ((n * X.dim[1] + h / f) * X.dim[2] + w / f) * X.dim[3],
                       (size_t)X.dim[3] * sizeof(float));
}

void gradient_upsample(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_upsample_backward(a, dy, n->attributes.upsample.factor);
}
