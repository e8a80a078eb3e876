/* permute.c - axes in another order, and what is made of it: pixel shuffle and unshuffle (Shi et al. 2016), which move
 * channels to places and back. */
#include "ops/op.h"

value op_permute(at a, value x, const int *axes)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x), Y = {.rank = X.rank};
    op_attributes attributes = {.permute = {{0}}};
    unsigned seen = 0;
    for (int i = 0; i < X.rank; i++) {
        if (axes[i] < 0 || axes[i] >= X.rank || seen >> axes[i] & 1)
            return graph_fail(a, "permute: axis %d of the result cannot be axis %d of %d", i, axes[i],
                              X.rank);
        seen |= 1u << axes[i];
        Y.dim[i] = X.dim[axes[i]];
        attributes.permute.axis[i] = axes[i];
    }
    return graph_emit(a, OP_PERMUTE, Y, DTYPE_F32, 1, &x, &attributes);
}

void reference_permute(const op_call *c)
{
    const int *axis = c->node->attributes.permute.axis;
    shape X = c->input_shape[0], Y = c->shape;
    int64_t stride[SHAPE_MAX_RANK] = {0}, index[SHAPE_MAX_RANK] = {0};
    for (int i = 0; i < Y.rank; i++)
        stride[i] = op_inner(X, axis[i]);
    for (int64_t k = 0, n = shape_count(Y); k < n; k++) {
        int64_t from = 0;
        for (int i = 0; i < Y.rank; i++)
            from += index[i] * stride[i];
        c->output[k] = ((const float *)c->input[0])[from];
        for (int i = Y.rank - 1; i >= 0 && ++index[i] == Y.dim[i]; i--)
            index[i] = 0;
    }
}

void gradient_permute(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    (void)wanted;
    int back[SHAPE_MAX_RANK];
    for (int i = 0; i < n->shape.rank; i++)
        back[n->attributes.permute.axis[i]] = i;
    dx[0] = op_permute(a, dy, back);
}

value op_pixel_shuffle(at a, value x, int factor)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT];
    int64_t f = factor;
    if (X.rank != 4 || factor < 1 || factor > 64 || X.dim[3] % (f * f))
        return graph_fail(a, "pixel_shuffle by %d does not fit %s", factor, shape_text(X, text));
    if (factor == 1)
        return x;
    int64_t C = X.dim[3] / (f * f);
    x = op_reshape(a, x, (shape){6, {X.dim[0], X.dim[1], X.dim[2], C, f, f}});
    x = op_permute(a, x, (const int[]){0, 1, 4, 2, 5, 3});
    return op_reshape(a, x, SHAPE4(X.dim[0], X.dim[1] * f, X.dim[2] * f, C));
}

value op_pixel_unshuffle(at a, value x, int factor)
{
    if (ABSENT(x))
        return NO_VALUE;
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT];
    int64_t f = factor;
    if (X.rank != 4 || factor < 1 || factor > 64 || X.dim[1] % f || X.dim[2] % f)
        return graph_fail(a, "pixel_unshuffle by %d does not fit %s", factor, shape_text(X, text));
    if (factor == 1)
        return x;
    x = op_reshape(a, x, (shape){6, {X.dim[0], X.dim[1] / f, f, X.dim[2] / f, f, X.dim[3]}});
    x = op_permute(a, x, (const int[]){0, 1, 3, 5, 2, 4});
    return op_reshape(a, x, SHAPE4(X.dim[0], X.dim[1] / f, X.dim[2] / f, X.dim[3] * f * f));
}
