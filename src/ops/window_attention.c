/* window_attention.c - attention within the windows of a feature map (Liu et al. 2021, "Swin Transformer"):
 *
 *   y[t] = sum_s softmax_s( q[t] . k[s] / sqrt(D) + table[row(t,s)] + mask(t,s) ) v[s]
 *
 * over the tokens s of t's window, per head. The map is rolled before it is cut and the result rolled back; mask is -100
 * for tokens that only the rolling brought together. Windows, rolling and bias are places to read from
 * (window_attention.h), never copies. The gradients are one walk over the same scores:
 *
 *   dp[t,s] = dy[t] . v[s]   ds[t,s] = p (dp - sum_s p dp)   dq[t] = sum_s ds k[s] / sqrt(D)   dk, dv alike
 *   dtable[row(t,s)] += ds[t,s] */
#include "ops/window_attention.h"

#include "ops/op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool window_fits(at a, shape Q, shape K, shape V, shape table, const window_attention_attributes *p)
{
    char text[SHAPE_TEXT];
    bool sizes = p->heads > 0 && p->height > 0 && p->width > 0 && p->height <= 64 && p->width <= 64;
    if (Q.rank != 4 || !shape_equal(Q, K) || !shape_equal(Q, V) || !sizes || Q.dim[1] % p->height ||
        Q.dim[2] % p->width || Q.dim[3] % p->heads)
        graph_fail(a, "window_attention: %d heads and windows of %dx%d do not fit %s", p->heads, p->width,
                   p->height, shape_text(Q, text));
    else if (p->shift_y < 0 || p->shift_y >= p->height || p->shift_x < 0 || p->shift_x >= p->width)
        graph_fail(a, "window_attention: windows of %dx%d cannot be shifted by %d, %d", p->width, p->height,
                   p->shift_x, p->shift_y);
    else if (table.rank && !shape_equal(table, SHAPE2((2 * p->height - 1) * (2 * p->width - 1), p->heads)))
        graph_fail(a, "window_attention: the bias table %s does not fit %d heads and windows of %dx%d",
                   shape_text(table, text), p->heads, p->width, p->height);
    return !graph_failed(a);
}

value op_window_attention(at a, value q, value k, value v, value table, const window_attention_attributes *p)
{
    if (ABSENT(q, k, v) ||
        !window_fits(a, value_shape(a, q), value_shape(a, k), value_shape(a, v), value_shape(a, table), p))
        return NO_VALUE;
    op_attributes attributes = {.window_attention = *p};
    memset(attributes.window_attention.wanted, 0, sizeof p->wanted);
    return graph_emit(a, OP_WINDOW_ATTENTION, value_shape(a, q), DTYPE_F32, table.index ? 4 : 3,
                      (value[]){q, k, v, table}, &attributes);
}

/* One head of one window. */
typedef struct window_head {
    window_map map;
    int64_t window, offset; /* offset: of the head's first channel in the window's sample */
    int head, D;
    const float *q, *k, *v, *table;
    double *p; /* [T] */
} window_head;

static int64_t place(const window_head *h, int t)
{
    return h->offset + window_position(&h->map, h->window, t) * h->map.C;
}

/* The softmax of row t into p. */
static void window_probabilities(const window_head *h, int t)
{
    int T = window_tokens(&h->map);
    const float *q = h->q + place(h, t);
    double largest = -INFINITY, sum = 0;
    for (int s = 0; s < T; s++) {
        const float *k = h->k + place(h, s);
        double score = 0;
        for (int d = 0; d < h->D; d++)
            score += (double)q[d] * k[d];
        score /= sqrt((double)h->D);
        if (h->table)
            score += h->table[window_bias_row(&h->map, t, s) * h->map.heads + h->head];
        if (window_region(&h->map, h->window, t) != window_region(&h->map, h->window, s))
            score += WINDOW_MASK;
        h->p[s] = score;
        largest = fmax(largest, score);
    }
    for (int s = 0; s < T; s++)
        sum += h->p[s] = exp(h->p[s] - largest);
    for (int s = 0; s < T; s++)
        h->p[s] /= sum;
}

static window_head first_head(const op_call *c)
{
    shape X = c->input_shape[0];
    window_head h = {.map = window_map_of(X, &c->node->attributes.window_attention),
                     .q = c->input[0],
                     .k = c->input[1],
                     .v = c->input[2],
                     .table = c->input[3]};
    h.D = (int)(h.map.C / h.map.heads);
    return h;
}

/* Head `index` of all heads of all windows of all samples. */
static void go_to(window_head *h, int64_t index)
{
    int64_t windows = h->map.rows * h->map.columns, sample = index / h->map.heads / windows;
    h->head = (int)(index % h->map.heads);
    h->window = index / h->map.heads % windows;
    h->offset = sample * h->map.H * h->map.W * h->map.C + (int64_t)h->head * h->D;
}

void reference_window_attention(const op_call *c)
{
    window_head h = first_head(c);
    int T = window_tokens(&h.map);
    int64_t count = c->shape.dim[0] * h.map.rows * h.map.columns * h.map.heads;
    h.p = malloc((size_t)T * sizeof *h.p);
    if (!h.p) {
        op_no_memory(c);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        go_to(&h, i);
        for (int t = 0; t < T; t++) {
            window_probabilities(&h, t);
            for (int d = 0; d < h.D; d++) {
                double y = 0;
                for (int s = 0; s < T; s++)
                    y += h.p[s] * h.v[place(&h, s) + d];
                c->output[place(&h, t) + d] = (float)y;
            }
        }
    }
    free(h.p);
}

