/* lookup.c - token embedding, time embedding, and picking one token of a sequence. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

value op_embedding(at a, value ids, value table)
{
    if (ABSENT(ids, table))
        return NO_VALUE;
    shape I = value_shape(a, ids), V = value_shape(a, table);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (I.rank < 1 || I.rank >= SHAPE_MAX_RANK || V.rank != 2 || graph_node(a.graph, ids)->type != DTYPE_I32)
        return graph_fail(a, "embedding wants integer ids and a table [V,C], got %s and %s",
                          shape_text(I, text), shape_text(V, other));
    I.dim[I.rank++] = V.dim[1];
    return graph_emit(a, OP_EMBEDDING, I, DTYPE_F32, 2, (value[]){ids, table}, NULL);
}

void reference_embedding(const op_call *c)
{
    int64_t C = op_last(c->shape), V = c->input_shape[1].dim[0];
    const int32_t *ids = c->input[0];
    for (int64_t i = 0, n = op_rows(c->shape); i < n; i++)
        if (ids[i] >= 0 && ids[i] < V)
            memcpy(c->output + i * C, (const float *)c->input[1] + ids[i] * C, (size_t)C * sizeof(float));
        else
            memset(c->output + i * C, 0, (size_t)C * sizeof(float));
}

void gradient_embedding(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[1])
        dx[1] = op_embedding_backward(a, n->input[0], dy, value_shape(a, n->input[1]).dim[0]);
}

value op_timestep_embedding(at a, value t, int dim, const timestep_attributes *attributes)
{
    if (ABSENT(t))
        return NO_VALUE;
    shape T = value_shape(a, t);
    if (T.rank != 1 || dim < 2)
        return graph_fail(a, "timestep_embedding wants [N] times and a width of at least 2, got %d", dim);
    return graph_emit(a, OP_TIMESTEP_EMBEDDING, SHAPE2(T.dim[0], dim), DTYPE_F32, 1, &t,
                      &(op_attributes){.timestep = *attributes});
}

/* The frequencies are computed in f32, step by step as the references do: at t near 1000 a relative error of 1e-7 in
 * the angle is 1e-4 in the result, so rounding here has to agree. */
void reference_timestep_embedding(const op_call *c)
{
    const timestep_attributes *p = &c->node->attributes.timestep;
    int64_t dim = op_last(c->shape), half = dim / 2;
    const float *t = c->input[0];
    for (int64_t n = 0; n < c->shape.dim[0]; n++) {
        float *y = c->output + n * dim;
        for (int64_t i = 0; i < half; i++) {
            float exponent =
                (float)(-log((double)p->max_period)) * (float)i / ((float)half - p->frequency_shift);
            float angle = t[n] * expf(exponent);
            y[i + (p->cosine_first ? half : 0)] = (float)sin((double)angle);
            y[i + (p->cosine_first ? 0 : half)] = (float)cos((double)angle);
        }
        if (dim % 2)
            y[dim - 1] = 0;
    }
}

value op_gather_tokens(at a, value x, value index)
{
    if (ABSENT(x, index))
        return NO_VALUE;
    shape X = value_shape(a, x), I = value_shape(a, index);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank != 3 || I.rank != 1 || I.dim[0] != X.dim[0] || graph_node(a.graph, index)->type != DTYPE_I32)
        return graph_fail(a, "gather_tokens: the indices %s do not fit %s", shape_text(I, text),
                          shape_text(X, other));
    return graph_emit(a, OP_GATHER_TOKENS, SHAPE2(X.dim[0], X.dim[2]), DTYPE_F32, 2, (value[]){x, index},
                      NULL);
}

void reference_gather_tokens(const op_call *c)
{
    shape X = c->input_shape[0];
    const int32_t *index = c->input[1];
    for (int64_t n = 0; n < X.dim[0]; n++) {
        int64_t t = index[n] < 0 ? 0 : index[n] >= X.dim[1] ? X.dim[1] - 1 : index[n];
        memcpy(c->output + n * X.dim[2], (const float *)c->input[0] + (n * X.dim[1] + t) * X.dim[2],
               (size_t)X.dim[2] * sizeof(float));
    }
}

void gradient_gather_tokens(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[0])
        dx[0] = op_gather_tokens_backward(a, n->input[1], dy, value_shape(a, n->input[0]).dim[1]);
}
