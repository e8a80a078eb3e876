/* conv2d.c - two-dimensional convolution over [N,H,W,C] with weights [O,C,kh,kw].
 *
 *   y[n,oh,ow,o] = gain act(b[o] + sum_{i,j,c} X[n, oh*stride+i-pad_top, ow*stride+j-pad_left, c] * w[o,c,i,j])
 *                  + r[n,oh,ow,o]
 *
 * X is x, or x enlarged by nearest neighbour when upsample is 2; outside X are zeros. Inputs: x, w, b?, r?, and up to four
 * maps whose channels follow those of x (the residual, the activation, the gain and these are put there by fusion). */
#include "ops/op.h"

value op_conv2d(at a, value x, value w, value b, const conv2d_attributes *attributes)
{
    if (ABSENT(x, w))
        return NO_VALUE;
    shape X = value_shape(a, x), W = value_shape(a, w);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank != 4 || W.rank != 4)
        return graph_fail(a, "conv2d wants x [N,H,W,C] and w [O,C,kh,kw], got %s and %s", shape_text(X, text),
                          shape_text(W, other));
    if (X.dim[3] != W.dim[1])
        return graph_fail(a, "conv2d: the weights take %lld channels, the input has %lld",
                          (long long)W.dim[1], (long long)X.dim[3]);
    if (attributes->stride < 1 || (attributes->upsample != 1 && attributes->upsample != 2))
        return graph_fail(a, "conv2d: stride %d and upsample %d are not possible", attributes->stride,
                          attributes->upsample);
    int64_t height =
        X.dim[1] * attributes->upsample + attributes->pad_top + attributes->pad_bottom - W.dim[2];
    int64_t width = X.dim[2] * attributes->upsample + attributes->pad_left + attributes->pad_right - W.dim[3];
    if (height < 0 || width < 0)
        return graph_fail(a, "conv2d: the input %s is smaller than the kernel %s", shape_text(X, text),
                          shape_text(W, other));
    shape out = SHAPE4(X.dim[0], height / attributes->stride + 1, width / attributes->stride + 1, W.dim[0]);
    return graph_emit(a, OP_CONV2D, out, DTYPE_F32, b.index ? 3 : 2, (value[]){x, w, b},
                      &(op_attributes){.conv2d = *attributes});
}

/* Of the channels from `first` on, which are those of input `part`. */
static double sum_part(const op_call *c, int part, int64_t first, int64_t n, int64_t oh, int64_t ow,
                       int64_t o)
{
    const conv2d_attributes *p = &c->node->attributes.conv2d;
    shape X = c->input_shape[part], W = c->input_shape[1];
    const float *x = c->input[part], *w = c->input[1];
    double sum = 0;
    for (int64_t i = 0; i < W.dim[2]; i++)
        for (int64_t j = 0; j < W.dim[3]; j++) {
            int64_t h = oh * p->stride + i - p->pad_top, v = ow * p->stride + j - p->pad_left;
            if (h < 0 || h >= X.dim[1] * p->upsample || v < 0 || v >= X.dim[2] * p->upsample)
                continue;
            const float *row = x + ((n * X.dim[1] + h / p->upsample) * X.dim[2] + v / p->upsample) * X.dim[3];
            for (int64_t k = 0; k < X.dim[3]; k++)
                sum += (double)row[k] * w[((o * W.dim[1] + first + k) * W.dim[2] + i) * W.dim[3] + j];
        }
    return sum;
}

static double conv2d_sum(const op_call *c, int64_t n, int64_t oh, int64_t ow, int64_t o)
{
    double sum = sum_part(c, 0, 0, n, oh, ow, o);
    int64_t first = c->input_shape[0].dim[3];
    for (int part = 4; part < c->node->input_count; first += c->input_shape[part].dim[3], part++)
        sum += sum_part(c, part, first, n, oh, ow, o);
    return sum;
}

void reference_conv2d(const op_call *c)
{
    const conv2d_attributes *p = &c->node->attributes.conv2d;
    shape Y = c->shape;
    const float *b = c->input[2], *r = c->input[3];
    int64_t k = 0;
    for (int64_t n = 0; n < Y.dim[0]; n++)
        for (int64_t oh = 0; oh < Y.dim[1]; oh++)
            for (int64_t ow = 0; ow < Y.dim[2]; ow++)
                for (int64_t o = 0; o < Y.dim[3]; o++, k++) {
                    double y = conv2d_sum(c, n, oh, ow, o) + (b ? b[o] : 0);
                    y = activation_apply(p->activation, y, p->slope) * (p->gain != 0 ? (double)p->gain : 1);
                    c->output[k] = (float)(y + (r ? r[k] : 0));
                }
}

void gradient_conv2d(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    const conv2d_attributes *p = &n->attributes.conv2d;
    if (p->activation != ACTIVATION_NONE || n->input_count > 3) {
        graph_fail(a, "conv2d: a fused node has no gradient");
        return;
    }
    if (wanted[0])
        dx[0] = op_conv2d_backward_data(a, dy, n->input[1], value_shape(a, n->input[0]), p);
    if (wanted[1])
        dx[1] = op_conv2d_backward_weights(a, n->input[0], dy, value_shape(a, n->input[1]), p);
    if (wanted[2])
        dx[2] = op_sum_rows(a, dy);
}

double flops_conv2d(const graph *g, const node *n)
{
    shape W = graph_node(g, n->input[1])->shape;
    return 2.0 * (double)shape_count(n->shape) * (double)(W.dim[1] * W.dim[2] * W.dim[3]);
}
