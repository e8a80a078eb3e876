/* attention.c - scaled dot-product attention by heads (Vaswani et al. 2017, eq. 1):
 *
 *   y[n,t,h,:] = sum_s softmax_s( q[n,t,h,:] . k[n,s,h,:] / sqrt(D) ) v[n,s,h,:]
 *
 * q [N,T,heads*D], k [N,S,heads*D], v [N,S,heads*E] -> [N,T,heads*E]; causal: s <= t only. q may also be a feature
 * map [N,H,W,C], read as T = H*W tokens. Backends never hold the T x S scores; this page does, row by row. */
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>

value op_attention(at a, value q, value k, value v, int heads, bool causal)
{
    if (ABSENT(q, k, v))
        return NO_VALUE;
    shape Q = value_shape(a, q), K = value_shape(a, k), V = value_shape(a, v);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (Q.rank != 3 || K.rank != 3 || V.rank != 3)
        return graph_fail(a, "attention wants [N,T,C] values, got q %s and k %s", shape_text(Q, text),
                          shape_text(K, other));
    if (Q.dim[0] != K.dim[0] || Q.dim[2] != K.dim[2] || K.dim[0] != V.dim[0] || K.dim[1] != V.dim[1])
        return graph_fail(a, "attention: q %s does not fit k %s", shape_text(Q, text), shape_text(K, other));
    if (heads < 1 || Q.dim[2] % heads || V.dim[2] % heads)
        return graph_fail(a, "attention: %lld channels cannot be split into %d heads", (long long)Q.dim[2],
                          heads);
    op_attributes attributes = {.attention = {heads, causal}};
    return graph_emit(a, OP_ATTENTION, SHAPE3(Q.dim[0], Q.dim[1], V.dim[2]), DTYPE_F32, 3, (value[]){q, k, v},
                      &attributes);
}

static void attend(const op_call *c, int64_t n, int64_t t, int64_t h, double *score)
{
    int64_t T = c->input_shape[0].dim[1], S = c->input_shape[1].dim[1], C = c->input_shape[0].dim[2];
    int64_t heads = c->node->attributes.attention.heads, D = C / heads, E = op_last(c->shape) / heads;
    const float *q = (const float *)c->input[0] + (n * T + t) * C + h * D;
    int64_t seen = c->node->attributes.attention.causal && t + 1 < S ? t + 1 : S;
    double largest = -INFINITY, sum = 0;
    for (int64_t s = 0; s < seen; s++) {
        const float *k = (const float *)c->input[1] + (n * S + s) * C + h * D;
        score[s] = 0;
        for (int64_t d = 0; d < D; d++)
            score[s] += (double)q[d] * k[d];
        score[s] /= sqrt((double)D);
        largest = fmax(largest, score[s]);
    }
    for (int64_t s = 0; s < seen; s++)
        sum += score[s] = exp(score[s] - largest);
    for (int64_t e = 0; e < E; e++) {
        double y = 0;
        for (int64_t s = 0; s < seen; s++)
            y += score[s] * ((const float *)c->input[2])[(n * S + s) * heads * E + h * E + e];
        c->output[(n * T + t) * heads * E + h * E + e] = (float)(y / sum);
    }
}

void reference_attention(const op_call *c)
{
    double *score = malloc((size_t)c->input_shape[1].dim[1] * sizeof *score);
    if (!score)
        return;
    for (int64_t n = 0; n < c->shape.dim[0]; n++)
        for (int64_t t = 0; t < c->shape.dim[1]; t++)
            for (int64_t h = 0; h < c->node->attributes.attention.heads; h++)
                attend(c, n, t, h, score);
    free(score);
}

void gradient_attention(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    const attention_attributes *p = &n->attributes.attention;
    attention_backward_attributes attributes = {.heads = p->heads, .causal = p->causal};
    for (int i = 0; i < 3; i++)
        attributes.wanted[i] = wanted[i];
    value all = op_attention_backward(a, n->input[0], n->input[1], n->input[2], self, dy, &attributes);
    int64_t start = 0;
    for (int i = 0; i < 3; i++)
        if (wanted[i]) {
            int64_t count = shape_count(value_shape(a, n->input[i]));
            dx[i] = op_slice(a, all, 0, start, count); /* graph_gradient() gives it its shape */
            start += count;
        }
}

double flops_attention(const graph *g, const node *n)
{
    shape Q = graph_node(g, n->input[0])->shape, K = graph_node(g, n->input[1])->shape;
    return 2.0 * (double)(Q.dim[0] * Q.dim[1]) * (double)K.dim[1] * (double)(Q.dim[2] + n->shape.dim[2]);
}
