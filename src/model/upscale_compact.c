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
