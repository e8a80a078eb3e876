/* depthwise.c - convolution of every channel by a kernel of its own, and its gradients:
 *
 *   y[n,h,w,c] = b[c] + sum_ij x[n, h+i-p, w+j-p, c] * w[c,0,i,j]     p = (k-1)/2, zeros outside */
#include "ops/op.h"

static bool depthwise_fits(at a, value x, shape W)
{
    shape X = value_shape(a, x);
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    if (X.rank != 4 || W.rank != 4 || W.dim[0] != X.dim[3] || W.dim[1] != 1 || W.dim[2] != W.dim[3] ||
        W.dim[2] % 2 != 1)
        graph_fail(a, "depthwise_conv2d: the weights %s do not fit %s", shape_text(W, text),
                   shape_text(X, other));
    return !graph_failed(a);
}

value op_depthwise_conv2d(at a, value x, value w, value b)
{
    if (ABSENT(x, w) || !depthwise_fits(a, x, value_shape(a, w)))
        return NO_VALUE;
    if (b.index && shape_count(value_shape(a, b)) != value_channels(a, x))
        return graph_fail(a, "depthwise_conv2d: %lld channels, but %lld biases",
                          (long long)value_channels(a, x), (long long)shape_count(value_shape(a, b)));
    return graph_emit(a, OP_DEPTHWISE_CONV2D, value_shape(a, x), DTYPE_F32, b.index ? 3 : 2,
                      (value[]){x, w, b}, NULL);
}

/* y[h,w] of one channel of one sample; flipped: with the kernel turned by 180 degrees, which is the gradient. */
static double one_sum(const float *x, const float *w, shape X, int64_t k, int64_t h, int64_t column,
                      bool flipped)
{
    int64_t H = X.dim[1], W = X.dim[2], C = X.dim[3], p = (k - 1) / 2;
    double sum = 0;
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            int64_t y = h + i - p, z = column + j - p, tap = flipped ? k * k - 1 - (i * k + j) : i * k + j;
            if (y >= 0 && y < H && z >= 0 && z < W)
                sum += (double)x[(y * W + z) * C] * w[tap];
        }
    return sum;
}

static void convolve(const op_call *c, bool flipped)
{
    shape X = c->shape;
    int64_t k = c->input_shape[1].dim[2], C = X.dim[3], sample = X.dim[1] * X.dim[2] * C;
    const float *x = c->input[0], *w = c->input[1], *b = flipped ? NULL : c->input[2];
    float *y = c->output;
    for (int64_t n = 0; n < X.dim[0]; n++)
        for (int64_t h = 0; h < X.dim[1]; h++)
            for (int64_t column = 0; column < X.dim[2]; column++)
                for (int64_t channel = 0; channel < C; channel++)
                    *y++ = (float)(one_sum(x + n * sample + channel, w + channel * k * k, X, k, h, column,
                                           flipped) +
                                   (b ? (double)b[channel] : 0));
}

void reference_depthwise_conv2d(const op_call *c)
{
    convolve(c, false);
}

void gradient_depthwise_conv2d(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    (void)self;
    if (wanted[0])
        dx[0] = op_depthwise_conv2d_backward_data(a, dy, n->input[1]);
    if (wanted[1])
        dx[1] = op_depthwise_conv2d_backward_weights(a, n->input[0], dy, value_shape(a, n->input[1]));
    if (wanted[2])
        dx[2] = op_sum_rows(a, dy);
}

value op_depthwise_conv2d_backward_data(at a, value dy, value w)
{
    if (ABSENT(dy, w) || !depthwise_fits(a, dy, value_shape(a, w)))
        return NO_VALUE;
    return graph_emit(a, OP_DEPTHWISE_CONV2D_BACKWARD_DATA, value_shape(a, dy), DTYPE_F32, 2,
                      (value[]){dy, w}, NULL);
}

void reference_depthwise_conv2d_backward_data(const op_call *c)
{
    convolve(c, true);
}

value op_depthwise_conv2d_backward_weights(at a, value x, value dy, shape w)
{
    if (ABSENT(x, dy) || !depthwise_fits(a, x, w))
        return NO_VALUE;
    return graph_emit(a, OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHTS, SHAPE1(shape_count(w)), DTYPE_F32, 2,
                      (value[]){x, dy}, NULL);
}

void reference_depthwise_conv2d_backward_weights(const op_call *c)
{
    shape X = c->input_shape[0];
    int64_t C = X.dim[3], taps = shape_count(c->shape) / C, k = 1, H = X.dim[1], W = X.dim[2];
    while (k * k < taps)
        k += 2;
    const float *x = c->input[0], *dy = c->input[1];
    for (int64_t t = 0; t < C * taps; t++) {
        int64_t channel = t / taps, down = t % taps / k - (k - 1) / 2;
        int64_t right = t % taps % k - (k - 1) / 2;
        double sum = 0;
        for (int64_t n = 0; n < X.dim[0]; n++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t w = 0; w < W; w++)
                    if (h + down >= 0 && h + down < H && w + right >= 0 && w + right < W)
                        sum += (double)x[((n * H + h + down) * W + w + right) * C + channel] *
                               dy[((n * H + h) * W + w) * C + channel];
        c->output[t] = (float)sum;
    }
}

double flops_depthwise_conv2d(const graph *g, const node *n)
{
    shape W = graph_node(g, n->input[1])->shape;
    return 2.0 * (double)shape_count(n->shape) * (double)(W.dim[2] * W.dim[3]);
}
