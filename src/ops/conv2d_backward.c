/* conv2d_backward.c - the gradients of a convolution (see conv2d.c for X, which is x or x enlarged by 2).
 *
 *   by data     dx[n,h,w,c]   = sum over the copies (H,W) of (h,w) in X, and over i,j,o with H = oh*stride+i-pad_top and
 *                               W = ow*stride+j-pad_left, of dy[n,oh,ow,o] * w[o,c,i,j]
 *   by weights  dw[o,c,i,j]   = sum_{n,oh,ow} X[n, oh*stride+i-pad_top, ow*stride+j-pad_left, c] * dy[n,oh,ow,o]
 *   by bias     db[o]         = sum_{n,oh,ow} dy[n,oh,ow,o], which is sum_rows */
#include "ops/op.h"

static bool backward_fits(shape x, shape w, shape dy, const conv2d_attributes *p)
{
    if (x.rank != 4 || w.rank != 4 || dy.rank != 4 || p->stride < 1 || (p->upsample != 1 && p->upsample != 2))
        return false;
    int64_t height = x.dim[1] * p->upsample + p->pad_top + p->pad_bottom - w.dim[2];
    int64_t width = x.dim[2] * p->upsample + p->pad_left + p->pad_right - w.dim[3];
    return height >= 0 && width >= 0 && dy.dim[0] == x.dim[0] && dy.dim[1] == height / p->stride + 1 &&
           dy.dim[2] == width / p->stride + 1 && dy.dim[3] == w.dim[0] && x.dim[3] == w.dim[1];
}

static value refuse(at a, shape x, shape w, shape dy)
{
    char text[SHAPE_TEXT], other[SHAPE_TEXT], third[SHAPE_TEXT];
    return graph_fail(a, "conv2d_backward: x %s, w %s and dy %s do not fit", shape_text(x, text),
                      shape_text(w, other), shape_text(dy, third));
}

value op_conv2d_backward_data(at a, value dy, value w, shape x, const conv2d_attributes *attributes)
{
    if (ABSENT(dy, w))
        return NO_VALUE;
    if (!backward_fits(x, value_shape(a, w), value_shape(a, dy), attributes))
        return refuse(a, x, value_shape(a, w), value_shape(a, dy));
    return graph_emit(a, OP_CONV2D_BACKWARD_DATA, x, DTYPE_F32, 2, (value[]){dy, w},
                      &(op_attributes){.conv2d = *attributes});
}

value op_conv2d_backward_weights(at a, value x, value dy, shape w, const conv2d_attributes *attributes)
{
    if (ABSENT(x, dy))
        return NO_VALUE;
    if (!backward_fits(value_shape(a, x), w, value_shape(a, dy), attributes))
        return refuse(a, value_shape(a, x), w, value_shape(a, dy));
    return graph_emit(a, OP_CONV2D_BACKWARD_WEIGHTS, w, DTYPE_F32, 2, (value[]){x, dy},
                      &(op_attributes){.conv2d = *attributes});
}

/* The result's row or column that reads position `at_x` of X through tap `tap` of the kernel, or -1. */
static int64_t reader(int64_t at_x, int64_t tap, int64_t pad, int64_t stride, int64_t limit)
{
    int64_t t = at_x + pad - tap;
    return t < 0 || t % stride || t / stride >= limit ? -1 : t / stride;
}

/* What reaches channel k of position (h, v) of X in sample n. */
static double data_sum(const op_call *c, int64_t n, int64_t h, int64_t v, int64_t k)
{
    const conv2d_attributes *p = &c->node->attributes.conv2d;
    shape Y = c->input_shape[0], W = c->input_shape[1];
    const float *dy = c->input[0], *w = c->input[1];
    double sum = 0;
    for (int64_t i = 0; i < W.dim[2]; i++)
        for (int64_t j = 0; j < W.dim[3]; j++) {
            int64_t oh = reader(h, i, p->pad_top, p->stride, Y.dim[1]);
            int64_t ow = reader(v, j, p->pad_left, p->stride, Y.dim[2]);
            if (oh < 0 || ow < 0)
                continue;
            const float *row = dy + ((n * Y.dim[1] + oh) * Y.dim[2] + ow) * Y.dim[3];
            for (int64_t o = 0; o < Y.dim[3]; o++)
                sum += (double)row[o] * w[((o * W.dim[1] + k) * W.dim[2] + i) * W.dim[3] + j];
        }
    return sum;
}

void reference_conv2d_backward_data(const op_call *c)
{
    shape X = c->shape;
    int up = c->node->attributes.conv2d.upsample;
    float *dx = c->output;
    for (int64_t n = 0; n < X.dim[0]; n++)
        for (int64_t h = 0; h < X.dim[1]; h++)
            for (int64_t v = 0; v < X.dim[2]; v++)
                for (int64_t k = 0; k < X.dim[3]; k++) {
                    double sum = 0;
                    for (int copy = 0; copy < up * up; copy++)
                        sum += data_sum(c, n, h * up + copy / up, v * up + copy % up, k);
                    *dx++ = (float)sum;
                }
}

static double weight_sum(const op_call *c, int64_t o, int64_t k, int64_t i, int64_t j)
{
    const conv2d_attributes *p = &c->node->attributes.conv2d;
    shape X = c->input_shape[0], Y = c->input_shape[1];
    const float *x = c->input[0], *dy = c->input[1];
    double sum = 0;
    for (int64_t n = 0; n < Y.dim[0]; n++)
        for (int64_t oh = 0; oh < Y.dim[1]; oh++)
            for (int64_t ow = 0; ow < Y.dim[2]; ow++) {
                int64_t h = oh * p->stride + i - p->pad_top, v = ow * p->stride + j - p->pad_left;
                if (h < 0 || h >= X.dim[1] * p->upsample || v < 0 || v >= X.dim[2] * p->upsample)
                    continue;
                sum += (double)
                           x[((n * X.dim[1] + h / p->upsample) * X.dim[2] + v / p->upsample) * X.dim[3] + k] *
                       dy[((n * Y.dim[1] + oh) * Y.dim[2] + ow) * Y.dim[3] + o];
            }
    return sum;
}

void reference_conv2d_backward_weights(const op_call *c)
{
    shape W = c->shape;
    float *dw = c->output;
    for (int64_t o = 0; o < W.dim[0]; o++)
        for (int64_t k = 0; k < W.dim[1]; k++)
            for (int64_t i = 0; i < W.dim[2]; i++)
                for (int64_t j = 0; j < W.dim[3]; j++)
                    *dw++ = (float)weight_sum(c, o, k, i, j);
}

double flops_conv2d_backward_data(const graph *g, const node *n)
{
    shape W = graph_node(g, n->input[1])->shape;
    return 2.0 * (double)shape_count(graph_node(g, n->input[0])->shape) *
           (double)(W.dim[1] * W.dim[2] * W.dim[3]);
}

double flops_conv2d_backward_weights(const graph *g, const node *n)
{
    shape W = n->shape;
    return 2.0 * (double)shape_count(graph_node(g, n->input[1])->shape) *
           (double)(W.dim[1] * W.dim[2] * W.dim[3]);
}