void gradient_window_attention(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    window_attention_attributes attributes = n->attributes.window_attention;
    for (int i = 0; i < 4; i++)
        attributes.wanted[i] = wanted[i];
    value table = n->input_count > 3 ? n->input[3] : NO_VALUE;
    value all =
        op_window_attention_backward(a, n->input[0], n->input[1], n->input[2], table, dy, &attributes);
    int64_t start = 0;
    for (int i = 0; i < 4; i++)
        if (wanted[i]) {
            int64_t count = shape_count(value_shape(a, n->input[i]));
            dx[i] = op_slice(a, all, 0, start, count);
            start += count;
        }
}

value op_window_attention_backward(at a, value q, value k, value v, value table, value dy,
                                   const window_attention_attributes *p)
{
    if (ABSENT(q, k, v, dy))
        return NO_VALUE;
    const shape parts[4] = {value_shape(a, q), value_shape(a, k), value_shape(a, v), value_shape(a, table)};
    char text[SHAPE_TEXT];
    if (!window_fits(a, parts[0], parts[1], parts[2], parts[3], p))
        return NO_VALUE;
    if (!shape_equal(value_shape(a, dy), parts[0]))
        return graph_fail(a, "window_attention_backward: dy is %s", shape_text(value_shape(a, dy), text));
    int64_t count = 0;
    for (int i = 0; i < 4; i++)
        count += p->wanted[i] ? shape_count(parts[i]) : 0;
    return graph_emit(a, OP_WINDOW_ATTENTION_BACKWARD, SHAPE1(count), DTYPE_F32, 5,
                      (value[]){q, k, v, table, dy}, &(op_attributes){.window_attention = *p});
}

/* Sums of one head of one window, in double: dk and dv [T,D]. Of the table: over everything. */
typedef struct window_sums {
    double *dk, *dv, *dtable;
    float *parts[4]; /* where each wanted gradient goes, or NULL */
    const float *dy;
} window_sums;

static void backward_token(const window_head *h, const window_sums *sums, int t)
{
    int T = window_tokens(&h->map), D = h->D;
    const float *dy = sums->dy + place(h, t), *q = h->q + place(h, t);
    double scale = 1 / sqrt((double)D), delta = 0;
    window_probabilities(h, t);
    for (int s = 0; s < T; s++)
        for (int d = 0; d < D; d++)
            delta += h->p[s] * dy[d] * h->v[place(h, s) + d];
    for (int s = 0; s < T; s++) {
        double dp = 0, p = h->p[s];
        for (int d = 0; d < D; d++) {
            dp += (double)dy[d] * h->v[place(h, s) + d];
            sums->dv[s * D + d] += p * dy[d];
        }
        h->p[s] = p * (dp - delta);
        for (int d = 0; d < D; d++)
            sums->dk[s * D + d] += h->p[s] * q[d] * scale;
        sums->dtable[window_bias_row(&h->map, t, s) * h->map.heads + h->head] += h->p[s];
    }
    for (int d = 0; sums->parts[0] && d < D; d++) {
        double dq = 0;
        for (int s = 0; s < T; s++)
            dq += h->p[s] * h->k[place(h, s) + d] * scale;
        sums->parts[0][place(h, t) + d] = (float)dq;
    }
}

static void backward_window(const window_head *h, const window_sums *sums)
{
    int T = window_tokens(&h->map);
    memset(sums->dk, 0, (size_t)(2 * T * h->D) * sizeof *sums->dk); /* and dv, which follows it */
    for (int t = 0; t < T; t++)
        backward_token(h, sums, t);
    for (int t = 0; t < T; t++)
        for (int d = 0; d < h->D; d++) {
            if (sums->parts[1])
                sums->parts[1][place(h, t) + d] = (float)sums->dk[t * h->D + d];
            if (sums->parts[2])
                sums->parts[2][place(h, t) + d] = (float)sums->dv[t * h->D + d];
        }
}

void reference_window_attention_backward(const op_call *c)
{
    window_head h = first_head(c);
    int64_t T = window_tokens(&h.map),
            rows = (int64_t)(2 * h.map.height - 1) * (2 * h.map.width - 1) * h.map.heads;
    int64_t count = c->input_shape[0].dim[0] * h.map.rows * h.map.columns * h.map.heads;
    window_sums sums = {.dy = c->input[4]};
    h.p = calloc((size_t)(T + 2 * T * h.D + rows), sizeof *h.p);
    if (!h.p) {
        op_no_memory(c);
        return;
    }
    sums.dk = h.p + T;
    sums.dv = sums.dk + T * h.D;
    sums.dtable = sums.dv + T * h.D;
    float *next = c->output;
    for (int i = 0; i < 4; i++)
        if (c->node->attributes.window_attention.wanted[i]) {
            sums.parts[i] = next;
            next += shape_count(c->input_shape[i]);
        }
    for (int64_t i = 0; i < count; i++) {
        go_to(&h, i);
        backward_window(&h, &sums);
    }
    for (int64_t i = 0; sums.parts[3] && i < rows; i++)
        sums.parts[3][i] = (float)sums.dtable[i];
    free(h.p);
}

/* Scores and values; five products backward are counted as two, like the forward op: the walk is one. */
double flops_window_attention(const graph *g, const node *n)
{
    const window_attention_attributes *p = &n->attributes.window_attention;
    return 4.0 * (double)shape_count(graph_node(g, n->input[0])->shape) * p->height * p->width;
}
