/* vae.c - encoder and decoder of AutoencoderKL, declared once. See vae.h. */
#include "model/vae.h"

#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

static const float epsilon = 1e-6f;

static value resnet(at a, const vae_config *c, value x, int channels)
{
    graph_segment(a);
    value h = nn_group_norm(same(a, "norm1"), x, c->groups, epsilon);
    h = nn_conv2d(same(a, "conv1"), op_silu(a, h), channels, 3);
    h = nn_group_norm(same(a, "norm2"), h, c->groups, epsilon);
    h = nn_conv2d(same(a, "conv2"), op_silu(a, h), channels, 3);
    if (value_channels(a, x) != channels)
        x = nn_conv2d(in(a, "conv_shortcut", "nin_shortcut"), x, channels, 1);
    return graph_tap(a, op_add(a, x, h));
}

/* One head over all positions. The original stores the projections as 1x1 convolutions. */
static value attention(at a, const vae_config *c, value x)
{
    static const nn_attention_names names = {
        .query = {"to_q", "q"},
        .key = {"to_k", "k"},
        .value = {"to_v", "v"},
        .out = {"to_out.0", "proj_out"},
        .qkv_bias = NN_BIAS,
        .out_bias = NN_BIAS,
    };
    shape s = value_shape(a, x);
    graph_segment(a);
    value h = nn_group_norm(in(a, "group_norm", "norm"), x, c->groups, epsilon);
    h = op_reshape(a, h, SHAPE3(s.dim[0], s.dim[1] * s.dim[2], s.dim[3]));
    h = nn_attention(a, h, NO_VALUE, 1, false, &names);
    return graph_tap(a, op_add(a, x, op_reshape(a, h, s)));
}

static value middle(at half, const vae_config *c, value x)
{
    at a = in(half, "mid_block", "mid");
    int channels = c->channels[c->levels - 1];
    x = resnet(in(a, "resnets.0", "block_1"), c, x, channels);
    if (c->middle_attention)
        x = attention(in(a, "attentions.0", "attn_1"), c, x);
    x = resnet(in(a, "resnets.1", "block_2"), c, x, channels);
    graph_segment(a);
    return graph_tap(a, x);
}

int vae_factor(const vae_config *c)
{
    return 1 << (c->levels - 1);
}

static value encode(at a, const vae_config *c, value x)
{
    static const conv2d_attributes halve = {.stride = 2, .upsample = 1, .pad_bottom = 1, .pad_right = 1};
    at first = same(a, "conv_in");
    x = graph_tap(first, nn_conv2d(first, x, c->channels[0], 3));
    for (int i = 0; i < c->levels; i++) {
        at block = in_numbered(a, "down_blocks.%d", i, "down.%d", i);
        for (int j = 0; j < c->layers; j++)
            x = resnet(in_numbered(block, "resnets.%d", j, "block.%d", j), c, x, c->channels[i]);
        graph_segment(block);
        if (i + 1 < c->levels)
            x = nn_conv2d_with(in(block, "downsamplers.0.conv", "downsample.conv"), x, c->channels[i], 3,
                               &halve, NN_BIAS);
        graph_tap(block, x);
    }
    x = middle(a, c, x);
    x = nn_group_norm(in(a, "conv_norm_out", "norm_out"), x, c->groups, epsilon);
    return nn_conv2d(same(a, "conv_out"), op_silu(a, x), 2 * c->latent_channels, 3);
}

void vae_draw_encoder(graph *g, const vae_config *c, int batch, int height, int width)
{
    at root = graph_root(g);
    int factor = vae_factor(c);
    if (batch < 1 || height < 1 || width < 1 || height % factor || width % factor) {
        graph_fail(root, "batch %d of %dx%d cannot be encoded: sizes must be multiples of %d", batch, width,
                   height, factor);
        return;
    }
    graph_segment(root);
    value x = graph_input(g, "image", SHAPE4(batch, height, width, c->in_channels), DTYPE_F32);
    x = encode(same(root, "encoder"), c, x);
    if (c->quant_convolution)
        x = nn_conv2d(same(root, "quant_conv"), x, 2 * c->latent_channels, 1);
    graph_output(g, "moments", x);
}

static value decode(at a, const vae_config *c, value x)
{
    static const conv2d_attributes enlarge = {
        .stride = 1, .upsample = 2, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    at first = same(a, "conv_in");
    x = graph_tap(first, nn_conv2d(first, x, c->channels[c->levels - 1], 3));
    x = middle(a, c, x);
    for (int k = 0; k < c->levels; k++) {
        int i = c->levels - 1 - k;
        at block = in_numbered(a, "up_blocks.%d", k, "up.%d", i);
        for (int j = 0; j <= c->layers; j++)
            x = resnet(in_numbered(block, "resnets.%d", j, "block.%d", j), c, x, c->channels[i]);
        graph_segment(block);
        if (i > 0)
            x = nn_conv2d_with(in(block, "upsamplers.0.conv", "upsample.conv"), x, c->channels[i], 3,
                               &enlarge, NN_BIAS);
        graph_tap(block, x);
    }
    x = nn_group_norm(in(a, "conv_norm_out", "norm_out"), x, c->groups, epsilon);
    return nn_conv2d(same(a, "conv_out"), op_silu(a, x), c->out_channels, 3);
}

void vae_draw_decoder(graph *g, const vae_config *c, int batch, int height, int width)
{
    at root = graph_root(g);
    if (batch < 1 || height < 1 || width < 1) {
        graph_fail(root, "batch %d of %dx%d latents cannot be decoded", batch, width, height);
        return;
    }
    graph_segment(root);
    value x = graph_input(g, "latents", SHAPE4(batch, height, width, c->latent_channels), DTYPE_F32);
    if (c->post_quant_convolution)
        x = nn_conv2d(same(root, "post_quant_conv"), x, c->latent_channels, 1);
    graph_output(g, "image", decode(same(root, "decoder"), c, x));
}

bool vae_old_name(const char *canonical, char old[PATH_TEXT])
{
    static const char *const pairs[][2] = {
        {".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}};
    if (!strstr(canonical, ".attentions."))
        return false;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *found = strstr(canonical, pairs[i][0]);
        if (!found)
            continue;
        int length = snprintf(old, PATH_TEXT, "%.*s%s%s", (int)(found - canonical), canonical, pairs[i][1],
                              found + strlen(pairs[i][0]));
        return length > 0 && length < PATH_TEXT;
    }
    return false;
}
