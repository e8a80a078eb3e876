/* ip_adapter.c - IP-Adapter, its three forms. */
#include "model/ip_adapter.h"

#include "nn/nn.h"

#include <stdio.h>

static const float epsilon = 1e-5f;
enum { HEAD_CHANNELS = 64 };

/* ------------------------------------------------------------------------------------ what a file holds */

static void read_resampler(const tensor_finder *f, ip_adapter_config *c)
{
    c->projection = IP_RESAMPLER;
    c->tokens = find_dim(f, 1, "image_proj.latents");
    c->inner = find_dim(f, 2, "image_proj.latents");
    c->image_channels = find_dim(f, 1, "image_proj.proj_in.weight");
    c->context_channels = find_dim(f, 0, "image_proj.proj_out.weight");
    c->heads = find_dim(f, 0, "image_proj.layers.0.0.to_q.weight") / HEAD_CHANNELS;
    c->feed_forward = find_dim(f, 0, "image_proj.layers.0.1.1.weight");
    while (c->depth < 64 && find_shape(f, "image_proj.layers.%d.0.to_q.weight", c->depth))
        c->depth++;
}

static void read_linear(const tensor_finder *f, ip_adapter_config *c)
{
    c->projection = IP_LINEAR;
    c->image_channels = find_dim(f, 1, "image_proj.proj.weight");
    c->context_channels = find_dim(f, 0, "image_proj.norm.weight");
    int rows = find_dim(f, 0, "image_proj.proj.weight");
    c->tokens = c->context_channels && rows % c->context_channels == 0 ? rows / c->context_channels : 0;
}

static void read_full(const tensor_finder *f, ip_adapter_config *c)
{
    c->projection = IP_FULL;
    c->image_channels = find_dim(f, 1, "image_proj.proj.0.weight");
    c->context_channels = find_dim(f, 0, "image_proj.proj.3.weight");
    c->inner = find_dim(f, 0, "image_proj.proj.0.weight");
}

static bool is_complete(const ip_adapter_config *c)
{
    if (!c->image_channels || !c->context_channels || !c->layers)
        return false;
    if (c->projection == IP_FULL)
        return c->inner > 0;
    return c->tokens > 0 && c->tokens <= 4096 &&
           (c->projection == IP_LINEAR || (c->inner && c->heads && c->depth && c->feed_forward));
}

