/* loss_absolute.c - the mean of absolute differences ("L1"), and its gradient. */
#include "ops/op.h"

#include <math.h>

static bool shapes_agree(at a, value prediction, value target)
{
    shape P = value_shape(a, prediction), T = value_shape(a, target);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (!shape_equal(P, T) || P.rank < 1)
        graph_fail(a, "mean_absolute_error: the prediction is %s, the target %s", shape_text(P, text),
                   shape_text(T, other));
    return !graph_failed(a);
}

value op_mean_absolute_error(at a, value prediction, value target)
{
    if (ABSENT(prediction, target) || !shapes_agree(a, prediction, target))
        return NO_VALUE;
    return graph_emit(a, OP_MEAN_ABSOLUTE_ERROR, SHAPE1(1), DTYPE_F32, 2, (value[]){prediction, target},
                      NULL);
}

void reference_mean_absolute_error(const op_call *c)
{
    int64_t count = shape_count(c->input_shape[0]);
    const float *p = c->input[0], *t = c->input[1];
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += fabs((double)p[i] - t[i]);
    c->output[0] = (float)(sum / (double)count);
}

void gradient_mean_absolute_error(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    value d = op_mean_absolute_error_backward(a, n->input[0], n->input[1], dy);
    if (wanted[0])
        dx[0] = d;
    if (wanted[1])
        dx[1] = op_scale(a, d, -1, 0);
}

value op_mean_absolute_error_backward(at a, value prediction, value target, value dy)
{
    if (ABSENT(prediction, target, dy) || !shapes_agree(a, prediction, target))
        return NO_VALUE;
    char text[SHAPE_TEXT];
    if (shape_count(value_shape(a, dy)) != 1)
        return graph_fail(a, "mean_absolute_error_backward wants one number, got %s",
                          shape_text(value_shape(a, dy), text));
    return graph_emit(a, OP_MEAN_ABSOLUTE_ERROR_BACKWARD, value_shape(a, prediction), DTYPE_F32, 3,
                      (value[]){prediction, target, dy}, NULL);
}

void reference_mean_absolute_error_backward(const op_call *c)
{
    int64_t count = shape_count(c->shape);
    const float *p = c->input[0], *t = c->input[1];
    float step = (float)((double)((const float *)c->input[2])[0] / (double)count);
    for (int64_t i = 0; i < count; i++)
        c->output[i] = p[i] > t[i] ? step : p[i] < t[i] ? -step : 0;
}
