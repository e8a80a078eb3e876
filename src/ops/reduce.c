/* reduce.c - constants and sums: fill, sum_rows, sum_positions, mean; and exp, whose gradient is its own result. */
#include "ops/op.h"

#include <math.h>

value op_fill(at a, shape s, float number)
{
    return graph_emit(a, OP_FILL, s, DTYPE_F32, 0, NULL, &(op_attributes){.fill = {number}});
}

void reference_fill(const op_call *c)
{
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = c->node->attributes.fill.number;
}

value op_exp(at a, value x)
{
    return ABSENT(x) ? NO_VALUE : graph_emit(a, OP_EXP, value_shape(a, x), DTYPE_F32, 1, &x, NULL);
}

void reference_exp(const op_call *c)
{
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = (float)exp((double)((const float *)c->input[0])[i]);
}

void gradient_exp(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)n;
    (void)wanted;
    dx[0] = op_multiply(a, dy, self);
}

value op_sum_rows(at a, value x)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    if (X.rank < 1)
        return graph_fail(a, "sum_rows wants [...,C], got a single number");
    return graph_emit(a, OP_SUM_ROWS, SHAPE1(op_last(X)), DTYPE_F32, 1, &x, NULL);
}

value op_sum_positions(at a, value x)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT];
    if (X.rank < 2)
        return graph_fail(a, "sum_positions wants [N,...,C], got %s", shape_text(X, text));
    return graph_emit(a, OP_SUM_POSITIONS, SHAPE2(X.dim[0], op_last(X)), DTYPE_F32, 1, &x, NULL);
}

/* For each of `samples`: the sum of its rows of C. */
static void sum_of_rows(const op_call *c, int64_t samples)
{
    int64_t C = op_last(c->input_shape[0]), rows = op_rows(c->input_shape[0]) / samples;
    const float *x = c->input[0];
    for (int64_t n = 0; n < samples; n++)
        for (int64_t k = 0; k < C; k++) {
            double sum = 0;
            for (int64_t i = 0; i < rows; i++)
                sum += x[(n * rows + i) * C + k];
            c->output[n * C + k] = (float)sum;
        }
}

void reference_sum_rows(const op_call *c)
{
    sum_of_rows(c, 1);
}

void reference_sum_positions(const op_call *c)
{
    sum_of_rows(c, c->shape.dim[0]);
}

/* dy [samples,C], the same for every row of a sample, is zeros plus dy. */
static value spread_rows(at a, value dy, int64_t samples, shape x)
{
    int64_t C = op_last(x);
    value zeros = op_fill(a, SHAPE3(samples, op_rows(x) / samples, C), 0);
    return op_reshape(a, op_add_channels(a, zeros, op_reshape(a, dy, SHAPE2(samples, C))), x);
}

void gradient_sum_rows(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = spread_rows(a, dy, 1, value_shape(a, n->input[0]));
}

void gradient_sum_positions(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = spread_rows(a, dy, n->shape.dim[0], value_shape(a, n->input[0]));
}

value op_mean(at a, value x)
{
    return ABSENT(x) ? NO_VALUE : graph_emit(a, OP_MEAN, SHAPE1(1), DTYPE_F32, 1, &x, NULL);
}

void reference_mean(const op_call *c)
{
    double sum = 0;
    int64_t n = shape_count(c->input_shape[0]);
    for (int64_t i = 0; i < n; i++)
        sum += ((const float *)c->input[0])[i];
    c->output[0] = (float)(sum / (double)n);
}

void gradient_mean(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    dx[0] = op_mean_backward(a, dy, value_shape(a, n->input[0]));
}

value op_mean_backward(at a, value dy, shape x)
{
    if (ABSENT(dy))
        return NO_VALUE;
    char text[SHAPE_TEXT];
    if (shape_count(value_shape(a, dy)) != 1)
        return graph_fail(a, "mean_backward wants one number, got %s", shape_text(value_shape(a, dy), text));
    return graph_emit(a, OP_MEAN_BACKWARD, x, DTYPE_F32, 1, &dy, NULL);
}

void reference_mean_backward(const op_call *c)
{
    int64_t n = shape_count(c->shape);
    for (int64_t i = 0; i < n; i++)
        c->output[i] = (float)((double)((const float *)c->input[0])[0] / (double)n);
}

double flops_reduction(const graph *g, const node *n)
{
    return (double)shape_count(graph_node(g, n->input[0])->shape);
}
