/* upscale_compact.c - SRVGGNetCompact: convolutions and PReLUs at the small size, the last one's channels shuffled into
 * pixels and added to the picture enlarged by nearest neighbour. */
#include "model/upscale_parts.h"

enum { MAX_CONVOLUTIONS = 256 };

kiln_status compact_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    const shape *slope = find_shape(f, "body.1.weight");
    compact_config *k = &c->of.compact;
    k->features = find_dim(f, 0, "body.0.weight");
    c->channels = find_dim(f, 1, "body.0.weight");
    if (!k->features || !c->channels || !find_dim(f, 3, "body.0.weight") || !slope || slope->rank != 1)
        return upscale_not_this(err);
    while (k->convolutions < MAX_CONVOLUTIONS && find_shape(f, "body.%d.weight", 2 * k->convolutions + 4))
        k->convolutions++;
    int last = find_dim(f, 0, "body.%d.weight", 2 * k->convolutions + 2);
    c->scale = last % c->channels ? 0 : upscale_root(last / c->channels);
    c->reach = k->convolutions + 2;
    return KILN_OK;
}

upscale_config upscale_compact(int features, int convolutions, int scale)
{
    return (upscale_config){.kind = UPSCALE_COMPACT,
                            .channels = 3,
                            .scale = scale,
                            .unshuffle = 1,
                            .multiple = 1,
                            .align = 1,
                            .reach = convolutions + 2,
                            .of.compact = {.features = features, .convolutions = convolutions}};
}

kiln_status upscale_config_parse(const char *json, size_t length, const char *name, upscale_config *out,
                                 kiln_error *err)
{
    config_reader r;
    kiln_error own;
    config_open(&r, json, length, name, err ? err : &own);
    config_only_word(&r, "_class_name", "SRVGGNetCompact");
    config_only_word(&r, "act_type", "prelu");
    int channels = config_int(&r, "num_in_ch", 3, 1, 3), result = config_int(&r, "num_out_ch", 3, 1, 3);
    *out = upscale_compact(config_int(&r, "num_feat", 64, 1, 4096),
                           config_int(&r, "num_conv", 16, 0, MAX_CONVOLUTIONS),
                           config_int(&r, "upscale", 4, 1, 16));
    out->channels = channels;
    if (channels != result || channels == 2)
        config_fail(&r, KILN_UNSUPPORTED, "a network from %d to %d channels is not known", channels, result);
    return config_close(&r);
}

value compact_apply(at a, const upscale_config *c, value picture)
{
    const compact_config *k = &c->of.compact;
    value x = picture;
    for (int i = 0; i <= k->convolutions; i++) {
        at here = in_numbered(a, "body.%d", 2 * i, "body.%d", 2 * i);
        at next = in_numbered(a, "body.%d", 2 * i + 1, "body.%d", 2 * i + 1);
        x = nn_conv2d(here, x, k->features, 3);
        x = op_prelu(next, x, graph_parameter(next, "weight", SHAPE1(k->features), ROLE_NORM));
    }
    int last = 2 * k->convolutions + 2;
    at here = in_numbered(a, "body.%d", last, "body.%d", last);
    x = nn_conv2d(here, x, (int64_t)c->channels * c->scale * c->scale, 3);
    return op_add(a, op_pixel_shuffle(a, x, c->scale), op_upsample(a, picture, c->scale));
}
