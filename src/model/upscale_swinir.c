/* upscale_swinir.c - SwinIR (Liang et al. 2021): groups of Swin blocks, every second one with its windows shifted by half
 * a window. The picture is extended by reflection to whole windows before (the caller's work: `multiple`). */
#include "model/upscale_parts.h"

enum { MAX_BLOCKS = 64 };

static kiln_status count_groups(const tensor_finder *f, transformer_config *t, kiln_error *err)
{
    while (t->groups < UPSCALE_MAX_GROUPS &&
           find_shape(f, "layers.%d.residual_group.blocks.0.norm1.weight", t->groups)) {
        int i = t->groups++;
        while (t->blocks[i] < MAX_BLOCKS &&
               find_shape(f, "layers.%d.residual_group.blocks.%d.norm1.weight", i, t->blocks[i]))
            t->blocks[i]++;
        t->heads[i] =
            find_dim(f, 1, "layers.%d.residual_group.blocks.0.attn.relative_position_bias_table", i);
        if (t->heads[i] < 1 || t->features % t->heads[i])
            return fail(err, KILN_UNSUPPORTED, "this SwinIR has %d features for %d heads in group %d",
                        t->features, t->heads[i], i);
    }
    return KILN_OK;
}

static kiln_status refuse_relatives(const tensor_finder *f, kiln_error *err)
{
    static const struct {
        const char *tensor, *name;
    } relatives[] = {{"layers.0.residual_group.blocks.0.attn.logit_scale", "a Swin2SR"},
                     {"layers.0.residual_group.blocks.0.conv_block.cab.0.weight", "a HAT"},
                     {"absolute_pos_embed", "a SwinIR with positions of its own"}};
    for (size_t i = 0; i < sizeof relatives / sizeof *relatives; i++)
        if (find_shape(f, "%s", relatives[i].tensor))
            return fail(err, KILN_UNSUPPORTED, "this is %s, which is not known here", relatives[i].name);
    return KILN_OK;
}

kiln_status swinir_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    transformer_config *t = &c->of.transformer;
    const char *first = find_shape(f, "conv_first.1.weight") ? "conv_first.1" : "conv_first";
    t->features = find_dim(f, 0, "%s.weight", first);
    if (!t->features || !find_shape(f, "layers.0.residual_group.blocks.0.norm1.weight"))
        return upscale_not_this(err);
    int in = find_dim(f, 1, "%s.weight", first);
    int rows = find_dim(f, 0, "layers.0.residual_group.blocks.0.attn.relative_position_bias_table");
    t->window[0] = t->window[1] = (upscale_root(rows) + 1) / 2;
    t->hidden = find_dim(f, 0, "layers.0.residual_group.blocks.0.mlp.fc1.weight");
    t->attention_bias = find_shape(f, "layers.0.residual_group.blocks.0.attn.qkv.bias") != NULL;
    t->embedding_norm = find_shape(f, "patch_embed.norm.weight") != NULL;
    c->unshuffle = first[10] ? upscale_root(in / 3) : 1;
    c->channels = first[10] ? 3 : in;
    kiln_status status = refuse_relatives(f, err);
    if (status == KILN_OK && (!rows || t->window[0] < 2 || !t->hidden || !c->unshuffle))
        status = fail(err, KILN_UNSUPPORTED, "this SwinIR's window or first convolution is of no known form");
    if (status == KILN_OK)
        status = count_groups(f, t, err);
    if (status == KILN_OK)
        status = transformer_tail_from_tensors(f, c, err);
    /* Only the published models against JPEG have windows of 7, and they count in 0..255. */
    t->range = t->window[0] == 7 ? 255 : 1;
    c->multiple = c->align = t->window[0] * c->unshuffle;
    return status;
}

static value attention(at a, const upscale_config *c, int group, int index, value x)
{
    const transformer_config *t = &c->of.transformer;
    nn_bias bias = t->attention_bias ? NN_BIAS : NN_NO_BIAS;
    int side = t->window[0], shift = index % 2 ? side / 2 : 0;
    window_attention_attributes windows = {
        .heads = t->heads[group], .height = side, .width = side, .shift_y = shift, .shift_x = shift};
    value q = nn_linear(in(a, "q", "qkv[0/3]"), x, t->features, bias);
    value k = nn_linear(in(a, "k", "qkv[1/3]"), x, t->features, bias);
    value v = nn_linear(in(a, "v", "qkv[2/3]"), x, t->features, bias);
    value table = graph_parameter(a, "relative_position_bias_table",
                                  SHAPE2((2 * side - 1) * (2 * side - 1), t->heads[group]), ROLE_EMBEDDING);
    return nn_linear(same(a, "proj"), op_window_attention(a, q, k, v, table, &windows), t->features, NN_BIAS);
}

static value block(at a, const upscale_config *c, int group, int index, value x)
{
    const transformer_config *t = &c->of.transformer;
    value y = attention(same(a, "attn"), c, group, index, nn_layer_norm(same(a, "norm1"), x, 1e-5f));
    x = op_add(a, y, x);
    y = nn_linear(same(a, "mlp.fc1"), nn_layer_norm(same(a, "norm2"), x, 1e-5f), t->hidden, NN_BIAS);
    y = nn_linear(same(a, "mlp.fc2"), op_activation(a, y, ACTIVATION_GELU, 0), t->features, NN_BIAS);
    return op_add(a, y, x);
}

static value deep_features(at a, const upscale_config *c, value x)
{
    const transformer_config *t = &c->of.transformer;
    if (t->embedding_norm)
        x = nn_layer_norm(same(a, "patch_embed.norm"), x, 1e-5f);
    for (int i = 0; i < t->groups; i++) {
        at group = in_numbered(a, "layers.%d", i, "layers.%d", i);
        value y = x;
        for (int k = 0; k < t->blocks[i]; k++)
            y = block(in_numbered(group, "residual_group.blocks.%d", k, "residual_group.blocks.%d", k), c, i,
                      k, y);
        x = graph_tap(group, op_add(a, transformer_convolution(same(group, "conv"), c, y), x));
    }
    return nn_layer_norm(same(a, "norm"), x, 1e-5f);
}

value swinir_apply(at a, const upscale_config *c, value picture)
{
    const transformer_config *t = &c->of.transformer;
    value centred = upscale_centre(a, picture, t->range);
    value small = op_pixel_unshuffle(a, centred, c->unshuffle);
    value x = nn_conv2d(same(a, c->unshuffle > 1 ? "conv_first.1" : "conv_first"), small, t->features, 3);
    value y = transformer_convolution(same(a, "conv_after_body"), c, deep_features(a, c, x));
    return upscale_uncentre(a, transformer_tail(a, c, op_add(a, y, x), centred), t->range);
}
