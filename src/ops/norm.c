/* norm.c - group norm (Wu & He 2018) and layer norm (Ba et al. 2016): y = act((x - mean) / sqrt(variance + eps) * w + b).
 *
 * Group norm takes mean and variance over all positions of a sample and the channels of a group; layer norm over the
 * last dimension. Variance is the mean of squares (no Bessel correction). Group norm's input 3, put there by fusion,
 * is a shift [N,C] added to x before anything else (a ResNet's time embedding). So is input 4: mean and scale of each
 * group, [N,groups,2], which are then not computed again. */
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

/* One group of one sample: `positions` rows of `width` channels, `stride` channels apart. */
typedef struct block {
    const float *x, *shift, *weight, *bias; /* of its first channel; shift may be NULL */
    int64_t positions, width, stride;
} block;

static double shifted(const block *b, int64_t position, int64_t k)
{
    return (double)b->x[position * b->stride + k] + (b->shift ? (double)b->shift[k] : 0);
}

static void measure(const block *b, float epsilon, double *mean, double *scale)
{
    double sum = 0, squares = 0, count = (double)(b->positions * b->width);
    for (int64_t i = 0; i < b->positions; i++)
        for (int64_t k = 0; k < b->width; k++)
            sum += shifted(b, i, k);
    *mean = sum / count;
    for (int64_t i = 0; i < b->positions; i++)
        for (int64_t k = 0; k < b->width; k++) {
            double d = shifted(b, i, k) - *mean;
            squares += d * d;
        }
    *scale = 1 / sqrt(squares / count + (double)epsilon);
}

static void normalise(const block *b, double mean, double scale, activation_kind activation, float *y)
{
    for (int64_t i = 0; i < b->positions; i++)
        for (int64_t k = 0; k < b->width; k++) {
            double v = (shifted(b, i, k) - mean) * scale * b->weight[k] + b->bias[k];
            y[i * b->stride + k] = (float)activation_apply(activation, v, 0);
        }
}

void reference_group_norm(const op_call *c)
{
    const norm_attributes *p = &c->node->attributes.norm;
    int64_t N = c->shape.dim[0], C = op_last(c->shape), positions = op_rows(c->shape) / N;
    int64_t width = C / p->groups;
    const float *x = c->input[0], *shift = c->input[3], *statistics = c->input[4];
    for (int64_t i = 0; i < N * p->groups; i++) {
        int64_t n = i / p->groups, channel = i % p->groups * width, first = n * positions * C + channel;
        block b = {.x = x + first,
                   .shift = shift ? shift + n * C + channel : NULL,
                   .weight = (const float *)c->input[1] + channel,
                   .bias = (const float *)c->input[2] + channel,
                   .positions = positions,
                   .width = width,
                   .stride = C};
        double mean, scale;
        if (statistics) {
            mean = (double)statistics[2 * i];
            scale = (double)statistics[2 * i + 1];
        } else
            measure(&b, p->epsilon, &mean, &scale);
        normalise(&b, mean, scale, p->activation, c->output + first);
    }
}

value op_group_norm_statistics(at a, value x, const norm_attributes *attributes)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    if (X.rank < 2 || attributes->groups < 1 || op_last(X) % attributes->groups)
        return graph_fail(a, "group_norm_statistics: %lld channels cannot be split into %d groups",
                          (long long)op_last(X), attributes->groups);
    return graph_emit(a, OP_GROUP_NORM_STATISTICS, SHAPE3(X.dim[0], attributes->groups, 2), DTYPE_F32, 1, &x,
                      &(op_attributes){.norm = *attributes});
}

void reference_group_norm_statistics(const op_call *c)
{
    const norm_attributes *p = &c->node->attributes.norm;
    shape X = c->input_shape[0];
    int64_t C = op_last(X), positions = op_rows(X) / X.dim[0], width = C / p->groups;
    for (int64_t i = 0; i < X.dim[0] * p->groups; i++) {
        const float *x = (const float *)c->input[0] + i / p->groups * positions * C + i % p->groups * width;
        double mean, scale;
        measure(&(block){.x = x, .positions = positions, .width = width, .stride = C}, p->epsilon, &mean,
                &scale);
        c->output[2 * i] = (float)mean;
        c->output[2 * i + 1] = (float)scale;
    }
}

void reference_layer_norm(const op_call *c)
{
    const norm_attributes *p = &c->node->attributes.norm;
    int64_t rows = op_rows(c->shape), C = op_last(c->shape);
    for (int64_t i = 0; i < rows; i++) {
        block b = {.x = (const float *)c->input[0] + i * C,
                   .weight = c->input[1],
                   .bias = c->input[2],
                   .positions = 1,
                   .width = C,
                   .stride = C};
        double mean, scale;
        measure(&b, p->epsilon, &mean, &scale);
        normalise(&b, mean, scale, p->activation, c->output + i * C);
    }
}

static bool is_fused(at a, const node *n)
{
    if (n->attributes.norm.activation == ACTIVATION_NONE && n->input_count <= 3)
        return false;
    graph_fail(a, "norm: a fused node has no gradient");
    return true;
}

void gradient_group_norm(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    const norm_attributes *p = &n->attributes.norm;
    if (is_fused(a, n))
        return;
    const group_norm_values v = {.x = n->input[0],
                                 .weight = n->input[1],
                                 .bias = n->input[2],
                                 .dy = dy,
                                 .statistics = op_group_norm_statistics(a, n->input[0], p)};
    value sums = op_group_norm_backward_sums(a, &v, p);
    if (wanted[0])
        dx[0] = op_group_norm_backward_data(a, &v, sums, p);
    if (wanted[1])
        dx[1] = op_group_norm_backward_share(a, sums, 1, value_shape(a, n->input[1]));
    if (wanted[2])
        dx[2] = op_group_norm_backward_share(a, sums, 0, value_shape(a, n->input[2]));
}

void gradient_layer_norm(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    const norm_attributes *p = &n->attributes.norm;
    if (is_fused(a, n))
        return;
    if (wanted[0])
        dx[0] = op_layer_norm_backward_data(a, n->input[0], n->input[1], dy, p);
    if (wanted[1])
        dx[1] = op_layer_norm_backward_weight(a, n->input[0], dy, value_shape(a, n->input[1]), p);
    if (wanted[2])
        dx[2] = op_sum_rows(a, dy);
}
