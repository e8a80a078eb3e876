/* group_norm_backward.c - the gradients of group norm. y = act(u * w + b) with u = (x - mean) * scale, by sample and group;
 * with g = dy * act'(u * w + b):
 *
 *   sums       S[n][c] = sum over positions of g,   P[n][c] = sum over positions of g * u
 *   by data    dx = (g * w - mean(g * w) - u * mean(g * w * u)) * scale     means over the group: from S and P
 *   by weight  dw[c] = sum over samples of P,   by bias  db[c] = sum over samples of S */
#include "ops/op.h"

static bool fits(at a, const group_norm_values *v, const norm_attributes *attributes)
{
    if (ABSENT(v->x, v->weight, v->bias, v->dy, v->statistics))
        return false;
    shape X = value_shape(a, v->x), S = value_shape(a, v->statistics);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank < 2 || !shape_equal(X, value_shape(a, v->dy)))
        graph_fail(a, "group_norm_backward: x is %s, dy is %s", shape_text(X, text),
                   shape_text(value_shape(a, v->dy), other));
    else if (shape_count(value_shape(a, v->weight)) != op_last(X) ||
             shape_count(value_shape(a, v->bias)) != op_last(X))
        graph_fail(a, "group_norm_backward: %lld channels, but %lld weights and %lld biases",
                   (long long)op_last(X), (long long)shape_count(value_shape(a, v->weight)),
                   (long long)shape_count(value_shape(a, v->bias)));
    else if (attributes->groups < 1 || op_last(X) % attributes->groups ||
             !shape_equal(S, SHAPE3(X.dim[0], attributes->groups, 2)))
        graph_fail(a, "group_norm_backward: x is %s in %d groups, the statistics are %s", shape_text(X, text),
                   attributes->groups, shape_text(S, other));
    return !graph_failed(a);
}

value op_group_norm_backward_sums(at a, const group_norm_values *v, const norm_attributes *attributes)
{
    if (!fits(a, v, attributes))
        return NO_VALUE;
    shape X = value_shape(a, v->x);
    return graph_emit(a, OP_GROUP_NORM_BACKWARD_SUMS, SHAPE3(X.dim[0], 2, op_last(X)), DTYPE_F32, 5,
                      (value[]){v->x, v->weight, v->dy, v->bias, v->statistics},
                      &(op_attributes){.norm = *attributes});
}

value op_group_norm_backward_data(at a, const group_norm_values *v, value sums,
                                  const norm_attributes *attributes)
{
    if (ABSENT(sums) || !fits(a, v, attributes))
        return NO_VALUE;
    shape X = value_shape(a, v->x);
    char text[SHAPE_TEXT];
    if (!shape_equal(value_shape(a, sums), SHAPE3(X.dim[0], 2, op_last(X))))
        return graph_fail(a, "group_norm_backward: x is %s, but there are %lld sums", shape_text(X, text),
                          (long long)shape_count(value_shape(a, sums)));
    return graph_emit(a, OP_GROUP_NORM_BACKWARD_DATA, X, DTYPE_F32, 6,
                      (value[]){v->x, v->weight, v->dy, v->bias, v->statistics, sums},
                      &(op_attributes){.norm = *attributes});
}

value op_group_norm_backward_share(at a, value sums, int part, shape to)
{
    if (ABSENT(sums))
        return NO_VALUE;
    shape S = value_shape(a, sums);
    char text[SHAPE_TEXT];
    if (S.rank != 3 || S.dim[1] != 2 || part < 0 || part > 1 || shape_count(to) != S.dim[2])
        return graph_fail(a, "group_norm_backward: no share %d of %lld channels in sums %s", part,
                          (long long)shape_count(to), shape_text(S, text));
    return graph_emit(a, OP_GROUP_NORM_BACKWARD_SHARE, to, DTYPE_F32, 1, &sums,
                      &(op_attributes){.slice = {.axis = 1, .start = part}});
}

