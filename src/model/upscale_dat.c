/* upscale_dat.c - DAT (Chen et al. 2023): blocks whose attention is in turn spatial (windows of h x w for one half of the
 * channels and w x h for the other) and between channels, each joined with a depthwise convolution of the values by two
 * gates: one from channels, one from places. Maps are extended by zeros to whole windows inside a block. */
#include "model/upscale_parts.h"

enum { MAX_BLOCKS = 64 };

/* Sides of the windows: their product is the number of tokens, and (2h-1)(2w-1) that of relative positions. */
static bool find_window(const tensor_finder *f, int window[2])
{
    int positions = find_dim(f, 0, "layers.0.blocks.0.attn.attns.0.rpe_biases");
    int tokens = find_dim(f, 0, "layers.0.blocks.0.attn.attns.0.relative_position_index");
    if (positions < 1 || tokens < 1 || tokens > 4096)
        return false;
    for (int h = 1; h * h <= tokens; h++)
        if (tokens % h == 0 && (2 * h - 1) * (2 * (tokens / h) - 1) == positions) {
            window[0] = h;
            window[1] = tokens / h;
            return true;
        }
    return false;
}

static kiln_status count_groups(const tensor_finder *f, transformer_config *t, kiln_error *err)
{
    while (t->groups < UPSCALE_MAX_GROUPS && find_shape(f, "layers.%d.blocks.0.norm1.weight", t->groups)) {
        int i = t->groups++;
        while (t->blocks[i] < MAX_BLOCKS &&
               find_shape(f, "layers.%d.blocks.%d.norm1.weight", i, t->blocks[i]))
            t->blocks[i]++;
        t->heads[i] = find_dim(f, 0, "layers.%d.blocks.1.attn.temperature", i);
        if (!t->heads[i])
            t->heads[i] = 2 * find_dim(f, 0, "layers.%d.blocks.0.attn.attns.0.pos.pos3.2.weight", i);
        if (t->heads[i] < 2 || t->heads[i] % 2 || t->features % t->heads[i])
            return fail(err, KILN_UNSUPPORTED, "this DAT has %d features for %d heads in group %d",
                        t->features, t->heads[i], i);
    }
    return KILN_OK;
}

kiln_status dat_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    transformer_config *t = &c->of.transformer;
    t->features = find_dim(f, 0, "conv_first.weight");
    c->channels = find_dim(f, 1, "conv_first.weight");
    if (!t->features || !find_shape(f, "layers.0.blocks.0.attn.attns.0.rpe_biases"))
        return upscale_not_this(err);
    t->hidden = find_dim(f, 0, "layers.0.blocks.0.ffn.fc1.weight");
    t->attention_bias = find_shape(f, "layers.0.blocks.0.attn.qkv.bias") != NULL;
    t->range = 1;
    if (!find_window(f, t->window) || t->window[1] > 64 || !t->hidden || t->hidden % 2 || t->features < 32)
        return fail(err, KILN_UNSUPPORTED, "this DAT's windows or features are of no known form");
    c->align = t->window[0] * t->window[1];
    while (c->align / 2 % t->window[0] == 0 && c->align / 2 % t->window[1] == 0)
        c->align /= 2;
    kiln_status status = count_groups(f, t, err);
    return status == KILN_OK ? transformer_tail_from_tensors(f, c, err) : status;
}

/* The published code shifts the windows of every fourth block, from the third or the first on by turns of groups. */
static bool is_shifted(int group, int index)
{
    return group % 2 ? index % 4 == 0 : index > 0 && (index - 2) % 4 == 0;
}

static value batch_norm(at a, value x)
{
    shape channels = SHAPE1(value_channels(a, x));
    return op_batch_norm(a, x, graph_parameter(a, "running_mean", channels, ROLE_NORM),
                         graph_parameter(a, "running_var", channels, ROLE_NORM),
                         graph_parameter(a, "weight", channels, ROLE_NORM),
                         graph_parameter(a, "bias", channels, ROLE_NORM), 1e-5f);
}

static value depthwise(at a, value x)
{
    int64_t channels = value_channels(a, x);
    return op_depthwise_conv2d(a, x, graph_parameter(a, "weight", SHAPE4(channels, 1, 3, 3), ROLE_WEIGHT),
                               graph_parameter(a, "bias", SHAPE1(channels), ROLE_BIAS));
}

static value gelu(at a, value x)
{
    return op_activation(a, x, ACTIVATION_GELU, 0);
}

