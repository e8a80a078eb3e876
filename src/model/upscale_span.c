/* upscale_span.c - SPAN (Wan et al. 2023): six blocks whose gate is their own result, sigmoid(y) - 1/2, without
 * parameters. Each "Conv3XC" is 1x1, 3x3, 1x1 in a row (the picture padded before the first of them) and 1x1 beside,
 * which one convolution of 3x3 replaces once training is over. */
#include "model/upscale_parts.h"

enum { SPAN_BLOCKS = 6, GAIN = 2 };

kiln_status span_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    span_config *s = &c->of.span;
    s->features = find_dim(f, 0, "conv_1.sk.weight");
    c->channels = find_dim(f, 1, "conv_1.sk.weight");
    if (!s->features || !c->channels || !find_shape(f, "block_1.c1_r.sk.weight") ||
        !find_shape(f, "conv_cat.weight"))
        return upscale_not_this(err);
    if (!find_shape(f, "block_%d.c1_r.sk.weight", SPAN_BLOCKS) || !find_shape(f, "conv_1.conv.0.weight"))
        return fail(err, KILN_UNSUPPORTED,
                    "a SPAN without its %d blocks or in its short form only is not known", SPAN_BLOCKS);
    s->centred = !find_shape(f, "no_norm");
    int last = find_dim(f, 0, "upsampler.0.weight");
    c->scale = last % c->channels ? 0 : upscale_root(last / c->channels);
    c->reach = 3 * SPAN_BLOCKS + 3;
    return KILN_OK;
}

static value convolution(at a, value x, int64_t out, bool folded)
{
    if (folded)
        return nn_conv2d(same(a, "eval_conv"), x, out, 3);
    static const conv2d_attributes padded = {
        .stride = 1, .upsample = 1, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    static const conv2d_attributes plain = {.stride = 1, .upsample = 1};
    int64_t in_channels = value_channels(a, x);
    value y = nn_conv2d_with(same(a, "conv.0"), x, in_channels * GAIN, 1, &padded, NN_BIAS);
    y = nn_conv2d_with(same(a, "conv.1"), y, out * GAIN, 3, &plain, NN_BIAS);
    y = nn_pointwise(same(a, "conv.2"), y, out, NN_BIAS);
    return op_add(a, y, nn_pointwise(same(a, "sk"), x, out, NN_BIAS));
}

/* *early: the result of the first convolution. */
static value block(at a, value x, bool folded, value *early)
{
    int64_t features = value_channels(a, x);
    value y = convolution(same(a, "c1_r"), x, features, folded);
    *early = y;
    y = convolution(same(a, "c2_r"), op_silu(a, y), features, folded);
    y = convolution(same(a, "c3_r"), op_silu(a, y), features, folded);
    value gate = op_scale(a, op_activation(a, y, ACTIVATION_SIGMOID, 0), 1, -0.5f);
    return op_multiply(a, op_add(a, y, x), gate);
}

value span_apply(at a, const upscale_config *c, bool folded, value picture)
{
    const span_config *s = &c->of.span;
    value x = s->centred ? upscale_centre(a, picture, 255) : picture, early = NO_VALUE;
    value first = convolution(same(a, "conv_1"), x, s->features, folded), second = NO_VALUE, y = first;
    for (int i = 1; i <= SPAN_BLOCKS; i++) {
        at here = in_numbered(a, "block_%d", i, "block_%d", i);
        y = graph_tap(here, block(here, y, folded, &early));
        if (i == 1)
            second = y;
    }
    y = convolution(same(a, "conv_2"), y, s->features, folded);
    /* The first convolution's result of the last block: its published code activates that in place. */
    value parts[4] = {first, y, second, op_silu(a, early)};
    y = nn_pointwise(same(a, "conv_cat"), op_concat(a, 4, parts, -1), s->features, NN_BIAS);
    y = nn_conv2d(same(a, "upsampler.0"), y, (int64_t)c->channels * c->scale * c->scale, 3);
    return op_pixel_shuffle(a, y, c->scale);
}