/* The inputs of sums and data, at one sample and channel. */
typedef struct channel {
    const float *x, *dy; /* `positions` numbers, `stride` apart */
    int64_t positions, stride;
    double weight, bias, mean, scale;
    activation_kind activation;
} channel;

static channel channel_of(const op_call *c, int64_t n, int64_t k)
{
    shape X = c->input_shape[0];
    const norm_attributes *p = &c->node->attributes.norm;
    int64_t C = op_last(X), positions = op_rows(X) / X.dim[0], first = n * positions * C + k;
    const float *statistics = (const float *)c->input[4] + (n * p->groups + k / (C / p->groups)) * 2;
    return (channel){.x = (const float *)c->input[0] + first,
                     .dy = (const float *)c->input[2] + first,
                     .positions = positions,
                     .stride = C,
                     .weight = (double)((const float *)c->input[1])[k],
                     .bias = (double)((const float *)c->input[3])[k],
                     .mean = (double)statistics[0],
                     .scale = (double)statistics[1],
                     .activation = p->activation};
}

/* u and g at one position. */
static double at_position(const channel *c, int64_t i, double *u)
{
    *u = ((double)c->x[i * c->stride] - c->mean) * c->scale;
    double dy = (double)c->dy[i * c->stride];
    return c->activation == ACTIVATION_NONE
               ? dy
               : dy * activation_slope(c->activation, *u * c->weight + c->bias, 0);
}

void reference_group_norm_backward_sums(const op_call *c)
{
    int64_t C = c->shape.dim[2];
    for (int64_t n = 0; n < c->shape.dim[0]; n++)
        for (int64_t k = 0; k < C; k++) {
            channel from = channel_of(c, n, k);
            double sum = 0, product = 0, u;
            for (int64_t i = 0; i < from.positions; i++) {
                double g = at_position(&from, i, &u);
                sum += g;
                product += g * u;
            }
            c->output[2 * n * C + k] = (float)sum;
            c->output[(2 * n + 1) * C + k] = (float)product;
        }
}

/* The means of g * w and of g * w * u over a group. */
static void group_means(const op_call *c, int64_t n, int64_t g, double *mean, double *product)
{
    int64_t C = op_last(c->shape), width = C / c->node->attributes.norm.groups;
    const float *w = c->input[1], *sums = (const float *)c->input[5] + 2 * n * C;
    int64_t elements = op_rows(c->shape) / c->shape.dim[0] * width;
    double count = (double)elements;
    *mean = *product = 0;
    for (int64_t k = g * width; k < (g + 1) * width; k++) {
        *mean += (double)sums[k] * w[k] / count;
        *product += (double)sums[C + k] * w[k] / count;
    }
}

/* Input 6, put there by fusion, is another share of the gradient, which is added. */
void reference_group_norm_backward_data(const op_call *c)
{
    int64_t C = op_last(c->shape), width = C / c->node->attributes.norm.groups;
    const float *added = c->input[6];
    for (int64_t n = 0; n < c->shape.dim[0]; n++)
        for (int64_t k = 0; k < C; k++) {
            channel from = channel_of(c, n, k);
            double mean, product, u;
            group_means(c, n, k / width, &mean, &product);
            for (int64_t i = 0; i < from.positions; i++) {
                double g = at_position(&from, i, &u) * from.weight;
                int64_t at_element = (n * from.positions + i) * C + k;
                c->output[at_element] =
                    (float)((g - mean - u * product) * from.scale + (added ? (double)added[at_element] : 0));
            }
        }
}

void reference_group_norm_backward_share(const op_call *c)
{
    int64_t C = c->input_shape[0].dim[2], part = c->node->attributes.slice.start;
    for (int64_t k = 0; k < C; k++) {
        double sum = 0;
        for (int64_t n = 0; n < c->input_shape[0].dim[0]; n++)
            sum += (double)((const float *)c->input[0])[(2 * n + part) * C + k];
        c->output[k] = (float)sum;
    }
}
