/* unet.c - the UNet, declared once. Each line that owns parameters names them in both dialects. */
#include "model/unet_parts.h"

#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

static void push(unet_skips *s, value v)
{
    if (s->count < (int)(sizeof s->value / sizeof *s->value))
        s->value[s->count++] = v;
}

static value pop(unet_skips *s)
{
    return s->count ? s->value[--s->count] : NO_VALUE;
}

/* h = conv(silu(norm(x))) + project(silu(time));  x + conv(silu(norm(h))).  He et al. 2016, conditioned as in
 * Ho et al. 2020. */
static value resnet(at a, const unet_context *u, value x, int channels)
{
    const unet_config *c = u->config;
    value h = nn_group_norm(in(a, "norm1", "in_layers.0"), x, c->groups, c->norm_epsilon);
    h = nn_conv2d(in(a, "conv1", "in_layers.2"), op_silu(a, h), channels, 3);
    value t = nn_linear(in(a, "time_emb_proj", "emb_layers.1"), u->time, channels, NN_BIAS);
    h = op_add_channels(a, h, t);
    h = nn_group_norm(in(a, "norm2", "out_layers.0"), h, c->groups, c->norm_epsilon);
    h = nn_conv2d(in(a, "conv2", "out_layers.3"), op_silu(a, h), channels, 3);
    if (value_channels(a, x) != channels)
        x = nn_conv2d(in(a, "conv_shortcut", "skip_connection"), x, channels, 1);
    return graph_tap(a, op_add(a, x, h));
}

static value feed_forward(at a, value x)
{
    int64_t channels = value_channels(a, x);
    value h = nn_linear(same(a, "net.0.proj"), x, channels * 8, NN_BIAS);
    return graph_tap(a, nn_linear(same(a, "net.2"), op_geglu(a, h), channels, NN_BIAS));
}

/* What keys and values are made of; what was taught beside the weights may bend it. */
static nn_attention_context context_of(at a, value from)
{
    const graph_hooks *hooks = a.graph->hooks;
    if (!hooks || !hooks->context)
        return (nn_attention_context){.for_keys = from, .for_values = from};
    return (nn_attention_context){.for_keys = hooks->context(hooks->self, a, from, false),
                                  .for_values = hooks->context(hooks->self, a, from, true)};
}

static value attention(at a, const unet_context *u, value x, value context, int level)
{
    nn_attention_context from = context_of(a, context.index ? context : x);
    return graph_tap(a, nn_attention_joined(a, x, &from, u->config->heads[level], &nn_attention_diffusers));
}

/* The keys and values of image prompts for the next cross-attention: inputs of the graph. How many there are. */
static int take_images(at a, const unet_context *u, int64_t channels, value *keys, value *values)
{
    if (!u->images)
        return 0;
    int layer = u->images->layer++;
    int64_t batch = value_shape(a, u->context).dim[0];
    for (int p = 0; p < u->images->count; p++) {
        char name[48];
        shape s = SHAPE3(batch, u->images->tokens[p], channels);
        snprintf(name, sizeof name, "image_key_%d_%d", p, layer);
        keys[p] = graph_input(a.graph, name, s, DTYPE_F32);
        snprintf(name, sizeof name, "image_value_%d_%d", p, layer);
        values[p] = graph_input(a.graph, name, s, DTYPE_F32);
    }
    return u->images->count;
}

/* What the words say, and beside them what image prompts say: each has a softmax of its own (Ye et al. 2023,
 * arXiv:2308.06721, eq. 5; the scale is in the values). */
static value cross_attention(at a, const unet_context *u, value x, int level)
{
    value keys[UNET_MAX_IMAGE_PROMPTS], values[UNET_MAX_IMAGE_PROMPTS];
    nn_attention_context from = context_of(a, u->context);
    from.count = take_images(a, u, value_channels(a, x), keys, values);
    from.keys = keys;
    from.values = values;
    return graph_tap(a, nn_attention_joined(a, x, &from, u->config->heads[level], &nn_attention_diffusers));
}

static value transformer_block(at a, const unet_context *u, value x, int level)
{
    value first = u->config->only_cross_attention[level] ? u->context : NO_VALUE;
    value h = nn_layer_norm(same(a, "norm1"), x, 1e-5f);
    x = op_add(a, x, attention(same(a, "attn1"), u, h, first, level));
    h = nn_layer_norm(same(a, "norm2"), x, 1e-5f);
    x = op_add(a, x, cross_attention(same(a, "attn2"), u, h, level));
    h = nn_layer_norm(same(a, "norm3"), x, 1e-5f);
    return op_add(a, x, feed_forward(same(a, "ff"), h));
}

