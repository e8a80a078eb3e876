/* elementwise.c - add, multiply, scale, clamp, and the two broadcast additions; detach; cast. */
#include "ops/op.h"

#include <string.h>

static value binary(at a, op_kind op, const char *name, value x, value y)
{
    if (ABSENT(x, y))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = value_shape(a, y);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (shape_count(X) != shape_count(Y) || op_last(X) != op_last(Y))
        return graph_fail(a, "%s: the shapes %s and %s differ", name, shape_text(X, text),
                          shape_text(Y, other));
    return graph_emit(a, op, X, DTYPE_F32, 2, (value[]){x, y}, NULL);
}

value op_add(at a, value x, value y)
{
    return binary(a, OP_ADD, "add", x, y);
}

value op_multiply(at a, value x, value y)
{
    return binary(a, OP_MULTIPLY, "multiply", x, y);
}

void reference_add(const op_call *c)
{
    const float *x = c->input[0], *y = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] + y[i];
}

void reference_multiply(const op_call *c)
{
    const float *x = c->input[0], *y = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] * y[i];
}

void gradient_add(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)a;
    (void)n;
    (void)self;
    (void)wanted;
    dx[0] = dx[1] = dy;
}

void gradient_multiply(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[0])
        dx[0] = op_multiply(a, dy, n->input[1]);
    if (wanted[1])
        dx[1] = op_multiply(a, dy, n->input[0]);
}

value op_scale(at a, value x, float factor, float offset)
{
    if (ABSENT(x))
        return NO_VALUE;
    op_attributes attributes = {.scale = {factor, offset}};
    return graph_emit(a, OP_SCALE, value_shape(a, x), DTYPE_F32, 1, &x, &attributes);
}

void reference_scale(const op_call *c)
{
    const scale_attributes *p = &c->node->attributes.scale;
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = ((const float *)c->input[0])[i] * p->factor + p->offset;
}

void gradient_scale(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_scale(a, dy, n->attributes.scale.factor, 0);
}

value op_clamp(at a, value x, float low, float high)
{
    if (ABSENT(x))
        return NO_VALUE;
    op_attributes attributes = {.clamp = {low, high}};
    return graph_emit(a, OP_CLAMP, value_shape(a, x), DTYPE_F32, 1, &x, &attributes);
}

void reference_clamp(const op_call *c)
{
    const clamp_attributes *p = &c->node->attributes.clamp;
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++) {
        float x = ((const float *)c->input[0])[i];
        c->output[i] = x < p->low ? p->low : x > p->high ? p->high : x;
    }
}

void gradient_clamp(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_clamp_backward(a, n->input[0], dy, &n->attributes.clamp);
}

value op_add_channels(at a, value x, value y)
{
    if (ABSENT(x, y))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = value_shape(a, y);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 2 || Y.rank != 2 || X.dim[0] != Y.dim[0] || op_last(X) != Y.dim[1])
        return graph_fail(a, "add_channels: %s does not fit %s", shape_text(Y, text), shape_text(X, other));
    return graph_emit(a, OP_ADD_CHANNELS, X, DTYPE_F32, 2, (value[]){x, y}, NULL);
}

void reference_add_channels(const op_call *c)
{
    int64_t C = op_last(c->shape), sample = shape_count(c->shape) / c->shape.dim[0];
    const float *x = c->input[0], *y = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] + y[i / sample * C + i % C];
}

void gradient_add_channels(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)n;
    (void)self;
    dx[0] = dy;
    if (wanted[1])
        dx[1] = op_sum_positions(a, dy);
}

value op_add_positions(at a, value x, value y)
{
    if (ABSENT(x, y))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = value_shape(a, y);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank != 3 || Y.rank != 2 || Y.dim[0] < X.dim[1] || Y.dim[1] != X.dim[2])
        return graph_fail(a, "add_positions: the positions %s do not fit %s", shape_text(Y, text),
                          shape_text(X, other));
    return graph_emit(a, OP_ADD_POSITIONS, X, DTYPE_F32, 2, (value[]){x, y}, NULL);
}

void reference_add_positions(const op_call *c)
{
    int64_t sample = c->shape.dim[1] * c->shape.dim[2];
    const float *x = c->input[0], *y = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] + y[i % sample];
}

void gradient_add_positions(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    dx[0] = dy;
    if (!wanted[1])
        return;
    /* Over samples: as rows of T*C. Positions beyond T were not read. */
    shape X = n->shape, P = value_shape(a, n->input[1]);
    value sum = op_sum_rows(a, op_reshape(a, dy, SHAPE2(X.dim[0], X.dim[1] * X.dim[2])));
    sum = op_reshape(a, sum, SHAPE2(X.dim[1], X.dim[2]));
    dx[1] =
        P.dim[0] == X.dim[1] ? sum : op_slice_backward(a, sum, P, &(slice_attributes){.axis = 0, .start = 0});
}

value op_detach(at a, value x)
{
    return ABSENT(x) ? NO_VALUE : graph_emit(a, OP_DETACH, value_shape(a, x), DTYPE_F32, 1, &x, NULL);
}

void reference_detach(const op_call *c)
{
    memcpy(c->output, c->input[0], (size_t)shape_count(c->shape) * sizeof(float));
}

void reference_cast(const op_call *c)
{
    memcpy(c->output, c->input[0], (size_t)shape_count(c->shape) * sizeof(float));
}

void gradient_cast(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)a;
    (void)n;
    (void)self;
    (void)wanted;
    dx[0] = dy;
}