/* One number for each channel of a sample, from the mean over places: [N,H,W,C] -> [N,C]. */
static value channel_gate(at a, value x)
{
    shape X = value_shape(a, x);
    if (!x.index)
        return NO_VALUE;
    value y = op_scale(a, op_sum_positions(a, x), 1.0f / (float)(X.dim[1] * X.dim[2]), 0);
    y = nn_pointwise(same(a, "1"), y, X.dim[3] / 8, NN_BIAS);
    y = gelu(a, batch_norm(same(a, "2"), y));
    y = nn_pointwise(same(a, "4"), y, X.dim[3], NN_BIAS);
    return op_activation(a, y, ACTIVATION_SIGMOID, 0);
}

/* One number for each place: [N,H,W,C] -> [N*H*W,1]. */
static value place_gate(at a, value x)
{
    shape X = value_shape(a, x);
    if (!x.index)
        return NO_VALUE;
    value y = nn_pointwise(same(a, "0"), x, X.dim[3] / 16, NN_BIAS);
    y = gelu(a, batch_norm(same(a, "1"), y));
    y = nn_pointwise(same(a, "3"), y, 1, NN_BIAS);
    return op_reshape(a, op_activation(a, y, ACTIVATION_SIGMOID, 0),
                      SHAPE2(X.dim[0] * X.dim[1] * X.dim[2], 1));
}

/* The channels of every place times its number. */
static value gate_places(at a, value x, value gate)
{
    shape X = value_shape(a, x);
    if (!x.index)
        return NO_VALUE;
    value rows = op_reshape(a, x, SHAPE3(X.dim[0] * X.dim[1] * X.dim[2], X.dim[3], 1));
    return op_reshape(a, op_multiply_channels(a, rows, gate), X);
}

/* Attention and convolution, each gated by the other: by channels the one that looked at places, and the other way. */
static value join(at a, value attended, value convolved, bool spatial)
{
    value channels = channel_gate(same(a, "channel_interaction"), spatial ? convolved : attended);
    value places = place_gate(same(a, "spatial_interaction"), spatial ? attended : convolved);
    if (spatial) {
        attended = op_multiply_channels(a, attended, channels);
        convolved = gate_places(a, convolved, places);
    } else {
        attended = gate_places(a, attended, places);
        convolved = op_multiply_channels(a, convolved, channels);
    }
    return nn_linear(same(a, "proj"), op_add(a, attended, convolved), value_channels(a, attended), NN_BIAS);
}

/* The bias of each relative position, by a small network of it: [(2h-1)(2w-1), heads]. */
static value position_bias(at a, int height, int width, int heads, int64_t features)
{
    value x = graph_parameter(a, "rpe_biases", SHAPE2((2 * height - 1) * (2 * width - 1), 2), ROLE_EMBEDDING);
    at pos = same(a, "pos");
    x = nn_linear(same(pos, "pos_proj"), x, features, NN_BIAS);
    for (int i = 1; i <= 3; i++) {
        at here = in_numbered(pos, "pos%d", i, "pos%d", i);
        value y = nn_layer_norm(same(here, "0"), x, 1e-5f);
        y = op_activation(here, y, ACTIVATION_RELU, 0);
        x = nn_linear(same(here, "2"), y, i == 3 ? heads : features, NN_BIAS);
    }
    return x;
}

/* Zeros below and to the right, up to whole windows of both kinds. */
static value extend(at a, value x, int64_t height, int64_t width)
{
    shape X = value_shape(a, x);
    if (!x.index)
        return NO_VALUE;
    if (height > X.dim[1]) {
        value below = op_fill(a, SHAPE4(X.dim[0], height - X.dim[1], X.dim[2], X.dim[3]), 0);
        x = op_concat(a, 2, (value[]){x, below}, 1);
    }
    if (width > X.dim[2]) {
        value right = op_fill(a, SHAPE4(X.dim[0], height, width - X.dim[2], X.dim[3]), 0);
        x = op_concat(a, 2, (value[]){x, right}, 2);
    }
    return x;
}

