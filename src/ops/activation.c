/* activation.c - element-wise nonlinearities: silu, gelu, quick_gelu, relu and the like; PReLU; GEGLU (Shazeer 2020). */
#include "ops/op.h"

#include <math.h>

double activation_apply(activation_kind kind, double x, float slope)
{
    switch (kind) {
    case ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case ACTIVATION_GELU:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case ACTIVATION_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case ACTIVATION_LEAKY_RELU:
        return x > 0 ? x : x * (double)slope;
    case ACTIVATION_SIGMOID:
        return 1 / (1 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_MISH:
        return x * tanh(x > 40 ? x : log1p(exp(x)));
    case ACTIVATION_NONE:
        return x;
    default:
        return activation_apply_more(kind, x, slope);
    }
}

const char *activation_name(activation_kind kind)
{
    static const char *const names[] = {
#define ACTIVATION_ROW(name, text) text,
        ACTIVATION_MAP(ACTIVATION_ROW)
#undef ACTIVATION_ROW
    };
    return (unsigned)kind < ACTIVATION_COUNT ? names[kind] : "?";
}

bool activation_ends_kernels(activation_kind kind)
{
    return kind <= ACTIVATION_MISH;
}

value op_activation(at a, value x, activation_kind kind, float slope)
{
    if (ABSENT(x))
        return NO_VALUE;
    op_attributes attributes = {.activation = {kind, slope}};
    return graph_emit(a, OP_ACTIVATION, value_shape(a, x), DTYPE_F32, 1, &x, &attributes);
}

value op_silu(at a, value x)
{
    return op_activation(a, x, ACTIVATION_SILU, 0);
}

void reference_activation(const op_call *c)
{
    const activation_attributes *p = &c->node->attributes.activation;
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = (float)activation_apply(p->kind, (double)((const float *)c->input[0])[i], p->slope);
}

void gradient_activation(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_activation_backward(a, n->input[0], dy, &n->attributes.activation);
}

value op_prelu(at a, value x, value slope)
{
    if (ABSENT(x, slope))
        return NO_VALUE;
    int64_t count = shape_count(value_shape(a, slope));
    if (count != value_channels(a, x))
        return graph_fail(a, "prelu: %lld channels, but %lld slopes", (long long)value_channels(a, x),
                          (long long)count);
    return graph_emit(a, OP_PRELU, value_shape(a, x), DTYPE_F32, 2, (value[]){x, slope}, NULL);
}

void reference_prelu(const op_call *c)
{
    int64_t C = op_last(c->shape);
    const float *x = c->input[0], *slope = c->input[1];
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = x[i] >= 0 ? x[i] : x[i] * slope[i % C];
}

void gradient_prelu(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[0])
        dx[0] = op_prelu_backward_data(a, n->input[0], n->input[1], dy);
    if (wanted[1])
        dx[1] = op_prelu_backward_slope(a, n->input[0], dy, value_shape(a, n->input[1]));
}

value op_geglu(at a, value x)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    if (op_last(X) % 2)
        return graph_fail(a, "geglu wants an even number of channels, got %lld", (long long)op_last(X));
    X.dim[X.rank - 1] /= 2;
    return graph_emit(a, OP_GEGLU, X, DTYPE_F32, 1, &x, NULL);
}

void reference_geglu(const op_call *c)
{
    int64_t rows = op_rows(c->shape), C = op_last(c->shape);
    const float *x = c->input[0];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < C; k++)
            c->output[i * C + k] =
                (float)((double)x[i * 2 * C + k] *
                        activation_apply(ACTIVATION_GELU, (double)x[i * 2 * C + C + k], 0));
}

void gradient_geglu(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_geglu_backward(a, n->input[0], dy);
}
