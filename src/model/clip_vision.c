/* clip_vision.c - the CLIP vision encoder, declared once, with its two ways of naming tensors. */
#include "model/clip_vision.h"

#include "nn/nn.h"

/* transformers splits what OpenCLIP keeps in one matrix. */
static const nn_attention_names names = {
    .query = {"q_proj", "in_proj_*[0/3]"},
    .key = {"k_proj", "in_proj_*[1/3]"},
    .value = {"v_proj", "in_proj_*[2/3]"},
    .out = {"out_proj", "out_proj"},
    .qkv_bias = NN_BIAS,
    .out_bias = NN_BIAS,
};

int clip_vision_tokens(const clip_vision_config *c)
{
    int side = c->image_size / c->patch;
    return side * side + 1;
}

static value feed_forward(at a, const clip_vision_config *c, value x)
{
    value h = nn_linear(in(a, "fc1", "c_fc"), x, c->feed_forward, NN_BIAS);
    h = op_activation(a, h, c->quick_gelu ? ACTIVATION_QUICK_GELU : ACTIVATION_GELU, 0.0f);
    return nn_linear(in(a, "fc2", "c_proj"), h, c->width, NN_BIAS);
}

static value layer(at a, const clip_vision_config *c, value x)
{
    value h = nn_layer_norm(in(a, "layer_norm1", "ln_1"), x, c->norm_epsilon);
    x = op_add(a, x, nn_attention(in(a, "self_attn", "attn"), h, NO_VALUE, c->heads, false, &names));
    h = nn_layer_norm(in(a, "layer_norm2", "ln_2"), x, c->norm_epsilon);
    return graph_tap(a, op_add(a, x, feed_forward(same(a, "mlp"), c, h)));
}

/* The class token is a parameter, the same for every picture: the one row of a table of positions, added to zeros. */
static value class_token(at a, const clip_vision_config *c, int batch)
{
    value zeros = op_fill(a, SHAPE3(batch, 1, c->width), 0.0f);
    value token = graph_parameter(a, "class_embedding", SHAPE2(1, c->width), ROLE_EMBEDDING);
    return op_add_positions(a, zeros, token);
}

static value embeddings(at a, const clip_vision_config *c, value pixels, int batch)
{
    conv2d_attributes apart = {.stride = c->patch, .upsample = 1};
    int tokens = clip_vision_tokens(c);
    value patches =
        nn_conv2d_with(in(a, "patch_embedding", "conv1"), pixels, c->width, c->patch, &apart, NN_NO_BIAS);
    patches = op_reshape(a, patches, SHAPE3(batch, tokens - 1, c->width));
    value both[2] = {class_token(a, c, batch), patches};
    return nn_position_embedding(in(a, "position_embedding", "positional_embedding!"),
                                 op_concat(a, 2, both, 1), tokens);
}

static void project(at root, const clip_vision_config *c, unsigned outputs, value last, int batch)
{
    graph *g = root.graph;
    at norm = in(root, "vision_model.post_layernorm", "ln_post"),
       projection = in(root, "visual_projection", "proj!^T");
    value pooled = op_reshape(norm, op_slice(norm, last, 1, 0, 1), SHAPE2(batch, c->width));
    pooled = nn_layer_norm(norm, pooled, c->norm_epsilon);
    if (outputs & CLIP_VISION_POOLED)
        graph_output(g, "pooled", pooled);
    if (!c->projection_channels)
        return;
    value embeds = nn_linear(projection, pooled, c->projection_channels, NN_NO_BIAS);
    if (outputs & CLIP_IMAGE_EMBEDS)
        graph_output(g, "image_embeds", embeds);
}

void clip_vision_draw(graph *g, const clip_vision_config *c, int batch, unsigned outputs)
{
    at root = graph_root(g), a = in(root, "vision_model", "");
    if (batch < 1 || ((outputs & CLIP_IMAGE_EMBEDS) && !c->projection_channels)) {
        graph_fail(root,
                   batch < 1 ? "a vision encoder cannot be drawn for a batch of %d"
                             : "the vision encoder has no projection, so it gives no image_embeds",
                   batch);
        return;
    }
    value pixels = graph_input(g, "pixels", SHAPE4(batch, c->image_size, c->image_size, 3), DTYPE_F32);
    value x = embeddings(in(a, "embeddings", ""), c, pixels, batch);
    /* "pre_layrnorm" is how it is spelled in the files. */
    x = nn_layer_norm(in(a, "pre_layrnorm", "ln_pre"), x, c->norm_epsilon);
    for (int i = 0; i < c->layers; i++) {
        if (i == c->layers - 1 && (outputs & CLIP_VISION_PENULTIMATE))
            graph_output(g, "penultimate", x);
        x = layer(in_numbered(a, "encoder.layers.%d", i, "transformer.resblocks.%d", i), c, x);
    }
    if (outputs & CLIP_VISION_LAST)
        graph_output(g, "last_hidden_state", x);
    project(root, c, outputs, x, batch);
}
