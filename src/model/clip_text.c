/* clip_text.c - the CLIP text encoder, declared once, with its three ways of naming tensors. */
#include "model/clip_text.h"

#include "nn/nn.h"

/* Step into a child whose name depends on the dialect. */
static at named(at a, const clip_text_config *c, const char *canonical, const char *openclip)
{
    return in(a, canonical, c->dialect == CLIP_DIALECT_OPENCLIP ? openclip : canonical);
}

static const nn_attention_names separate = {
    .query = {"q_proj", "q_proj"},
    .key = {"k_proj", "k_proj"},
    .value = {"v_proj", "v_proj"},
    .out = {"out_proj", "out_proj"},
    .qkv_bias = NN_BIAS,
    .out_bias = NN_BIAS,
};

static const nn_attention_names fused = {
    .query = {"q_proj", "in_proj_*[0/3]"},
    .key = {"k_proj", "in_proj_*[1/3]"},
    .value = {"v_proj", "in_proj_*[2/3]"},
    .out = {"out_proj", "out_proj"},
    .qkv_bias = NN_BIAS,
    .out_bias = NN_BIAS,
};

static value feed_forward(at a, const clip_text_config *c, value x)
{
    value h = nn_linear(named(a, c, "fc1", "c_fc"), x, c->feed_forward, NN_BIAS);
    h = op_activation(a, h, c->quick_gelu ? ACTIVATION_QUICK_GELU : ACTIVATION_GELU, 0.0f);
    return nn_linear(named(a, c, "fc2", "c_proj"), h, c->width, NN_BIAS);
}

static value layer(at a, const clip_text_config *c, value x)
{
    const nn_attention_names *names = c->dialect == CLIP_DIALECT_OPENCLIP ? &fused : &separate;
    graph_segment(a);
    value h = nn_layer_norm(named(a, c, "layer_norm1", "ln_1"), x, c->norm_epsilon);
    x = op_add(a, x, nn_attention(named(a, c, "self_attn", "attn"), h, NO_VALUE, c->heads, true, names));
    h = nn_layer_norm(named(a, c, "layer_norm2", "ln_2"), x, c->norm_epsilon);
    return graph_tap(a, op_add(a, x, feed_forward(same(a, "mlp"), c, h)));
}

/* Vectors in the place of tokens, given with each run; the lookup gives zeros there. */
static value given_vectors(at root, const clip_text_config *c, const clip_text_shape *s, value x)
{
    if (!s->word_vectors)
        return x;
    shape size = SHAPE3(s->batch, s->tokens, c->width);
    return op_add(root, x, graph_input(root.graph, same(root, "word_vectors").canonical, size, DTYPE_F32));
}

/* The one place that turns ids into rows. */
static value embeddings(at root, at a, const clip_text_config *c, const clip_text_shape *s, value ids)
{
    const graph_hooks *hooks = a.graph->hooks;
    at table = named(a, c, "embeddings.token_embedding", "token_embedding");
    value x = nn_token_embedding(table, ids, c->vocabulary, c->width);
    if (hooks && hooks->tokens)
        x = hooks->tokens(hooks->self, table, ids, x);
    x = given_vectors(root, c, s, x);
    return nn_position_embedding(named(a, c, "embeddings.position_embedding", "positional_embedding!"), x,
                                 c->positions);
}

static value input(at root, const char *name, shape s)
{
    return graph_input(root.graph, same(root, name).canonical, s, DTYPE_I32);
}

static void output(at root, const char *name, value v)
{
    graph_output(root.graph, same(root, name).canonical, v);
}

static void pool(at root, const clip_text_config *c, const clip_text_shape *s, value last)
{
    at a = in(root, "text_projection", "text_projection!^T");
    value pooled = NO_VALUE;
    if (s->outputs & (CLIP_POOLED | CLIP_TEXT_EMBEDS))
        pooled = op_gather_tokens(root, last, input(root, "pooling_index", SHAPE1(s->batch)));
    if (s->outputs & CLIP_POOLED)
        output(root, "pooled", pooled);
    if (!c->projection_channels)
        return;
    if (s->outputs & CLIP_TEXT_EMBEDS)
        output(root, "text_embeds", nn_linear(a, pooled, c->projection_channels, NN_NO_BIAS));
    else
        graph_parameter(a, "weight", SHAPE2(c->projection_channels, c->width), ROLE_WEIGHT);
}

static bool fits(at root, const clip_text_config *c, const clip_text_shape *s)
{
    if (s->batch < 1 || s->tokens < 1 || s->tokens > c->positions)
        graph_fail(root, "a text encoder of %d positions cannot be drawn for batch %d, %d tokens",
                   c->positions, s->batch, s->tokens);
    else if ((s->outputs & (CLIP_HIDDEN_RAW | CLIP_HIDDEN_LN)) && (s->skip < 1 || s->skip > c->layers))
        graph_fail(root, "clip skip %d is not possible: the text encoder has %d layers", s->skip, c->layers);
    else if ((s->outputs & CLIP_TEXT_EMBEDS) && !c->projection_channels)
        graph_fail(root, "the text encoder has no projection, so it gives no text_embeds");
    return !graph_failed(root);
}

void clip_text_draw(graph *g, const clip_text_config *c, const clip_text_shape *s)
{
    at root = s->place ? same(graph_root(g), s->place) : graph_root(g);
    if (!fits(root, c, s))
        return;
    at a = in(root, "text_model", c->dialect == CLIP_DIALECT_TRANSFORMERS ? "text_model" : "");
    graph_segment(root);
    value ids = input(root, "ids", SHAPE2(s->batch, s->tokens));
    value x = embeddings(root, a, c, s, ids), hidden = NO_VALUE;
    if (s->outputs & CLIP_HIDDEN_0)
        output(root, "hidden_0", x);
    const char *original =
        c->dialect == CLIP_DIALECT_OPENCLIP ? "transformer.resblocks.%d" : "encoder.layers.%d";
    for (int i = 0; i < c->layers; i++) {
        x = layer(in_numbered(a, "encoder.layers.%d", i, original, i), c, x);
        if (i == c->layers - s->skip)
            hidden = x;
    }
    at norm = named(a, c, "final_layer_norm", "ln_final");
    graph_segment(norm);
    value last = nn_layer_norm(norm, x, c->norm_epsilon);
    if (s->outputs & CLIP_LAST_HIDDEN_STATE)
        output(root, "last_hidden_state", last);
    if (s->outputs & CLIP_HIDDEN_RAW)
        output(root, "hidden_raw", hidden);
    if (s->outputs & CLIP_HIDDEN_LN)
        output(root, "hidden_ln", nn_layer_norm(norm, hidden, c->norm_epsilon));
    pool(root, c, s, last);
}

int clip_pooling_index(const clip_text_config *c, const int32_t *ids, int count)
{
    int best = 0;
    for (int i = 0; i < count; i++) {
        if (c->eos_token != 2 && ids[i] == c->eos_token)
            return i;
        if (c->eos_token == 2 && ids[i] > ids[best])
            best = i;
    }
    return best;
}
