/* layout_backward.c - the gradients of ops that move elements: a slice gives zeros around dy, an enlargement gives sums
 * of its copies, a look-up gives sums of the rows that were read. (Concat gives slices, reshape a reshape.) */
#include "ops/op.h"

#include <string.h>

value op_slice_backward(at a, value dy, shape x, const slice_attributes *attributes)
{
    if (ABSENT(dy))
        return NO_VALUE;
    shape Y = value_shape(a, dy);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    int axis = attributes->axis;
    bool fits = x.rank == Y.rank && axis >= 0 && axis < x.rank && attributes->start >= 0 &&
                attributes->start <= x.dim[axis] - Y.dim[axis];
    for (int d = 0; fits && d < x.rank; d++)
        fits = d == axis || x.dim[d] == Y.dim[d];
    if (!fits)
        return graph_fail(a, "slice_backward: %s is no slice of %s", shape_text(Y, text),
                          shape_text(x, other));
    return graph_emit(a, OP_SLICE_BACKWARD, x, DTYPE_F32, 1, &dy, &(op_attributes){.slice = *attributes});
}

void reference_slice_backward(const op_call *c)
{
    const slice_attributes *p = &c->node->attributes.slice;
    int64_t outer = op_outer(c->shape, p->axis), inner = op_inner(c->shape, p->axis);
    int64_t part = c->input_shape[0].dim[p->axis] * inner, row = c->shape.dim[p->axis] * inner;
    memset(c->output, 0, (size_t)shape_count(c->shape) * sizeof(float));
    for (int64_t i = 0; i < outer; i++)
        memcpy(c->output + i * row + p->start * inner, (const float *)c->input[0] + i * part,
               (size_t)part * sizeof(float));
}

value op_upsample_backward(at a, value dy, int factor)
{
    if (ABSENT(dy))
        return NO_VALUE;
    shape X = value_shape(a, dy);
    char text[SHAPE_TEXT];
    if (X.rank != 4 || factor < 1 || X.dim[1] % factor || X.dim[2] % factor)
        return graph_fail(a, "upsample_backward: %s was not enlarged by %d", shape_text(X, text), factor);
    X.dim[1] /= factor;
    X.dim[2] /= factor;
    return graph_emit(a, OP_UPSAMPLE_BACKWARD, X, DTYPE_F32, 1, &dy, &(op_attributes){.upsample = {factor}});
}

void reference_upsample_backward(const op_call *c)
{
    shape X = c->shape;
    int64_t f = c->node->attributes.upsample.factor, width = X.dim[2] * f, C = X.dim[3];
    float *dx = c->output;
    for (int64_t row = 0; row < X.dim[0] * X.dim[1]; row++)
        for (int64_t column = 0; column < X.dim[2]; column++)
            for (int64_t k = 0; k < C; k++) {
                double sum = 0;
                for (int64_t i = 0; i < f; i++)
                    for (int64_t j = 0; j < f; j++)
                        sum += ((const float *)c->input[0])[((row * f + i) * width + column * f + j) * C + k];
                *dx++ = (float)sum;
            }
}

value op_embedding_backward(at a, value ids, value dy, int64_t rows)
{
    if (ABSENT(ids, dy))
        return NO_VALUE;
    shape I = value_shape(a, ids), Y = value_shape(a, dy);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (shape_count(I) != op_rows(Y) || graph_node(a.graph, ids)->type != DTYPE_I32)
        return graph_fail(a, "embedding_backward: ids %s and dy %s do not fit", shape_text(I, text),
                          shape_text(Y, other));
    return graph_emit(a, OP_EMBEDDING_BACKWARD, SHAPE2(rows, op_last(Y)), DTYPE_F32, 2, (value[]){ids, dy},
                      NULL);
}

/* The first place where an id occurs writes the sum of them all: few ids, many rows, and sums in double. */
void reference_embedding_backward(const op_call *c)
{
    int64_t V = c->shape.dim[0], C = c->shape.dim[1], count = op_rows(c->input_shape[1]);
    const int32_t *ids = c->input[0];
    const float *dy = c->input[1];
    memset(c->output, 0, (size_t)(V * C) * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        bool seen = ids[i] < 0 || ids[i] >= V;
        for (int64_t j = 0; j < i && !seen; j++)
            seen = ids[j] == ids[i];
        for (int64_t k = 0; k < C && !seen; k++) {
            double sum = 0;
            for (int64_t j = i; j < count; j++)
                sum += ids[j] == ids[i] ? (double)dy[j * C + k] : 0;
            c->output[ids[i] * C + k] = (float)sum;
        }
    }
}

value op_gather_tokens_backward(at a, value index, value dy, int64_t tokens)
{
    if (ABSENT(index, dy))
        return NO_VALUE;
    shape I = value_shape(a, index), Y = value_shape(a, dy);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (I.rank != 1 || Y.rank != 2 || I.dim[0] != Y.dim[0] || graph_node(a.graph, index)->type != DTYPE_I32)
        return graph_fail(a, "gather_tokens_backward: the indices %s do not fit %s", shape_text(I, text),
                          shape_text(Y, other));
    return graph_emit(a, OP_GATHER_TOKENS_BACKWARD, SHAPE3(Y.dim[0], tokens, Y.dim[1]), DTYPE_F32, 2,
                      (value[]){index, dy}, NULL);
}

void reference_gather_tokens_backward(const op_call *c)
{
    shape X = c->shape;
    const int32_t *index = c->input[0];
    memset(c->output, 0, (size_t)shape_count(X) * sizeof(float));
    for (int64_t n = 0; n < X.dim[0]; n++) {
        int64_t t = index[n] < 0 ? 0 : index[n] >= X.dim[1] ? X.dim[1] - 1 : index[n];
        memcpy(c->output + (n * X.dim[1] + t) * X.dim[2], (const float *)c->input[1] + n * X.dim[2],
               (size_t)X.dim[2] * sizeof(float));
    }
}