/* norm, project in, `depth` blocks, project out, plus x. */
static value transformer(at a, const unet_context *u, value x, int level, int depth)
{
    const unet_config *c = u->config;
    shape s = value_shape(a, x);
    graph_segment(a);
    value h = nn_group_norm(same(a, "norm"), x, c->groups, 1e-6f);
    h = op_reshape(a, h, SHAPE3(s.dim[0], s.dim[1] * s.dim[2], s.dim[3]));
    h = c->linear_projection ? nn_linear(same(a, "proj_in"), h, s.dim[3], NN_BIAS)
                             : nn_pointwise(same(a, "proj_in"), h, s.dim[3], NN_BIAS);
    for (int i = 0; i < depth; i++) {
        if (i > 0)
            graph_segment(a);
        h = transformer_block(in_numbered(a, "transformer_blocks.%d", i, "transformer_blocks.%d", i), u, h,
                              level);
    }
    h = c->linear_projection ? nn_linear(same(a, "proj_out"), h, s.dim[3], NN_BIAS)
                             : nn_pointwise(same(a, "proj_out"), h, s.dim[3], NN_BIAS);
    return graph_tap(a, op_add(a, x, op_reshape(a, h, s)));
}

static value downsample(at a, const unet_config *c, value x)
{
    conv2d_attributes halve = {.stride = 2, .upsample = 1, .pad_bottom = 1, .pad_right = 1};
    halve.pad_top = halve.pad_left = c->downsample_padding;
    graph_segment(a);
    return nn_conv2d_with(a, x, value_channels(a, x), 3, &halve, NN_BIAS);
}

/* Enlarge to the size of the skip that is joined next. It is twice the size or, where halving rounded up, one
 * less: nearest neighbour to 2n-1 picks the rows that doubling gives, without the last. */
