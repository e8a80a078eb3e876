/* activation_backward.c - the gradients of the element-wise nonlinearities: dx = dy * f'(x), with x read again.
 * PReLU: dx = dy where x >= 0, else slope[c] * dy; dslope[c] = sum of dy * x where x < 0.
 * GEGLU, y = u * gelu(v):  du = dy * gelu(v),  dv = dy * u * gelu'(v).
 * Clamp: dy where low <= x <= high, else 0. */
#include "ops/op.h"

#include <math.h>

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double gelu_slope(double x)
{
    return 0.5 * (1 + erf(x * 0.70710678118654752440)) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

static double gelu_tanh_slope(double x)
{
    double c = 0.79788456080286535588, t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

double activation_slope(activation_kind kind, double x, float slope)
{
    double s;
    switch (kind) {
    case ACTIVATION_SILU:
        s = sigmoid(x);
        return s + x * s * (1 - s);
    case ACTIVATION_GELU:
        return gelu_slope(x);
    case ACTIVATION_GELU_TANH:
        return gelu_tanh_slope(x);
    case ACTIVATION_QUICK_GELU:
        s = sigmoid(1.702 * x);
        return s + 1.702 * x * s * (1 - s);
    case ACTIVATION_RELU:
        return x > 0 ? 1 : 0;
    case ACTIVATION_LEAKY_RELU:
        return x > 0 ? 1 : (double)slope;
    case ACTIVATION_SIGMOID:
        s = sigmoid(x);
        return s * (1 - s);
    case ACTIVATION_TANH:
        s = tanh(x);
        return 1 - s * s;
    case ACTIVATION_MISH:
        s = tanh(x > 40 ? x : log1p(exp(x)));
        return s + x * (1 - s * s) * sigmoid(x);
    case ACTIVATION_NONE:
        return 1;
    default:
        return activation_slope_more(kind, x, slope);
    }
}

static bool alike(at a, const char *name, shape X, shape Y)
{
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (shape_equal(X, Y))
        return true;
    graph_fail(a, "%s: the shapes %s and %s differ", name, shape_text(X, text), shape_text(Y, other));
    return false;
}

value op_activation_backward(at a, value x, value dy, const activation_attributes *attributes)
{
    if (ABSENT(x, dy) || !alike(a, "activation_backward", value_shape(a, x), value_shape(a, dy)))
        return NO_VALUE;
    return graph_emit(a, OP_ACTIVATION_BACKWARD, value_shape(a, x), DTYPE_F32, 2, (value[]){x, dy},
                      &(op_attributes){.activation = *attributes});
}

void reference_activation_backward(const op_call *c)
{
    const activation_attributes *p = &c->node->attributes.activation;
    const float *x = c->input[0], *dy = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = (float)((double)dy[i] * activation_slope(p->kind, (double)x[i], p->slope));
}

value op_prelu_backward_data(at a, value x, value slope, value dy)
{
    if (ABSENT(x, slope, dy) || !alike(a, "prelu_backward", value_shape(a, x), value_shape(a, dy)))
        return NO_VALUE;
    if (shape_count(value_shape(a, slope)) != value_channels(a, x))
        return graph_fail(a, "prelu_backward: %lld channels, but %lld slopes",
                          (long long)value_channels(a, x), (long long)shape_count(value_shape(a, slope)));
    return graph_emit(a, OP_PRELU_BACKWARD_DATA, value_shape(a, x), DTYPE_F32, 3, (value[]){x, slope, dy},
                      NULL);
}

void reference_prelu_backward_data(const op_call *c)
{
    int64_t C = op_last(c->shape);
    const float *x = c->input[0], *slope = c->input[1], *dy = c->input[2];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] >= 0 ? dy[i] : dy[i] * slope[i % C];
}

value op_prelu_backward_slope(at a, value x, value dy, shape slope)
{
    if (ABSENT(x, dy) || !alike(a, "prelu_backward", value_shape(a, x), value_shape(a, dy)))
        return NO_VALUE;
    if (shape_count(slope) != value_channels(a, x))
        return graph_fail(a, "prelu_backward: %lld channels, but %lld slopes",
                          (long long)value_channels(a, x), (long long)shape_count(slope));
    return graph_emit(a, OP_PRELU_BACKWARD_SLOPE, slope, DTYPE_F32, 2, (value[]){x, dy}, NULL);
}

void reference_prelu_backward_slope(const op_call *c)
{
    int64_t rows = op_rows(c->input_shape[0]), C = op_last(c->input_shape[0]);
    const float *x = c->input[0], *dy = c->input[1];
    for (int64_t k = 0; k < C; k++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++)
            sum += x[i * C + k] >= 0 ? 0 : (double)dy[i * C + k] * x[i * C + k];
        c->output[k] = (float)sum;
    }
}

value op_geglu_backward(at a, value x, value dy)
{
    if (ABSENT(x, dy))
        return NO_VALUE;
    shape X = value_shape(a, x), half = X;
    half.dim[half.rank - 1] /= 2;
    if (op_last(X) % 2)
        return graph_fail(a, "geglu_backward wants an even number of channels, got %lld",
                          (long long)op_last(X));
    if (!alike(a, "geglu_backward", half, value_shape(a, dy)))
        return NO_VALUE;
    return graph_emit(a, OP_GEGLU_BACKWARD, X, DTYPE_F32, 2, (value[]){x, dy}, NULL);
}

void reference_geglu_backward(const op_call *c)
{
    int64_t rows = op_rows(c->shape), C = op_last(c->shape) / 2;
    for (int64_t i = 0; i < rows; i++) {
        const float *x = (const float *)c->input[0] + i * 2 * C, *dy = (const float *)c->input[1] + i * C;
        float *dx = c->output + i * 2 * C;
        for (int64_t k = 0; k < C; k++) {
            double v = (double)x[C + k];
            dx[k] = (float)((double)dy[k] * activation_apply(ACTIVATION_GELU, v, 0));
            dx[C + k] = (float)((double)dy[k] * x[k] * gelu_slope(v));
        }
    }
}

value op_clamp_backward(at a, value x, value dy, const clamp_attributes *attributes)
{
    if (ABSENT(x, dy) || !alike(a, "clamp_backward", value_shape(a, x), value_shape(a, dy)))
        return NO_VALUE;
    return graph_emit(a, OP_CLAMP_BACKWARD, value_shape(a, x), DTYPE_F32, 2, (value[]){x, dy},
                      &(op_attributes){.clamp = *attributes});
}

void reference_clamp_backward(const op_call *c)
{
    const clamp_attributes *p = &c->node->attributes.clamp;
    const float *x = c->input[0], *dy = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] < p->low || x[i] > p->high ? 0 : dy[i];
}
