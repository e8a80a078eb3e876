/* channel_attention.c - attention between the channels of a head (El-Nouby et al. 2021, "XCiT"), whose scores are as many
 * as channels, not as tokens:
 *
 *   G[i,j] = sum_t q[t,i] k[t,j] / (|q[:,i]| |k[:,j]|) * temperature      A = softmax_j(G)      y[t,i] = sum_j A[i,j] v[t,j]
 *
 * Lengths are at least 1e-12. Gradients, with R = G / temperature:
 *
 *   dA[i,j] = sum_t dy[t,i] v[t,j]   dG = A (dA - sum_j A dA)   dv[t,j] = sum_i A[i,j] dy[t,i]
 *   dtemperature = sum dG R          dq[t,i] = temperature / |q_i| (sum_j dG k[t,j]/|k_j| - q[t,i]/|q_i| sum_j dG R) */
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>

static bool channels_fit(at a, shape Q, shape K, shape V, shape temperature, int heads)
{
    char text[SHAPE_TEXT];
    if (Q.rank != 3 || !shape_equal(Q, K) || !shape_equal(Q, V) || heads < 1 || Q.dim[2] % heads ||
        shape_count(temperature) != heads)
        graph_fail(a, "channel_attention: %d heads and %lld temperatures do not fit %s", heads,
                   (long long)shape_count(temperature), shape_text(Q, text));
    return !graph_failed(a);
}

value op_channel_attention(at a, value q, value k, value v, value temperature, int heads)
{
    if (ABSENT(q, k, v, temperature) || !channels_fit(a, value_shape(a, q), value_shape(a, k),
                                                      value_shape(a, v), value_shape(a, temperature), heads))
        return NO_VALUE;
    return graph_emit(a, OP_CHANNEL_ATTENTION, value_shape(a, q), DTYPE_F32, 4,
                      (value[]){q, k, v, temperature},
                      &(op_attributes){.channel_attention = {.heads = heads}});
}

/* One head of one sample. */
typedef struct channel_head {
    int64_t T, C, D, offset;
    const float *q, *k, *v;
    double temperature;
    double *A, *R, *q_length, *k_length; /* [D,D], [D,D], [D], [D] */
    double *dA;                          /* backward: [D,D], which becomes dG */
} channel_head;

static double product(const channel_head *h, const float *x, int64_t i, const float *y, int64_t j)
{
    double sum = 0;
    for (int64_t t = 0; t < h->T; t++)
        sum += (double)x[h->offset + t * h->C + i] * y[h->offset + t * h->C + j];
    return sum;
}

static void channel_probabilities(const channel_head *h)
{
    int64_t D = h->D;
    for (int64_t i = 0; i < D; i++) {
        h->q_length[i] = fmax(sqrt(product(h, h->q, i, h->q, i)), 1e-12);
        h->k_length[i] = fmax(sqrt(product(h, h->k, i, h->k, i)), 1e-12);
    }
    for (int64_t i = 0; i < D; i++) {
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < D; j++) {
            h->R[i * D + j] = product(h, h->q, i, h->k, j) / (h->q_length[i] * h->k_length[j]);
            largest = fmax(largest, h->R[i * D + j] * h->temperature);
        }
        for (int64_t j = 0; j < D; j++)
            sum += h->A[i * D + j] = exp(h->R[i * D + j] * h->temperature - largest);
        for (int64_t j = 0; j < D; j++)
            h->A[i * D + j] /= sum;
    }
}

static bool channel_head_init(const op_call *c, channel_head *h)
{
    shape X = c->input_shape[0];
    int64_t D = X.dim[2] / c->node->attributes.channel_attention.heads;
    *h = (channel_head){.T = X.dim[1],
                        .C = X.dim[2],
                        .D = D,
                        .q = c->input[0],
                        .k = c->input[1],
                        .v = c->input[2],
                        .A = calloc((size_t)(3 * D * D + 2 * D), sizeof(double))};
    if (!h->A) {
        op_no_memory(c);
        return false;
    }
    h->R = h->A + D * D;
    h->dA = h->R + D * D;
    h->q_length = h->dA + D * D;
    h->k_length = h->q_length + D;
    return true;
}

static void enter_head(const op_call *c, channel_head *h, int64_t index)
{
    int64_t heads = c->node->attributes.channel_attention.heads;
    h->offset = index / heads * h->T * h->C + index % heads * h->D;
    h->temperature = (double)((const float *)c->input[3])[index % heads];
    channel_probabilities(h);
}

void reference_channel_attention(const op_call *c)
{
    channel_head h;
    if (!channel_head_init(c, &h))
        return;
    int64_t count = c->shape.dim[0] * c->node->attributes.channel_attention.heads;
    for (int64_t index = 0; index < count; index++) {
        enter_head(c, &h, index);
        for (int64_t t = 0; t < h.T; t++)
            for (int64_t i = 0; i < h.D; i++) {
                double y = 0;
                for (int64_t j = 0; j < h.D; j++)
                    y += h.A[i * h.D + j] * h.v[h.offset + t * h.C + j];
                c->output[h.offset + t * h.C + i] = (float)y;
            }
    }
    free(h.A);
}