static value upsample(at a, value x, shape target)
{
    shape s = value_shape(a, x);
    conv2d_attributes keep = {
        .stride = 1, .upsample = 2, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    graph_segment(a);
    if (target.dim[1] != s.dim[1] * 2 || target.dim[2] != s.dim[2] * 2) {
        keep.upsample = 1;
        x = op_upsample(a, x, 2);
        x = op_slice(a, x, 1, 0, target.dim[1]);
        x = op_slice(a, x, 2, 0, target.dim[2]);
    }
    return nn_conv2d_with(a, x, s.dim[3], 3, &keep, NN_BIAS);
}

value unet_draw_down(at root, const unet_context *u, value x, unet_skips *s)
{
    const unet_config *c = u->config;
    push(s, x);
    for (int i = 0, n = 1; i < c->levels; i++) {
        at block = in_numbered(root, "down_blocks.%d", i, "", 0);
        for (int j = 0; j < c->layers[i]; j++, n++) {
            at stage = in_numbered(block, "", 0, "input_blocks.%d", n);
            graph_segment(stage);
            x = resnet(in_numbered(stage, "resnets.%d", j, "0", 0), u, x, c->channels[i]);
            if (c->depth[i][j])
                x = transformer(in_numbered(stage, "attentions.%d", j, "1", 0), u, x, i, c->depth[i][j]);
            push(s, x);
        }
        if (i + 1 < c->levels) {
            x = downsample(in_numbered(block, "downsamplers.0.conv", 0, "input_blocks.%d.0.op", n++), c, x);
            push(s, x);
        }
        graph_tap(block, x);
    }
    return x;
}

value unet_draw_middle(at root, const unet_context *u, value x)
{
    const unet_config *c = u->config;
    at a = in(root, "mid_block", "middle_block");
    int last = c->levels - 1, channels = c->channels[last];
    if (c->middle == UNET_MIDDLE_NONE)
        return x;
    graph_segment(a);
    x = resnet(in(a, "resnets.0", "0"), u, x, channels);
    if (c->middle == UNET_MIDDLE_ATTENTION) {
        /* Its attn1 looks at the picture, whatever the coarsest level does. */
        unet_config with_self_attention = *c;
        with_self_attention.only_cross_attention[last] = false;
        unet_context self = *u;
        self.config = &with_self_attention;
        x = transformer(in(a, "attentions.0", "1"), &self, x, last, c->middle_depth);
        graph_segment(a);
        x = resnet(in(a, "resnets.1", "2"), u, x, channels);
    }
    return graph_tap(a, x);
}

static value way_up(at root, const unet_context *u, value x, unet_skips *s)
{
    const unet_config *c = u->config;
    for (int k = 0, n = 0; k < c->levels; k++) {
        int i = c->levels - 1 - k, part = 0;
        at block = in_numbered(root, "up_blocks.%d", k, "", 0);
        for (int j = 0; j <= c->layers[i]; j++, n++) {
            at stage = in_numbered(block, "", 0, "output_blocks.%d", n);
            value joined[2] = {x, pop(s)};
            graph_segment(stage); /* joining again costs less than keeping what was joined */
            x = op_concat(stage, 2, joined, -1);
            x = resnet(in_numbered(stage, "resnets.%d", j, "0", 0), u, x, c->channels[i]);
            part = 1;
            if (c->up_depth[i][j])
                x = transformer(in_numbered(stage, "attentions.%d", j, "%d", part++), u, x, i,
                                c->up_depth[i][j]);
        }
        if (i > 0) {
            at stage = in_numbered(block, "upsamplers.0.conv", 0, "output_blocks.%d", n - 1);
            value next = s->count ? s->value[s->count - 1] : NO_VALUE;
            x = upsample(in_numbered(stage, "", 0, "%d.conv", part), x, value_shape(root, next));
        }
        graph_tap(block, x);
    }
    return x;
}

/* linear, silu, linear: how time, labels and the added conditions become [N,time_channels]. */
static value embed(at a, const char *canonical, const char *original, value x, int channels)
{
    at p = in(a, canonical, original);
    value h = nn_linear(in(p, "linear_1", "0"), x, channels, NN_BIAS);
    return graph_tap(p, nn_linear(in(p, "linear_2", "2"), op_silu(p, h), channels, NN_BIAS));
}

static value sinusoid(at a, const unet_config *c, value t, int channels)
{
    timestep_attributes attributes = {
        .cosine_first = c->cosine_first, .frequency_shift = c->frequency_shift, .max_period = 10000.0f};
    return op_timestep_embedding(a, t, channels, &attributes);
}

static value time_embedding(at root, const unet_config *c, int batch)
{
    value t = graph_input(root.graph, "timestep", SHAPE1(batch), DTYPE_F32);
    at projection = same(root, "time_proj");
    value e = graph_tap(projection, sinusoid(projection, c, t, c->channels[0]));
    if (c->time_condition_channels) {
        value g =
            graph_input(root.graph, "timestep_cond", SHAPE2(batch, c->time_condition_channels), DTYPE_F32);
        at a = in(root, "time_embedding.cond_proj", "time_embed.cond_proj");
        e = op_add(a, e, nn_linear(a, g, c->channels[0], NN_NO_BIAS));
    }
    return embed(root, "time_embedding", "time_embed", e, c->time_channels);
}

static value class_embedding(at root, const unet_config *c, int batch)
{
    graph *g = root.graph;
    at a = in(root, "class_embedding", "label_emb");
    value labels;
    switch (c->class_kind) {
    case UNET_CLASS_TABLE:
        labels = graph_input(g, "class_labels", SHAPE2(batch, 1), DTYPE_I32);
        labels = nn_token_embedding(a, labels, c->class_count, c->time_channels);
        return graph_tap(a, op_reshape(a, labels, SHAPE2(batch, c->time_channels)));
    case UNET_CLASS_TIMESTEP:
        labels = graph_input(g, "class_labels", SHAPE1(batch), DTYPE_F32);
        return embed(root, "class_embedding", "label_emb.0", sinusoid(a, c, labels, c->channels[0]),
                     c->time_channels);
    case UNET_CLASS_PROJECTION:
        labels = graph_input(g, "class_labels", SHAPE2(batch, c->class_channels), DTYPE_F32);
        return embed(root, "class_embedding", "label_emb.0", labels, c->time_channels);
    case UNET_CLASS_IDENTITY:
        return graph_input(g, "class_labels", SHAPE2(batch, c->time_channels), DTYPE_F32);
    default:
        return NO_VALUE;
    }
}

int unet_pooled_channels(const unet_config *c, int time_ids)
{
    return c->text_time ? c->added_channels - (time_ids ? time_ids : 6) * c->added_time_channels : 0;
}

/* SDXL's second condition: the pooled text beside the embedded sizes and crop (Podell et al. 2023, 2.2). */
static value added_embedding(at root, const unet_config *c, const unet_shape *s)
{
    graph *g = root.graph;
    int ids = s->time_ids ? s->time_ids : 6, width = c->added_time_channels;
    at a = in(root, "add_embedding", "label_emb.0");
    if (ids < 1 || unet_pooled_channels(c, ids) < 1)
        return graph_fail(a, "%d added channels do not hold %d time ids of %d", c->added_channels, ids,
                          width);
    value text =
        graph_input(g, "added_text_embeds", SHAPE2(s->batch, unet_pooled_channels(c, ids)), DTYPE_F32);
    value times = graph_input(g, "added_time_ids", SHAPE2(s->batch, ids), DTYPE_F32);
    times = op_reshape(a, times, SHAPE1((int64_t)s->batch * ids));
    times = sinusoid(a, c, times, width);
    times = op_reshape(a, times, SHAPE2(s->batch, (int64_t)ids * width));
    value both[2] = {text, times};
    return embed(root, "add_embedding", "label_emb.0", op_concat(a, 2, both, -1), c->time_channels);
}

/* Everything that is one vector per picture. */
value unet_condition(at root, const unet_config *c, const unet_shape *s)
{
    value e = time_embedding(root, c, s->batch);
    if (c->class_kind != UNET_CLASS_NONE)
        e = op_add(root, e, class_embedding(root, c, s->batch));
    if (c->text_time)
        e = op_add(root, e, added_embedding(root, c, s));
    return op_silu(root, e);
}

/* Transformer blocks on the way up. */
static int transformers_up(const unet_config *c)
{
    int count = 0;
    for (int i = 0; i < c->levels; i++)
        for (int j = 0; j <= c->layers[i]; j++)
            count += c->up_depth[i][j];
    return count;
}

/* What ControlNets say joins what the way up finds: every skip, and the middle (Zhang et al. 2023,
 * arXiv:2302.05543). */
static value add_control(at root, value x, unet_skips *s)
{
    for (int i = 0; i < s->count; i++) {
        char name[32];
        snprintf(name, sizeof name, "control_%d", i);
        value more = graph_input(root.graph, name, value_shape(root, s->value[i]), DTYPE_F32);
        s->value[i] = op_add(root, s->value[i], more);
    }
    return op_add(root, x, graph_input(root.graph, "control_mid", value_shape(root, x), DTYPE_F32));
}

void unet_draw(graph *g, const unet_config *c, const unet_shape *s)
{
    at root = graph_root(g);
    if (s->batch < 1 || s->height < 1 || s->width < 1 || s->context_tokens < 1) {
        graph_fail(root, "a UNet cannot be drawn for batch %d, %dx%d, %d tokens", s->batch, s->width,
                   s->height, s->context_tokens);
        return;
    }
    unet_context u = {.config = c};
    graph_segment(root);
    value x = graph_input(g, "sample", SHAPE4(s->batch, s->height, s->width, c->in_channels), DTYPE_F32);
    u.time = unet_condition(root, c, s);
    u.context = graph_input(g, "encoder_hidden_states",
                            SHAPE3(s->batch, s->context_tokens, c->context_channels), DTYPE_F32);
    if (c->center_input)
        x = op_scale(root, x, 2.0f, -1.0f);
    at first = in(root, "conv_in", "input_blocks.0.0");
    x = graph_tap(first, nn_conv2d(first, x, c->channels[0], c->conv_in_kernel));
    unet_skips left = {.count = 0};
    unet_images images = {.count = s->image_prompts};
    memcpy(images.tokens, s->image_tokens, sizeof images.tokens);
    u.images = s->image_prompts ? &images : NULL;
    x = unet_draw_down(root, &u, x, &left);
    int after_down = images.layer;
    images.layer += transformers_up(c);
    x = unet_draw_middle(root, &u, x);
    images.layer = after_down;
    if (s->control)
        x = add_control(root, x, &left);
    x = way_up(root, &u, x, &left);
    at norm = in(root, "conv_norm_out", "out.0");
    graph_segment(norm);
    x = graph_tap(norm, nn_group_norm(norm, x, c->groups, c->norm_epsilon));
    x = nn_conv2d(in(root, "conv_out", "out.2"), op_silu(root, x), c->out_channels, c->conv_out_kernel);
    graph_output(g, "out", x);
}
