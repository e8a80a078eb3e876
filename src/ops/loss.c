/* loss.c - mean squared error, optionally weighted by sample (min-SNR weights, prior preservation):
 *
 *   y = 1/count * sum_n weights[n] * sum_i (prediction[n,i] - target[n,i])^2
 *
 * count is the number of elements of all samples: weights of 1 change nothing, and weights do not renormalise. */
#include "ops/op.h"

static bool loss_fits(at a, value prediction, value target, value weights)
{
    shape P = value_shape(a, prediction), T = value_shape(a, target), W = value_shape(a, weights);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (!shape_equal(P, T) || P.rank < 1)
        graph_fail(a, "mean_squared_error: the prediction is %s, the target %s", shape_text(P, text),
                   shape_text(T, other));
    else if (weights.index && (W.rank != 1 || W.dim[0] != P.dim[0]))
        graph_fail(a, "mean_squared_error wants one weight for each of %lld samples, got %s",
                   (long long)P.dim[0], shape_text(W, text));
    return !graph_failed(a);
}

value op_mean_squared_error(at a, value prediction, value target, value weights)
{
    if (ABSENT(prediction, target) || !loss_fits(a, prediction, target, weights))
        return NO_VALUE;
    return graph_emit(a, OP_MEAN_SQUARED_ERROR, SHAPE1(1), DTYPE_F32, weights.index ? 3 : 2,
                      (value[]){prediction, target, weights}, NULL);
}

void reference_mean_squared_error(const op_call *c)
{
    int64_t count = shape_count(c->input_shape[0]), sample = count / c->input_shape[0].dim[0];
    const float *p = c->input[0], *t = c->input[1], *w = c->input[2];
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)p[i] - t[i];
        sum += d * d * (w ? (double)w[i / sample] : 1);
    }
    c->output[0] = (float)(sum / (double)count);
}

void gradient_mean_squared_error(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[2]) {
        graph_fail(a, "mean_squared_error has no gradient for its weights: they are chosen, not learnt");
        return;
    }
    value d = op_mean_squared_error_backward(a, n->input[0], n->input[1], n->input[2], dy);
    if (wanted[0])
        dx[0] = d;
    if (wanted[1])
        dx[1] = op_scale(a, d, -1, 0);
}

value op_mean_squared_error_backward(at a, value prediction, value target, value weights, value dy)
{
    if (ABSENT(prediction, target, dy) || !loss_fits(a, prediction, target, weights))
        return NO_VALUE;
    char text[SHAPE_TEXT];
    if (shape_count(value_shape(a, dy)) != 1)
        return graph_fail(a, "mean_squared_error_backward wants one number, got %s",
                          shape_text(value_shape(a, dy), text));
    return graph_emit(a, OP_MEAN_SQUARED_ERROR_BACKWARD, value_shape(a, prediction), DTYPE_F32, 4,
                      (value[]){prediction, target, weights, dy}, NULL);
}

void reference_mean_squared_error_backward(const op_call *c)
{
    int64_t count = shape_count(c->shape), sample = count / c->shape.dim[0];
    const float *p = c->input[0], *t = c->input[1], *w = c->input[2];
    double factor = 2 / (double)count * ((const float *)c->input[3])[0];
    for (int64_t i = 0; i < count; i++)
        c->output[i] = (float)(factor * (w ? (double)w[i / sample] : 1) * ((double)p[i] - t[i]));
}

/* Subtract, square, weigh, add. */
double flops_loss(const graph *g, const node *n)
{
    return 4.0 * (double)shape_count(graph_node(g, n->input[0])->shape);
}
