/* controlnet.c - ControlNet, drawn with the UNet's own blocks. */
#include "model/controlnet.h"

#include "model/unet_parts.h"
#include "nn/nn.h"

#include <stdio.h>

int controlnet_factor(const controlnet_config *c)
{
    return 1 << (c->hint_levels - 1);
}

int controlnet_outputs(const controlnet_config *c)
{
    int count = c->unet.levels; /* conv_in, and every halving */
    for (int i = 0; i < c->unet.levels; i++)
        count += c->unet.layers[i];
    return count;
}

/* conv, then per level a convolution and one that halves, all followed by silu, and one to the UNet's width. */
void controlnet_draw_hint(graph *g, const controlnet_config *c, int height, int width)
{
    at root = graph_root(g), a = in(root, "controlnet_cond_embedding", "input_hint_block");
    int factor = controlnet_factor(c);
    if (height < 1 || width < 1) {
        graph_fail(root, "a ControlNet cannot be drawn for %dx%d", width, height);
        return;
    }
    conv2d_attributes halve = {
        .stride = 2, .upsample = 1, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    value x = graph_input(
        g, "hint", SHAPE4(1, (int64_t)height * factor, (int64_t)width * factor, c->hint_channels), DTYPE_F32);
    x = op_silu(a, nn_conv2d(in(a, "conv_in", "0"), x, c->hint[0], 3));
    for (int i = 0; i + 1 < c->hint_levels; i++) {
        at same_size = in_numbered(a, "blocks.%d", 2 * i, "%d", 4 * i + 2),
           halving = in_numbered(a, "blocks.%d", 2 * i + 1, "%d", 4 * i + 4);
        x = op_silu(a, nn_conv2d(same_size, x, c->hint[i], 3));
        x = op_silu(a, nn_conv2d_with(halving, x, c->hint[i + 1], 3, &halve, NN_BIAS));
    }
    x = nn_conv2d(in_numbered(a, "conv_out", 0, "%d", 4 * c->hint_levels - 2), x, c->unet.channels[0], 3);
    graph_output(g, "hint_embedding", x);
}

/* The 1x1 convolution that began as zeros. */
static void put_out(at a, const controlnet_config *c, const char *name, value x)
{
    shape s = value_shape(a, x);
    if (!x.index)
        return;
    x = op_reshape(a, x, SHAPE3(s.dim[0], s.dim[1] * s.dim[2], s.dim[3]));
    x = nn_pointwise(a, x, s.dim[3], NN_BIAS);
    if (c->global_pool) {
        value mean = op_scale(a, op_sum_positions(a, x), 1.0f / (float)(s.dim[1] * s.dim[2]), 0.0f);
        x = op_add_channels(a, op_fill(a, value_shape(a, x), 0.0f), mean);
    }
    graph_output(a.graph, name, op_reshape(a, x, s));
}

void controlnet_draw(graph *g, const controlnet_config *c, const unet_shape *s)
{
    const unet_config *u = &c->unet;
    at root = graph_root(g);
    if (s->batch < 1 || s->height < 1 || s->width < 1 || s->context_tokens < 1) {
        graph_fail(root, "a ControlNet cannot be drawn for batch %d, %dx%d, %d tokens", s->batch, s->width,
                   s->height, s->context_tokens);
        return;
    }
    unet_context context = {.config = u};
    value x = graph_input(g, "sample", SHAPE4(s->batch, s->height, s->width, u->in_channels), DTYPE_F32);
    context.time = unet_condition(root, u, s);
    context.context = graph_input(g, "encoder_hidden_states",
                                  SHAPE3(s->batch, s->context_tokens, u->context_channels), DTYPE_F32);
    x = nn_conv2d(in(root, "conv_in", "input_blocks.0.0"), x, u->channels[0], u->conv_in_kernel);
    x = op_add(
        root, x,
        graph_input(g, "hint_embedding", SHAPE4(s->batch, s->height, s->width, u->channels[0]), DTYPE_F32));
    unet_skips skips = {.count = 0};
    x = unet_draw_down(root, &context, x, &skips);
    x = unet_draw_middle(root, &context, x);
    for (int i = 0; i < skips.count; i++) {
        char name[32];
        snprintf(name, sizeof name, "control_%d", i);
        put_out(in_numbered(root, "controlnet_down_blocks.%d", i, "zero_convs.%d.0", i), c, name,
                skips.value[i]);
    }
    put_out(in(root, "controlnet_mid_block", "middle_block_out.0"), c, "control_mid", x);
}
