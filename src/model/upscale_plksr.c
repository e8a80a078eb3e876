/* upscale_plksr.c - RealPLKSR (Lee et al. 2024, in the form that is trained for real pictures): blocks of two 3x3
 * convolutions, one large kernel over a part of the channels, a gate, a 1x1 convolution and a norm. */
#include "model/upscale_parts.h"

enum { MAX_BLOCKS = 512, NORM_GROUPS = 4 };

kiln_status plksr_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    plksr_config *p = &c->of.plksr;
    p->features = find_dim(f, 0, "feats.0.weight");
    c->channels = find_dim(f, 1, "feats.0.weight");
    if (!p->features || !find_shape(f, "feats.1.refine.weight"))
        return upscale_not_this(err);
    p->part = find_dim(f, 0, "feats.1.lk.conv.weight");
    p->kernel = find_dim(f, 2, "feats.1.lk.conv.weight");
    if (!find_shape(f, "feats.1.channel_mixer.0.weight") || !p->part || p->part > p->features ||
        p->kernel % 2 != 1)
        return fail(err, KILN_UNSUPPORTED,
                    "of the PLKSR family only RealPLKSR with one large kernel is known");
    if (find_shape(f, "to_img.init_pos") || find_shape(f, "to_img.offset.weight"))
        return fail(err, KILN_UNSUPPORTED, "this RealPLKSR ends in DySample, which is not known here");
    while (p->blocks < MAX_BLOCKS && find_shape(f, "feats.%d.refine.weight", p->blocks + 1))
        p->blocks++;
    p->attention = find_shape(f, "feats.1.attn.f.0.weight") != NULL;
    p->layer_norm = find_shape(f, "feats.1.layer_norm.weight") != NULL;
    int last = find_dim(f, 0, "feats.%d.weight", p->blocks + 2);
    c->scale = c->channels < 1 || last % c->channels ? 0 : upscale_root(last / c->channels);
    /* Group norm looks at the whole picture. */
    c->reach = p->layer_norm ? p->blocks * (p->kernel / 2 + 2 + p->attention) + 2 : 0;
    return KILN_OK;
}

static value block(at a, const plksr_config *p, value x)
{
    value y = p->layer_norm ? nn_layer_norm(same(a, "layer_norm"), x, 1e-6f) : x;
    y = nn_conv2d(same(a, "channel_mixer.0"), y, 2 * (int64_t)p->features, 3);
    y = nn_conv2d(same(a, "channel_mixer.2"), op_activation(a, y, ACTIVATION_MISH, 0), p->features, 3);
    value large = nn_conv2d(same(a, "lk.conv"), op_slice(a, y, -1, 0, p->part), p->part, p->kernel);
    if (p->part < p->features) {
        value rest = op_slice(a, y, -1, p->part, p->features - p->part);
        y = op_concat(a, 2, (value[]){large, rest}, -1);
    } else {
        y = large;
    }
    if (p->attention) {
        value gate = nn_conv2d(same(a, "attn.f.0"), y, p->features, 3);
        y = op_multiply(a, y, op_activation(a, gate, ACTIVATION_SIGMOID, 0));
    }
    y = nn_pointwise(same(a, "refine"), y, p->features, NN_BIAS);
    if (!p->layer_norm)
        y = nn_group_norm(same(a, "norm"), y, NORM_GROUPS, 1e-5f);
    return op_add(a, y, x);
}

value plksr_apply(at a, const upscale_config *c, value picture)
{
    const plksr_config *p = &c->of.plksr;
    value x = nn_conv2d(same(a, "feats.0"), picture, p->features, 3);
    for (int i = 1; i <= p->blocks; i++) {
        at here = in_numbered(a, "feats.%d", i, "feats.%d", i);
        x = graph_tap(here, block(here, p, x));
    }
    /* Number blocks + 1 is a dropout. */
    at last = in_numbered(a, "feats.%d", p->blocks + 2, "feats.%d", p->blocks + 2);
    x = nn_conv2d(last, x, (int64_t)c->channels * c->scale * c->scale, 3);
    return op_add(a, op_pixel_shuffle(a, x, c->scale), op_upsample(a, picture, c->scale));
}
