/* linear_backward.c - the gradients of y = x W^T + b:
 *
 *   by data     dx[...,k] = sum_o dy[...,o] * w[o,k]
 *   by weights  dw[o,k]   = sum over rows of dy[...,o] * x[...,k]
 *   by bias     db[o]     = sum over rows of dy[...,o], which is sum_rows
 *
 * Weights [O,K,1,1] are taken as [O,K]. */
#include "ops/op.h"

static bool is_matrix(shape w)
{
    return w.rank >= 2 && shape_count(w) == w.dim[0] * w.dim[1];
}

value op_linear_backward_data(at a, value dy, value w)
{
    if (ABSENT(dy, w))
        return NO_VALUE;
    shape X = value_shape(a, dy), W = value_shape(a, w);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 1 || !is_matrix(W) || op_last(X) != W.dim[0])
        return graph_fail(a, "linear_backward_data: w %s and dy %s do not fit", shape_text(W, text),
                          shape_text(X, other));
    X.dim[X.rank - 1] = W.dim[1];
    return graph_emit(a, OP_LINEAR_BACKWARD_DATA, X, DTYPE_F32, 2, (value[]){dy, w}, NULL);
}

value op_linear_backward_weights(at a, value x, value dy, shape w)
{
    if (ABSENT(x, dy))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = value_shape(a, dy);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (!is_matrix(w) || op_last(X) != w.dim[1] || op_last(Y) != w.dim[0] || op_rows(X) != op_rows(Y))
        return graph_fail(a, "linear_backward_weights: x %s and dy %s do not fit", shape_text(X, text),
                          shape_text(Y, other));
    return graph_emit(a, OP_LINEAR_BACKWARD_WEIGHTS, w, DTYPE_F32, 2, (value[]){x, dy}, NULL);
}

void reference_linear_backward_data(const op_call *c)
{
    int64_t rows = op_rows(c->shape), inputs = op_last(c->shape), outputs = op_last(c->input_shape[0]);
    const float *dy = c->input[0], *w = c->input[1];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < inputs; k++) {
            double sum = 0;
            for (int64_t o = 0; o < outputs; o++)
                sum += (double)dy[i * outputs + o] * w[o * inputs + k];
            c->output[i * inputs + k] = (float)sum;
        }
}

void reference_linear_backward_weights(const op_call *c)
{
    int64_t outputs = c->shape.dim[0], inputs = c->shape.dim[1], rows = op_rows(c->input_shape[0]);
    const float *x = c->input[0], *dy = c->input[1];
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = 0; k < inputs; k++) {
            double sum = 0;
            for (int64_t i = 0; i < rows; i++)
                sum += (double)dy[i * outputs + o] * x[i * inputs + k];
            c->output[o * inputs + k] = (float)sum;
        }
}

double flops_linear_backward_data(const graph *g, const node *n)
{
    return 2.0 * (double)shape_count(n->shape) * (double)op_last(graph_node(g, n->input[0])->shape);
}

double flops_linear_backward_weights(const graph *g, const node *n)
{
    return 2.0 * (double)shape_count(n->shape) * (double)op_rows(graph_node(g, n->input[0])->shape);
}
