/* linear.c - y[...,o] = act(b[o] + sum_k x[...,k] * w[o,k]) + r[...,o]. Inputs: x, w, b?, r? (residual and activation
 * are put there by fusion). Weights [O,K,1,1] are taken as [O,K]. */
#include "ops/op.h"

value op_linear(at a, value x, value w, value b)
{
    if (ABSENT(x, w))
        return NO_VALUE;
    shape X = value_shape(a, x), W = value_shape(a, w);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 1 || W.rank < 2 || shape_count(W) != W.dim[0] * W.dim[1])
        return graph_fail(a, "linear wants x [...,K] and w [O,K], got %s and %s", shape_text(X, text),
                          shape_text(W, other));
    if (op_last(X) != W.dim[1])
        return graph_fail(a, "linear: the weights take %lld features, the input has %lld",
                          (long long)W.dim[1], (long long)op_last(X));
    shape out = X;
    out.dim[out.rank - 1] = W.dim[0];
    return graph_emit(a, OP_LINEAR, out, DTYPE_F32, b.index ? 3 : 2, (value[]){x, w, b}, NULL);
}

void reference_linear(const op_call *c)
{
    int64_t rows = op_rows(c->shape), outputs = op_last(c->shape), inputs = op_last(c->input_shape[0]);
    const float *x = c->input[0], *w = c->input[1], *b = c->input[2], *r = c->input[3];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t o = 0; o < outputs; o++) {
            double y = b ? b[o] : 0;
            for (int64_t k = 0; k < inputs; k++)
                y += (double)x[i * inputs + k] * w[o * inputs + k];
            y = activation_apply(c->node->attributes.linear.activation, y, 0);
            c->output[i * outputs + o] = (float)(y + (r ? r[i * outputs + o] : 0));
        }
}

void gradient_linear(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (n->attributes.linear.activation != ACTIVATION_NONE || n->input_count > 3) {
        graph_fail(a, "linear: a fused node has no gradient");
        return;
    }
    if (wanted[0])
        dx[0] = op_linear_backward_data(a, dy, n->input[1]);
    if (wanted[1])
        dx[1] = op_linear_backward_weights(a, n->input[0], dy, value_shape(a, n->input[1]));
    if (wanted[2])
        dx[2] = op_sum_rows(a, dy);
}

double flops_linear(const graph *g, const node *n)
{
    return 2.0 * (double)shape_count(n->shape) * (double)op_last(graph_node(g, n->input[0])->shape);
}