static value spatial_attention(at a, const upscale_config *c, int group, int index, const value qkv[3])
{
    const transformer_config *t = &c->of.transformer;
    shape X = value_shape(a, qkv[2]);
    if (!X.rank)
        return NO_VALUE;
    int64_t whole = t->window[1] > t->window[0] ? t->window[1] : t->window[0];
    int64_t height = (X.dim[1] + whole - 1) / whole * whole, width = (X.dim[2] + whole - 1) / whole * whole;
    value halves[2];
    for (int i = 0; i < 2; i++) {
        at here = in_numbered(a, "attns.%d", i, "attns.%d", i);
        int h = t->window[i], w = t->window[1 - i], heads = t->heads[group] / 2;
        window_attention_attributes windows = {.heads = heads, .height = h, .width = w};
        if (is_shifted(group, index)) {
            windows.shift_y = h / 2;
            windows.shift_x = w / 2;
        }
        value part[3];
        for (int k = 0; k < 3; k++)
            part[k] = extend(here, op_slice(here, qkv[k], -1, i * X.dim[3] / 2, X.dim[3] / 2), height, width);
        value table = position_bias(here, h, w, heads, X.dim[3] / 2 / 4 / 4);
        value y = op_window_attention(here, part[0], part[1], part[2], table, &windows);
        halves[i] = op_slice(here, op_slice(here, y, 1, 0, X.dim[1]), 2, 0, X.dim[2]);
    }
    return op_concat(a, 2, halves, -1);
}

static value channel_attention(at a, const upscale_config *c, int group, const value qkv[3])
{
    shape X = value_shape(a, qkv[2]), tokens = SHAPE3(X.dim[0], X.dim[1] * X.dim[2], X.dim[3]);
    int heads = c->of.transformer.heads[group];
    if (!X.rank)
        return NO_VALUE;
    value temperature = graph_parameter(a, "temperature", SHAPE3(heads, 1, 1), ROLE_NORM);
    value y = op_channel_attention(a, op_reshape(a, qkv[0], tokens), op_reshape(a, qkv[1], tokens),
                                   op_reshape(a, qkv[2], tokens), temperature, heads);
    return op_reshape(a, y, X);
}

static value attention(at a, const upscale_config *c, int group, int index, value x)
{
    const transformer_config *t = &c->of.transformer;
    nn_bias bias = t->attention_bias ? NN_BIAS : NN_NO_BIAS;
    const value qkv[3] = {nn_linear(in(a, "q", "qkv[0/3]"), x, t->features, bias),
                          nn_linear(in(a, "k", "qkv[1/3]"), x, t->features, bias),
                          nn_linear(in(a, "v", "qkv[2/3]"), x, t->features, bias)};
    bool spatial = index % 2 == 0;
    value convolved = depthwise(same(a, "dwconv.0"), qkv[2]);
    convolved = gelu(a, batch_norm(same(a, "dwconv.1"), convolved));
    value attended =
        spatial ? spatial_attention(a, c, group, index, qkv) : channel_attention(a, c, group, qkv);
    return join(a, attended, convolved, spatial);
}

/* Half of the hidden features gate the other half, after a norm and a depthwise convolution. */
static value feed_forward(at a, const transformer_config *t, value x)
{
    value y = gelu(a, nn_linear(same(a, "fc1"), x, t->hidden, NN_BIAS));
    value gate = op_slice(a, y, -1, t->hidden / 2, t->hidden / 2);
    gate = depthwise(same(a, "sg.conv"), nn_layer_norm(same(a, "sg.norm"), gate, 1e-5f));
    y = op_multiply(a, op_slice(a, y, -1, 0, t->hidden / 2), gate);
    return nn_linear(same(a, "fc2"), y, t->features, NN_BIAS);
}

static value deep_features(at a, const upscale_config *c, value x)
{
    const transformer_config *t = &c->of.transformer;
    x = nn_layer_norm(same(a, "before_RG.1"), x, 1e-5f);
    for (int i = 0; i < t->groups; i++) {
        at group = in_numbered(a, "layers.%d", i, "layers.%d", i);
        value y = x;
        for (int k = 0; k < t->blocks[i]; k++) {
            at here = in_numbered(group, "blocks.%d", k, "blocks.%d", k);
            value z = attention(same(here, "attn"), c, i, k, nn_layer_norm(same(here, "norm1"), y, 1e-5f));
            y = op_add(here, z, y);
            z = feed_forward(same(here, "ffn"), t, nn_layer_norm(same(here, "norm2"), y, 1e-5f));
            y = op_add(here, z, y);
        }
        x = graph_tap(group, op_add(a, transformer_convolution(same(group, "conv"), c, y), x));
    }
    return nn_layer_norm(same(a, "norm"), x, 1e-5f);
}

value dat_apply(at a, const upscale_config *c, value picture)
{
    const transformer_config *t = &c->of.transformer;
    value centred = upscale_centre(a, picture, t->range);
    value x = nn_conv2d(same(a, "conv_first"), centred, t->features, 3);
    value y = transformer_convolution(same(a, "conv_after_body"), c, deep_features(a, c, x));
    return upscale_uncentre(a, transformer_tail(a, c, op_add(a, y, x), centred), t->range);
}