kiln_status ip_adapter_config_from_tensors(const tensor_finder *f, ip_adapter_config *out, kiln_error *err)
{
    ip_adapter_config c = {0};
    *out = c;
    if (find_shape(f, "image_proj.perceiver_resampler.proj_in.weight") ||
        (find_shape(f, "image_proj.proj.0.weight") && !find_shape(f, "image_proj.proj.3.weight")))
        return fail(
            err, KILN_UNSUPPORTED,
            "a FaceID adapter takes what a face recogniser (InsightFace) says, which is not supported");
    if (find_shape(f, "image_proj.proj.weight"))
        read_linear(f, &c);
    else if (find_shape(f, "image_proj.latents"))
        read_resampler(f, &c);
    else
        read_full(f, &c);
    while (c.layers < IP_ADAPTER_MAX_LAYERS &&
           (c.channels[c.layers] = find_dim(f, 0, "ip_adapter.%d.to_k_ip.weight", 2 * c.layers + 1)) > 0)
        c.layers++;
    if (!is_complete(&c))
        return fail(err, KILN_NOT_FOUND,
                    "there is no IP-Adapter here: 'image_proj.proj.weight' (or 'image_proj.latents', "
                    "'image_proj.proj.3.weight') or 'ip_adapter.1.to_k_ip.weight' is missing");
    *out = c;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ what a UNet wants */

/* The widths of a UNet's cross-attentions: down, up, middle. How many there are. */
static int list_attentions(const unet_config *u, int channels[IP_ADAPTER_MAX_LAYERS])
{
    int count = 0;
    for (int i = 0; i < u->levels; i++)
        for (int j = 0; j < u->layers[i]; j++)
            for (int k = 0; k < u->depth[i][j] && count < IP_ADAPTER_MAX_LAYERS; k++)
                channels[count++] = u->channels[i];
    for (int i = u->levels - 1; i >= 0; i--)
        for (int j = 0; j <= u->layers[i]; j++)
            for (int k = 0; k < u->up_depth[i][j] && count < IP_ADAPTER_MAX_LAYERS; k++)
                channels[count++] = u->channels[i];
    for (int k = 0;
         u->middle == UNET_MIDDLE_ATTENTION && k < u->middle_depth && count < IP_ADAPTER_MAX_LAYERS; k++)
        channels[count++] = u->channels[u->levels - 1];
    return count;
}

kiln_status ip_adapter_check(const ip_adapter_config *c, const unet_config *u, const char *name,
                             kiln_error *err)
{
    int channels[IP_ADAPTER_MAX_LAYERS], count = list_attentions(u, channels);
    if (c->context_channels != u->context_channels)
        return fail(err, KILN_MISMATCH,
                    "%s was made for a model whose context has the width %d, this one's is %d", name,
                    c->context_channels, u->context_channels);
    if (c->layers != count)
        return fail(err, KILN_MISMATCH, "%s was made for a UNet with %d cross-attentions, this one has %d",
                    name, c->layers, count);
    for (int i = 0; i < count; i++)
        if (c->channels[i] != channels[i])
            return fail(err, KILN_MISMATCH, "%s: cross-attention %d has the width %d, the UNet's is %d", name,
                        i, c->channels[i], channels[i]);
    return KILN_OK;
}

int ip_adapter_tokens(const ip_adapter_config *c, int states)
{
    return c->projection == IP_FULL ? states : c->tokens;
}

/* ------------------------------------------------------------------------------------ drawing */

/* The latents look at the picture's states and at themselves. */
static value perceive(at a, const ip_adapter_config *c, value x, value latents)
{
    int64_t inner = (int64_t)c->heads * HEAD_CHANNELS;
    value h = nn_layer_norm(in(a, "ln1", "0.norm2"), latents, epsilon);
    value seen[2] = {nn_layer_norm(in(a, "ln0", "0.norm1"), x, epsilon), h};
    value from = op_concat(a, 2, seen, 1);
    value q = nn_linear(in(a, "attn.to_q", "0.to_q"), h, inner, NN_NO_BIAS);
    value k = nn_linear(in(a, "attn.to_k", "0.to_kv[0/2]"), from, inner, NN_NO_BIAS);
    value v = nn_linear(in(a, "attn.to_v", "0.to_kv[1/2]"), from, inner, NN_NO_BIAS);
    h = op_attention(a, q, k, v, c->heads, false);
    return op_add(a, latents, nn_linear(in(a, "attn.to_out.0", "0.to_out"), h, c->inner, NN_NO_BIAS));
}

static value resample(at a, const ip_adapter_config *c, value x)
{
    value zeros = op_fill(a, SHAPE3(1, c->tokens, c->inner), 0.0f);
    value latents = op_add_positions(
        a, zeros, graph_parameter(a, "latents", SHAPE2(c->tokens, c->inner), ROLE_EMBEDDING));
    x = nn_linear(same(a, "proj_in"), x, c->inner, NN_BIAS);
    for (int i = 0; i < c->depth; i++) {
        at block = in_numbered(a, "layers.%d", i, "layers.%d", i);
        latents = perceive(block, c, x, latents);
        value h = nn_layer_norm(in(block, "ff.0", "1.0"), latents, epsilon);
        h = nn_linear(in(block, "ff.1.net.0.proj", "1.1"), h, c->feed_forward, NN_NO_BIAS);
        h = op_activation(block, h, ACTIVATION_GELU, 0.0f);
        latents = op_add(block, latents, nn_linear(in(block, "ff.1.net.2", "1.3"), h, c->inner, NN_NO_BIAS));
    }
    latents = nn_linear(same(a, "proj_out"), latents, c->context_channels, NN_BIAS);
    return nn_layer_norm(same(a, "norm_out"), latents, epsilon);
}

static value to_tokens(at a, const ip_adapter_config *c, int states)
{
    graph *g = a.graph;
    if (c->projection == IP_LINEAR) {
        value x = graph_input(g, "image", SHAPE2(1, c->image_channels), DTYPE_F32);
        x = nn_linear(in(a, "image_embeds", "proj"), x, (int64_t)c->tokens * c->context_channels, NN_BIAS);
        x = op_reshape(a, x, SHAPE3(1, c->tokens, c->context_channels));
        return nn_layer_norm(same(a, "norm"), x, epsilon);
    }
    value x = graph_input(g, "image", SHAPE3(1, states, c->image_channels), DTYPE_F32);
    if (c->projection == IP_RESAMPLER)
        return resample(a, c, x);
    x = op_activation(a, nn_linear(in(a, "ff.net.0.proj", "proj.0"), x, c->inner, NN_BIAS), ACTIVATION_GELU,
                      0.0f);
    x = nn_linear(in(a, "ff.net.2", "proj.2"), x, c->context_channels, NN_BIAS);
    return nn_layer_norm(in(a, "norm", "proj.3"), x, epsilon);
}

void ip_adapter_draw(graph *g, const ip_adapter_config *c, int states)
{
    at root = graph_root(g);
    if (states < 1) {
        graph_fail(root, "an IP-Adapter cannot be drawn for %d hidden states", states);
        return;
    }
    value tokens = to_tokens(same(root, "image_proj"), c, states);
    graph_output(g, "tokens", tokens);
    for (int i = 0; i < c->layers; i++) {
        char name[32];
        at a = in_numbered(root, "ip_adapter.%d", 2 * i + 1, "ip_adapter.%d", 2 * i + 1);
        snprintf(name, sizeof name, "image_key_%d", i);
        graph_output(g, name, nn_linear(same(a, "to_k_ip"), tokens, c->channels[i], NN_NO_BIAS));
        snprintf(name, sizeof name, "image_value_%d", i);
        graph_output(g, name, nn_linear(same(a, "to_v_ip"), tokens, c->channels[i], NN_NO_BIAS));
    }
}
