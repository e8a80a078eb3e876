/* norm_backward.c - the gradients of layer norm. With the mean and the variance of a row of `count` numbers computed again,
 * u = (x - mean) / sqrt(variance + eps) and g = dy * w:
 *
 *   by data    dx = (g - mean(g) - u * mean(g * u)) / sqrt(variance + eps)     means over the row
 *   by weight  dw[c] = sum over rows of dy * u
 *   by bias    db[c] = sum over rows of dy, which is sum_rows */
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>

static value backward(at a, op_kind op, shape out, value x, value weight, value dy,
                      const norm_attributes *attributes)
{
    if (ABSENT(x, dy))
        return NO_VALUE;
    shape X = value_shape(a, x), W = weight.index ? value_shape(a, weight) : out;
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 2 || !shape_equal(X, value_shape(a, dy)))
        return graph_fail(a, "norm_backward: x is %s, dy is %s", shape_text(X, text),
                          shape_text(value_shape(a, dy), other));
    if (shape_count(W) != op_last(X) || attributes->groups < 1 || op_last(X) % attributes->groups)
        return graph_fail(a, "norm_backward: %lld channels, but %lld weights and %d groups",
                          (long long)op_last(X), (long long)shape_count(W), attributes->groups);
    op_attributes kept = {.norm = *attributes};
    if (weight.index)
        return graph_emit(a, op, out, DTYPE_F32, 3, (value[]){x, weight, dy}, &kept);
    return graph_emit(a, op, out, DTYPE_F32, 2, (value[]){x, dy}, &kept);
}

value op_layer_norm_backward_data(at a, value x, value weight, value dy, const norm_attributes *attributes)
{
    return ABSENT(weight)
               ? NO_VALUE
               : backward(a, OP_LAYER_NORM_BACKWARD_DATA, value_shape(a, x), x, weight, dy, attributes);
}

value op_layer_norm_backward_weight(at a, value x, value dy, shape weight, const norm_attributes *attributes)
{
    return backward(a, OP_LAYER_NORM_BACKWARD_WEIGHT, weight, x, NO_VALUE, dy, attributes);
}

/* x becomes u; returns scale = 1 / sqrt(variance + eps). */
static double normalise(const float *x, int64_t n, double epsilon, double *u)
{
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < n; k++)
        sum += (double)x[k];
    for (int64_t k = 0; k < n; k++) {
        u[k] = (double)x[k] - sum / (double)n;
        squares += u[k] * u[k];
    }
    double scale = 1 / sqrt(squares / (double)n + epsilon);
    for (int64_t k = 0; k < n; k++)
        u[k] *= scale;
    return scale;
}

void reference_layer_norm_backward_data(const op_call *c)
{
    int64_t rows = op_rows(c->shape), C = op_last(c->shape);
    double *u = malloc((size_t)(C + 1) * sizeof *u), count = (double)C;
    const float *w = c->input[1];
    if (!u) {
        op_no_memory(c);
        return;
    }
    for (int64_t i = 0; i < rows; i++) {
        const float *dy = (const float *)c->input[2] + i * C;
        double scale =
            normalise((const float *)c->input[0] + i * C, C, (double)c->node->attributes.norm.epsilon, u);
        double sum = 0, product = 0;
        for (int64_t k = 0; k < C; k++) {
            double g = (double)dy[k] * w[k];
            sum += g;
            product += g * u[k];
        }
        for (int64_t k = 0; k < C; k++)
            c->output[i * C + k] =
                (float)(((double)dy[k] * w[k] - sum / count - u[k] * product / count) * scale);
    }
    free(u);
}

void reference_layer_norm_backward_weight(const op_call *c)
{
    int64_t rows = op_rows(c->input_shape[0]), C = op_last(c->input_shape[0]);
    double *u = calloc((size_t)(2 * C + 1), sizeof *u), *dw = u + C;
    if (!u) {
        op_no_memory(c);
        return;
    }
    for (int64_t i = 0; i < rows; i++) {
        const float *dy = (const float *)c->input[1] + i * C;
        normalise((const float *)c->input[0] + i * C, C, (double)c->node->attributes.norm.epsilon, u);
        for (int64_t k = 0; k < C; k++)
            dw[k] += (double)dy[k] * u[k];
    }
    for (int64_t k = 0; k < C; k++)
        c->output[k] = (float)dw[k];
    free(u);
}
