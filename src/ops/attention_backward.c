/* attention_backward.c - the gradients of attention, by recomputing (Dao 2023, "FlashAttention-2", algorithm 2):
 *
 *   p[t,s]  = softmax_s(q[t] . k[s] / sqrt(D))          computed again, row by row; T x S is never held
 *   dv[s]   = sum_t p[t,s] dy[t]
 *   ds[t,s] = p[t,s] (dy[t] . v[s] - dy[t] . y[t]) / sqrt(D)
 *   dq[t]   = sum_s ds[t,s] k[s]
 *   dk[s]   = sum_t ds[t,s] q[t]
 *
 * per sample and head. Inputs: q, k, v, y, dy. The result is one vector: the wanted ones of dq, dk, dv, in order. */
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>

value op_attention_backward(at a, value q, value k, value v, value y, value dy,
                            const attention_backward_attributes *attributes)
{
    if (ABSENT(q, k, v, y, dy))
        return NO_VALUE;
    shape Q = value_shape(a, q), K = value_shape(a, k), V = value_shape(a, v), Y = value_shape(a, y);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (Q.rank != 3 || K.rank != 3 || V.rank != 3 || Y.rank != 3 || Q.dim[0] != K.dim[0] ||
        Q.dim[2] != K.dim[2] || K.dim[0] != V.dim[0] || K.dim[1] != V.dim[1] ||
        !shape_equal(Y, SHAPE3(Q.dim[0], Q.dim[1], V.dim[2])))
        return graph_fail(a, "attention_backward: q %s does not fit k %s", shape_text(Q, text),
                          shape_text(K, other));
    if (!shape_equal(Y, value_shape(a, dy)))
        return graph_fail(a, "attention_backward: y is %s, dy is %s", shape_text(Y, text),
                          shape_text(value_shape(a, dy), other));
    if (attributes->heads < 1 || Q.dim[2] % attributes->heads || V.dim[2] % attributes->heads)
        return graph_fail(a, "attention_backward: %lld channels cannot be split into %d heads",
                          (long long)Q.dim[2], attributes->heads);
    int64_t count = 0;
    const shape parts[3] = {Q, K, V};
    for (int i = 0; i < 3; i++)
        count += attributes->wanted[i] ? shape_count(parts[i]) : 0;
    return graph_emit(a, OP_ATTENTION_BACKWARD, SHAPE1(count), DTYPE_F32, 5, (value[]){q, k, v, y, dy},
                      &(op_attributes){.attention_backward = *attributes});
}

/* One head of one sample, and the sums over its queries. */
typedef struct head {
    int64_t T, S, D, E, C, F; /* tokens, keys, widths of a head in q and v, and of all heads */
    const float *q, *k, *v, *y, *dy;
    double *p, *dk, *dv; /* [S], [S,D], [S,E] */
    bool causal;
} head;

static double dot(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

/* The softmax of row t into p; returns how many keys it sees. */
static int64_t probabilities(const head *h, int64_t t)
{
    int64_t seen = h->causal && t + 1 < h->S ? t + 1 : h->S;
    double largest = -INFINITY, sum = 0;
    for (int64_t s = 0; s < seen; s++) {
        h->p[s] = dot(h->q + t * h->C, h->k + s * h->C, h->D) / sqrt((double)h->D);
        largest = fmax(largest, h->p[s]);
    }
    for (int64_t s = 0; s < seen; s++)
        sum += h->p[s] = exp(h->p[s] - largest);
    for (int64_t s = 0; s < seen; s++)
        h->p[s] /= sum;
    return seen;
}

/* Add row t to dk and dv; write dq of that row where it is wanted. */
static void backward_row(const head *h, int64_t t, float *dq)
{
    const float *q = h->q + t * h->C, *dy = h->dy + t * h->F;
    int64_t seen = probabilities(h, t);
    double delta = dot(dy, h->y + t * h->F, h->E), scale = 1 / sqrt((double)h->D);
    for (int64_t s = 0; s < seen; s++) {
        double p = h->p[s], ds = p * (dot(dy, h->v + s * h->F, h->E) - delta) * scale;
        for (int64_t e = 0; e < h->E; e++)
            h->dv[s * h->E + e] += p * dy[e];
        for (int64_t d = 0; d < h->D; d++)
            h->dk[s * h->D + d] += ds * q[d];
        h->p[s] = ds;
    }
    for (int64_t d = 0; dq && d < h->D; d++) {
        double sum = 0;
        for (int64_t s = 0; s < seen; s++)
            sum += h->p[s] * h->k[s * h->C + d];
        dq[d] = (float)sum;
    }
}

static void write_rows(float *to, int64_t stride, const double *from, int64_t rows, int64_t width)
{
    for (int64_t s = 0; to && s < rows; s++)
        for (int64_t d = 0; d < width; d++)
            to[s * stride + d] = (float)from[s * width + d];
}

static void backward_head(const op_call *c, head h, int64_t n, int64_t index, float *const parts[3])
{
    int64_t query = n * h.T * h.C + index * h.D, key = n * h.S * h.C + index * h.D;
    int64_t values = n * h.S * h.F + index * h.E, result = n * h.T * h.F + index * h.E;
    h.q = (const float *)c->input[0] + query;
    h.k = (const float *)c->input[1] + key;
    h.v = (const float *)c->input[2] + values;
    h.y = (const float *)c->input[3] + result;
    h.dy = (const float *)c->input[4] + result;
    for (int64_t i = 0; i < h.S * (h.D + h.E); i++)
        h.dk[i] = 0; /* and dv, which follows it */
    for (int64_t t = 0; t < h.T; t++)
        backward_row(&h, t, parts[0] ? parts[0] + query + t * h.C : NULL);
    write_rows(parts[1] ? parts[1] + key : NULL, h.C, h.dk, h.S, h.D);
    write_rows(parts[2] ? parts[2] + values : NULL, h.F, h.dv, h.S, h.E);
}

void reference_attention_backward(const op_call *c)
{
    const attention_backward_attributes *p = &c->node->attributes.attention_backward;
    shape Q = c->input_shape[0], V = c->input_shape[2];
    head h = {.T = Q.dim[1],
              .S = V.dim[1],
              .D = Q.dim[2] / p->heads,
              .E = V.dim[2] / p->heads,
              .C = Q.dim[2],
              .F = V.dim[2],
              .causal = p->causal};
    h.p = malloc((size_t)(h.S * (1 + h.D + h.E)) * sizeof *h.p);
    if (!h.p) {
        op_no_memory(c);
        return;
    }
    h.dk = h.p + h.S;
    h.dv = h.dk + h.S * h.D;
    float *parts[3] = {NULL}, *next = c->output;
    for (int i = 0; i < 3; i++)
        if (p->wanted[i]) {
            parts[i] = next;
            next += shape_count(c->input_shape[i]);
        }
    for (int64_t n = 0; n < Q.dim[0]; n++)
        for (int64_t index = 0; index < p->heads; index++)
            backward_head(c, h, n, index, parts);
    free(h.p);
}

/* The scores again and dy v^T, then dq, dk and dv. */
double flops_attention_backward(const graph *g, const node *n)
{
    shape Q = graph_node(g, n->input[0])->shape, V = graph_node(g, n->input[2])->shape;
    return 2.0 * (double)(Q.dim[0] * Q.dim[1]) * (double)V.dim[1] * (double)(3 * Q.dim[2] + 2 * V.dim[2]);
}