void gradient_channel_attention(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    channel_attention_attributes attributes = n->attributes.channel_attention;
    for (int i = 0; i < 4; i++)
        attributes.wanted[i] = wanted[i];
    value all =
        op_channel_attention_backward(a, n->input[0], n->input[1], n->input[2], n->input[3], dy, &attributes);
    int64_t start = 0;
    for (int i = 0; i < 4; i++)
        if (wanted[i]) {
            int64_t count = shape_count(value_shape(a, n->input[i]));
            dx[i] = op_slice(a, all, 0, start, count);
            start += count;
        }
}

value op_channel_attention_backward(at a, value q, value k, value v, value temperature, value dy,
                                    const channel_attention_attributes *p)
{
    if (ABSENT(q, k, v, temperature, dy))
        return NO_VALUE;
    const shape parts[4] = {value_shape(a, q), value_shape(a, k), value_shape(a, v),
                            value_shape(a, temperature)};
    char text[SHAPE_TEXT];
    if (!channels_fit(a, parts[0], parts[1], parts[2], parts[3], p->heads))
        return NO_VALUE;
    if (!shape_equal(value_shape(a, dy), parts[0]))
        return graph_fail(a, "channel_attention_backward: dy is %s", shape_text(value_shape(a, dy), text));
    int64_t count = 0;
    for (int i = 0; i < 4; i++)
        count += p->wanted[i] ? shape_count(parts[i]) : 0;
    return graph_emit(a, OP_CHANNEL_ATTENTION_BACKWARD, SHAPE1(count), DTYPE_F32, 5,
                      (value[]){q, k, v, temperature, dy}, &(op_attributes){.channel_attention = *p});
}

/* dA becomes dG; gives dtemperature's share. */
static double score_gradients(const channel_head *h, const float *dy)
{
    int64_t D = h->D;
    double total = 0;
    for (int64_t i = 0; i < D; i++) {
        double mean = 0;
        for (int64_t j = 0; j < D; j++) {
            h->dA[i * D + j] = product(h, dy, i, h->v, j);
            mean += h->A[i * D + j] * h->dA[i * D + j];
        }
        for (int64_t j = 0; j < D; j++) {
            h->dA[i * D + j] = h->A[i * D + j] * (h->dA[i * D + j] - mean);
            total += h->dA[i * D + j] * h->R[i * D + j];
        }
    }
    return total;
}

/* dq (or, with the matrices read by columns, dk): x is q, y is k. */
static void length_gradients(const channel_head *h, const float *x, const double *x_length, const float *y,
                             const double *y_length, bool columns, float *to)
{
    int64_t D = h->D;
    for (int64_t i = 0; i < D; i++) {
        double along = 0;
        for (int64_t j = 0; j < D; j++)
            along += h->dA[columns ? j * D + i : i * D + j] * h->R[columns ? j * D + i : i * D + j];
        for (int64_t t = 0; t < h->T; t++) {
            int64_t row = h->offset + t * h->C;
            double sum = -(double)x[row + i] / x_length[i] * along;
            for (int64_t j = 0; j < D; j++)
                sum += h->dA[columns ? j * D + i : i * D + j] * y[row + j] / y_length[j];
            to[row + i] = (float)(h->temperature / x_length[i] * sum);
        }
    }
}

static void value_gradients(const channel_head *h, const float *dy, float *to)
{
    for (int64_t t = 0; t < h->T; t++)
        for (int64_t j = 0; j < h->D; j++) {
            double sum = 0;
            for (int64_t i = 0; i < h->D; i++)
                sum += h->A[i * h->D + j] * dy[h->offset + t * h->C + i];
            to[h->offset + t * h->C + j] = (float)sum;
        }
}

void reference_channel_attention_backward(const op_call *c)
{
    channel_head h;
    if (!channel_head_init(c, &h))
        return;
    const channel_attention_attributes *p = &c->node->attributes.channel_attention;
    const float *dy = c->input[4];
    float *parts[4] = {NULL}, *next = c->output;
    for (int i = 0; i < 4; i++)
        if (p->wanted[i]) {
            parts[i] = next;
            next += shape_count(c->input_shape[i]);
        }
    for (int64_t i = 0; parts[3] && i < p->heads; i++)
        parts[3][i] = 0;
    for (int64_t index = 0; index < c->input_shape[0].dim[0] * p->heads; index++) {
        enter_head(c, &h, index);
        double share = score_gradients(&h, dy);
        if (parts[0])
            length_gradients(&h, h.q, h.q_length, h.k, h.k_length, false, parts[0]);
        if (parts[1])
            length_gradients(&h, h.k, h.k_length, h.q, h.q_length, true, parts[1]);
        if (parts[2])
            value_gradients(&h, dy, parts[2]);
        if (parts[3])
            parts[3][index % p->heads] += (float)share;
    }
    free(h.A);
}

double flops_channel_attention(const graph *g, const node *n)
{
    shape Q = graph_node(g, n->input[0])->shape;
    int64_t width = Q.dim[2] / n->attributes.channel_attention.heads;
    return 4.0 * (double)shape_count(Q) * (double)width;
}
