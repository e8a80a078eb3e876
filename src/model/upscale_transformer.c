/* upscale_transformer.c - what SwinIR and DAT share: the convolutions after groups of blocks, and the ends that turn
 * features into pixels. */
#include "model/upscale_parts.h"

/* Convolutions whose channels are shuffled into pixels, "upsample.0", "upsample.2", ...: a factor each. */
static kiln_status count_stages(const tensor_finder *f, transformer_config *t, int *scale, kiln_error *err)
{
    for (int i = 0; i < UPSCALE_MAX_STAGES && find_shape(f, "upsample.%d.weight", 2 * i); i++) {
        int out = find_dim(f, 0, "upsample.%d.weight", 2 * i),
            in = find_dim(f, 1, "upsample.%d.weight", 2 * i);
        int factor = in && out % in == 0 ? upscale_root(out / in) : 0;
        if (!factor)
            return fail(err, KILN_UNSUPPORTED,
                        "'upsample.%d.weight' makes %d channels of %d: no whole factor", 2 * i, out, in);
        t->stage_factor[t->stages++] = factor;
        *scale *= factor;
    }
    return KILN_OK;
}

kiln_status transformer_tail_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    transformer_config *t = &c->of.transformer;
    int scale = 1;
    t->tail_features = find_dim(f, 0, "conv_before_upsample.0.weight");
    if (t->tail_features && find_shape(f, "conv_up1.weight")) {
        t->tail = TAIL_NEAREST;
        while (t->stages < 3 && find_shape(f, "conv_up%d.weight", t->stages + 1)) {
            t->stages++;
            scale *= 2;
        }
    } else if (t->tail_features) {
        t->tail = TAIL_SHUFFLE;
        kiln_status status = count_stages(f, t, &scale, err);
        if (status != KILN_OK)
            return status;
    } else if (find_shape(f, "upsample.0.weight")) {
        t->tail = TAIL_SHUFFLE_DIRECT;
        int out = find_dim(f, 0, "upsample.0.weight");
        scale = c->channels < 1 || out % c->channels ? 0 : upscale_root(out / c->channels);
    } else {
        t->tail = TAIL_RESTORE;
    }
    t->three_convolutions = find_shape(f, "conv_after_body.0.weight") != NULL;
    if (scale < 1 || scale % c->unshuffle)
        return fail(err, KILN_UNSUPPORTED, "this %s shrinks by %d and enlarges by %d",
                    upscale_kind_name(c->kind), c->unshuffle, scale);
    c->scale = scale / c->unshuffle;
    return KILN_OK;
}

value transformer_convolution(at a, const upscale_config *c, value x)
{
    const transformer_config *t = &c->of.transformer;
    if (!t->three_convolutions)
        return nn_conv2d(a, x, t->features, 3);
    value y = upscale_leaky(a, nn_conv2d(same(a, "0"), x, t->features / 4, 3), 0.2f);
    y = upscale_leaky(a, nn_conv2d(same(a, "2"), y, t->features / 4, 1), 0.2f);
    return nn_conv2d(same(a, "4"), y, t->features, 3);
}

static value by_nearest(at a, const upscale_config *c, value x)
{
    static const conv2d_attributes enlarging = {
        .stride = 1, .upsample = 2, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    const transformer_config *t = &c->of.transformer;
    for (int i = 1; i <= t->stages; i++) {
        at here = in_numbered(a, "conv_up%d", i, "conv_up%d", i);
        x = upscale_leaky(here, nn_conv2d_with(here, x, t->tail_features, 3, &enlarging, NN_BIAS), 0.2f);
    }
    x = upscale_leaky(a, nn_conv2d(same(a, "conv_hr"), x, t->tail_features, 3), 0.2f);
    return nn_conv2d(same(a, "conv_last"), x, c->channels, 3);
}

static value by_shuffle(at a, const upscale_config *c, value x)
{
    const transformer_config *t = &c->of.transformer;
    for (int i = 0; i < t->stages; i++) {
        int factor = t->stage_factor[i];
        at here = in_numbered(a, "upsample.%d", 2 * i, "upsample.%d", 2 * i);
        x = op_pixel_shuffle(here, nn_conv2d(here, x, (int64_t)t->tail_features * factor * factor, 3),
                             factor);
    }
    return nn_conv2d(same(a, "conv_last"), x, c->channels, 3);
}

value transformer_tail(at a, const upscale_config *c, value x, value picture)
{
    const transformer_config *t = &c->of.transformer;
    int scale = c->scale * c->unshuffle;
    switch (t->tail) {
    case TAIL_NEAREST:
    case TAIL_SHUFFLE:
        x = upscale_leaky(a, nn_conv2d(same(a, "conv_before_upsample.0"), x, t->tail_features, 3), 0.01f);
        return t->tail == TAIL_NEAREST ? by_nearest(a, c, x) : by_shuffle(a, c, x);
    case TAIL_SHUFFLE_DIRECT:
        x = nn_conv2d(same(a, "upsample.0"), x, (int64_t)c->channels * scale * scale, 3);
        return op_pixel_shuffle(a, x, scale);
    case TAIL_RESTORE:
        break;
    }
    return op_add(a, nn_conv2d(same(a, "conv_last"), x, c->channels, 3), picture);
}
