/* norm_backward.c - the gradients of group norm and layer norm. With the mean and the variance of a group of `count`
 * numbers computed again, u = (x - mean) / sqrt(variance + eps) and g = dy * w:
 *
 *   by data    dx = (g - mean(g) - u * mean(g * u)) / sqrt(variance + eps)     means over the group
 *   by weight  dw[c] = sum over samples and positions of dy * u
 *   by bias    db[c] = sum over samples and positions of dy, which is sum_rows */
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

value op_group_norm_backward_data(at a, value x, value weight, value dy, const norm_attributes *attributes)
{
    return ABSENT(weight)
               ? NO_VALUE
               : backward(a, OP_GROUP_NORM_BACKWARD_DATA, value_shape(a, x), x, weight, dy, attributes);
}

value op_layer_norm_backward_data(at a, value x, value weight, value dy, const norm_attributes *attributes)
{
    return ABSENT(weight)
               ? NO_VALUE
               : backward(a, OP_LAYER_NORM_BACKWARD_DATA, value_shape(a, x), x, weight, dy, attributes);
}

value op_group_norm_backward_weight(at a, value x, value dy, shape weight, const norm_attributes *attributes)
{
    return backward(a, OP_GROUP_NORM_BACKWARD_WEIGHT, weight, x, NO_VALUE, dy, attributes);
}

value op_layer_norm_backward_weight(at a, value x, value dy, shape weight, const norm_attributes *attributes)
{
    return backward(a, OP_LAYER_NORM_BACKWARD_WEIGHT, weight, x, NO_VALUE, dy, attributes);
}

/* What is normalised together: `positions` rows of `width` channels, `stride` apart. */
typedef struct block {
    int64_t positions, width, stride;
    double mean, scale; /* scale: 1 / sqrt(variance + eps) */
} block;

static void measure(block *b, const float *x, double epsilon)
{
    double sum = 0, squares = 0, count = (double)(b->positions * b->width);
    for (int64_t i = 0; i < b->positions; i++)
        for (int64_t k = 0; k < b->width; k++)
            sum += x[i * b->stride + k];
    b->mean = sum / count;
    for (int64_t i = 0; i < b->positions; i++)
        for (int64_t k = 0; k < b->width; k++) {
            double d = (double)x[i * b->stride + k] - b->mean;
            squares += d * d;
        }
    b->scale = 1 / sqrt(squares / count + epsilon);
}

static void block_data(block b, const float *x, const float *dy, const float *w, float *dx, double epsilon)
{
    double sum = 0, product = 0, count = (double)(b.positions * b.width);
    measure(&b, x, epsilon);
    for (int64_t i = 0; i < b.positions; i++)
        for (int64_t k = 0; k < b.width; k++) {
            double g = (double)dy[i * b.stride + k] * w[k];
            sum += g;
            product += g * ((double)x[i * b.stride + k] - b.mean) * b.scale;
        }
    for (int64_t i = 0; i < b.positions; i++)
        for (int64_t k = 0; k < b.width; k++) {
            double u = ((double)x[i * b.stride + k] - b.mean) * b.scale;
            double g = (double)dy[i * b.stride + k] * w[k];
            dx[i * b.stride + k] = (float)((g - sum / count - u * product / count) * b.scale);
        }
}

static void block_weight(block b, const float *x, const float *dy, double *dw, double epsilon)
{
    measure(&b, x, epsilon);
    for (int64_t i = 0; i < b.positions; i++)
        for (int64_t k = 0; k < b.width; k++)
            dw[k] += (double)dy[i * b.stride + k] * ((double)x[i * b.stride + k] - b.mean) * b.scale;
}

/* Both ops over blocks: `samples` times `groups` of them, each `sample` elements or `width` channels apart. */
static void data_of_blocks(const op_call *c, int64_t samples, int64_t groups)
{
    int64_t C = op_last(c->shape), rows = op_rows(c->shape) / samples;
    block b = {.positions = rows, .width = C / groups, .stride = C};
    double epsilon = (double)c->node->attributes.norm.epsilon;
    const float *x = c->input[0], *w = c->input[1], *dy = c->input[2];
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t first = n * rows * C + g * b.width;
            block_data(b, x + first, dy + first, w + g * b.width, c->output + first, epsilon);
        }
}

static void weight_of_blocks(const op_call *c, int64_t samples, int64_t groups)
{
    int64_t C = op_last(c->input_shape[0]), rows = op_rows(c->input_shape[0]) / samples;
    block b = {.positions = rows, .width = C / groups, .stride = C};
    double epsilon = (double)c->node->attributes.norm.epsilon, *dw = calloc((size_t)C, sizeof *dw);
    if (!dw) {
        op_no_memory(c);
        return;
    }
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t first = n * rows * C + g * b.width;
            block_weight(b, (const float *)c->input[0] + first, (const float *)c->input[1] + first,
                         dw + g * b.width, epsilon);
        }
    for (int64_t k = 0; k < C; k++)
        c->output[k] = (float)dw[k];
    free(dw);
}

void reference_group_norm_backward_data(const op_call *c)
{
    data_of_blocks(c, c->shape.dim[0], c->node->attributes.norm.groups);
}

void reference_layer_norm_backward_data(const op_call *c)
{
    data_of_blocks(c, op_rows(c->shape), 1);
}

void reference_group_norm_backward_weight(const op_call *c)
{
    weight_of_blocks(c, c->input_shape[0].dim[0], c->node->attributes.norm.groups);
}

void reference_layer_norm_backward_weight(const op_call *c)
{
    weight_of_blocks(c, op_rows(c->input_shape[0]), 1);
}
