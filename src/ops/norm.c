/* norm.c - group norm (Wu & He 2018) and layer norm (Ba et al. 2016): y = act((x - mean) / sqrt(variance + eps) * w + b).
 *
 * Group norm takes mean and variance over all positions of a sample and the channels of a group; layer norm over the
 * last dimension. Variance is the mean of squares (no Bessel correction). Group norm's input 3, put there by fusion,
 * is a shift [N,C] added to x before anything else (a ResNet's time embedding). */
#include "ops/op.h"

#include <math.h>

static value norm(at a, op_kind op, value x, value weight, value bias, norm_attributes attributes)
{
    if (ABSENT(x, weight, bias))
        return NO_VALUE;
    shape X = value_shape(a, x), W = value_shape(a, weight), B = value_shape(a, bias);
    if (X.rank < 2 || shape_count(W) != op_last(X) || shape_count(B) != op_last(X))
        return graph_fail(a, "norm: %lld channels, but %lld weights and %lld biases", (long long)op_last(X),
                          (long long)shape_count(W), (long long)shape_count(B));
    return graph_emit(a, op, X, DTYPE_F32, 3, (value[]){x, weight, bias},
                      &(op_attributes){.norm = attributes});
}

value op_group_norm(at a, value x, value weight, value bias, int groups, float epsilon)
{
    int64_t channels = value_channels(a, x);
    if (x.index && (groups < 1 || channels % groups))
        return graph_fail(a, "group_norm: %lld channels cannot be split into %d groups", (long long)channels,
                          groups);
    return norm(a, OP_GROUP_NORM, x, weight, bias, (norm_attributes){.groups = groups, .epsilon = epsilon});
}

value op_layer_norm(at a, value x, value weight, value bias, float epsilon)
{
    return norm(a, OP_LAYER_NORM, x, weight, bias, (norm_attributes){.groups = 1, .epsilon = epsilon});
}

/* One group of one sample: `positions` rows of `width` channels, `stride` channels apart, the first being channel
 * `first` (for its weight). */
static void normalise(const op_call *c, const float *x, const float *shift, float *y, int64_t positions,
                      int64_t width, int64_t stride, const float *w, const float *b)
{
    const norm_attributes *p = &c->node->attributes.norm;
    double sum = 0, squares = 0, count = (double)(positions * width);
    for (int64_t i = 0; i < positions; i++)
        for (int64_t k = 0; k < width; k++)
            sum += (double)x[i * stride + k] + (shift ? shift[k] : 0);
    double mean = sum / count;
    for (int64_t i = 0; i < positions; i++)
        for (int64_t k = 0; k < width; k++) {
            double d = (double)x[i * stride + k] + (shift ? shift[k] : 0) - mean;
            squares += d * d;
        }
    double scale = 1 / sqrt(squares / count + (double)p->epsilon);
    for (int64_t i = 0; i < positions; i++)
        for (int64_t k = 0; k < width; k++) {
            double v = ((double)x[i * stride + k] + (shift ? shift[k] : 0) - mean) * scale * w[k] + b[k];
            y[i * stride + k] = (float)activation_apply(p->activation, v, 0);
        }
}

void reference_group_norm(const op_call *c)
{
    int64_t N = c->shape.dim[0], C = op_last(c->shape), positions = op_rows(c->shape) / N;
    int64_t groups = c->node->attributes.norm.groups, width = C / groups;
    const float *x = c->input[0], *w = c->input[1], *b = c->input[2], *shift = c->input[3];
    for (int64_t n = 0; n < N; n++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t first = n * positions * C + g * width;
            normalise(c, x + first, shift ? shift + n * C + g * width : NULL, c->output + first, positions,
                      width, C, w + g * width, b + g * width);
        }
}

void reference_layer_norm(const op_call *c)
{
    int64_t rows = op_rows(c->shape), C = op_last(c->shape);
    for (int64_t i = 0; i < rows; i++)
        normalise(c, (const float *)c->input[0] + i * C, NULL, c->output + i * C, 1, C, C, c->input[1],
                  c->input[2]);
}

/* What both norms refuse, and the bias. */
static bool norm_bias_gradient(at a, const node *n, value dy, const bool *wanted, value *dx)
{
    if (n->attributes.norm.activation != ACTIVATION_NONE || n->input_count > 3) {
        graph_fail(a, "norm: a fused node has no gradient");
        return false;
    }
    if (wanted[2])
        dx[2] = op_sum_rows(a, dy);
    return true;
}

void gradient_group_norm(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    const norm_attributes *p = &n->attributes.norm;
    if (!norm_bias_gradient(a, n, dy, wanted, dx))
        return;
    if (wanted[0])
        dx[0] = op_group_norm_backward_data(a, n->input[0], n->input[1], dy, p);
    if (wanted[1])
        dx[1] = op_group_norm_backward_weight(a, n->input[0], dy, value_shape(a, n->input[1]), p);
}

void gradient_layer_norm(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    const norm_attributes *p = &n->attributes.norm;
    if (!norm_bias_gradient(a, n, dy, wanted, dx))
        return;
    if (wanted[0])
        dx[0] = op_layer_norm_backward_data(a, n->input[0], n->input[1], dy, p);
    if (wanted[1])
        dx[1] = op_layer_norm_backward_weight(a, n->input[0], dy, value_shape(a, n->input[1]), p);
}
