/* channels.c - ops that treat every channel alike at all positions: batch norm by given statistics, and a gate. */
#include "ops/op.h"

#include <math.h>

value op_batch_norm(at a, value x, value mean, value variance, value weight, value bias, float epsilon)
{
    if (ABSENT(x, mean, variance))
        return NO_VALUE;
    const value all[] = {mean, variance, weight, bias};
    int64_t channels = value_channels(a, x);
    for (int i = 0; i < 4; i++)
        if (all[i].index && shape_count(value_shape(a, all[i])) != channels)
            return graph_fail(a, "batch_norm: %lld channels, but %lld numbers", (long long)channels,
                              (long long)shape_count(value_shape(a, all[i])));
    return graph_emit(a, OP_BATCH_NORM, value_shape(a, x), DTYPE_F32, 5,
                      (value[]){x, mean, variance, weight, bias},
                      &(op_attributes){.norm = {.groups = 1, .epsilon = epsilon}});
}

void reference_batch_norm(const op_call *c)
{
    int64_t C = op_last(c->shape);
    const float *x = c->input[0], *mean = c->input[1], *variance = c->input[2], *w = c->input[3],
                *b = c->input[4];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++) {
        int64_t k = i % C;
        double y =
            ((double)x[i] - mean[k]) / sqrt((double)variance[k] + (double)c->node->attributes.norm.epsilon);
        c->output[i] = (float)(y * (w ? (double)w[k] : 1) + (b ? (double)b[k] : 0));
    }
}

/* Statistics are measured, not learnt. What is left is linear in x: batch norm without a mean is its derivative. */
void gradient_batch_norm(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[1] || wanted[2]) {
        graph_fail(a, "batch_norm has no gradient for its statistics: they are measured, not learnt");
        return;
    }
    float epsilon = n->attributes.norm.epsilon;
    if (wanted[0]) {
        value zero = op_fill(a, SHAPE1(value_channels(a, dy)), 0);
        dx[0] = op_batch_norm(a, dy, zero, n->input[2], n->input[3], NO_VALUE, epsilon);
    }
    if (wanted[3]) {
        value plain = op_batch_norm(a, n->input[0], n->input[1], n->input[2], NO_VALUE, NO_VALUE, epsilon);
        dx[3] = op_sum_rows(a, op_multiply(a, dy, plain));
    }
    if (wanted[4])
        dx[4] = op_sum_rows(a, dy);
}

value op_multiply_channels(at a, value x, value y)
{
    if (ABSENT(x, y))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = value_shape(a, y);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 2 || Y.rank != 2 || X.dim[0] != Y.dim[0] || op_last(X) != Y.dim[1])
        return graph_fail(a, "multiply_channels: %s does not fit %s", shape_text(Y, text),
                          shape_text(X, other));
    return graph_emit(a, OP_MULTIPLY_CHANNELS, X, DTYPE_F32, 2, (value[]){x, y}, NULL);
}

void reference_multiply_channels(const op_call *c)
{
    int64_t C = op_last(c->shape), sample = shape_count(c->shape) / c->shape.dim[0];
    const float *x = c->input[0], *y = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] * y[i / sample * C + i % C];
}

void gradient_multiply_channels(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[0])
        dx[0] = op_multiply_channels(a, dy, n->input[1]);
    if (wanted[1])
        dx[1] = op_sum_positions(a, op_multiply(a, dy, n->input[0]));
}
