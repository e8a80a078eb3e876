/* nn.c - layers: ops with the parameters they own; see nn.h. */
#include "nn/nn.h"

#include <string.h>

static value bias_of(at a, int64_t out, nn_bias bias)
{
    return bias == NN_BIAS ? graph_parameter(a, "bias", SHAPE1(out), ROLE_BIAS) : NO_VALUE;
}

/* What was taught beside the weights may change one. */
static value taught(at a, value weight)
{
    const graph_hooks *hooks = a.graph->hooks;
    return hooks && hooks->weight && weight.index ? hooks->weight(hooks->self, a, weight) : weight;
}

/* And so it may what a layer gives. */
static value answered(at a, value x, value weight, const conv2d_attributes *window, value result)
{
    const graph_hooks *hooks = a.graph->hooks;
    return hooks && hooks->result && result.index ? hooks->result(hooks->self, a, x, weight, window, result)
                                                  : result;
}

/* Every product with a matrix passes here, whatever form its file gives the matrix. */
static value project(at a, value x, int64_t out, shape weight_shape, nn_bias bias)
{
    if (!x.index)
        return NO_VALUE;
    value weight = graph_parameter(a, "weight", weight_shape, ROLE_WEIGHT);
    value result = op_linear(a, x, taught(a, weight), bias_of(a, out, bias));
    return answered(a, x, weight, NULL, result);
}

value nn_linear(at a, value x, int64_t out, nn_bias bias)
{
    return project(a, x, out, SHAPE2(out, value_channels(a, x)), bias);
}

value nn_pointwise(at a, value x, int64_t out, nn_bias bias)
{
    return project(a, x, out, SHAPE4(out, value_channels(a, x), 1, 1), bias);
}

value nn_conv2d(at a, value x, int64_t out, int kernel)
{
    int pad = (kernel - 1) / 2;
    conv2d_attributes attributes = {
        .stride = 1, .upsample = 1, .pad_top = pad, .pad_bottom = pad, .pad_left = pad, .pad_right = pad};
    return nn_conv2d_with(a, x, out, kernel, &attributes, NN_BIAS);
}

value nn_conv2d_with(at a, value x, int64_t out, int kernel, const conv2d_attributes *attributes,
                     nn_bias bias)
{
    if (!x.index)
        return NO_VALUE;
    shape size = SHAPE4(out, value_channels(a, x), kernel, kernel);
    value weight = graph_parameter(a, "weight", size, ROLE_WEIGHT);
    value result = op_conv2d(a, x, taught(a, weight), bias_of(a, out, bias), attributes);
    return answered(a, x, weight, attributes, result);
}

value nn_group_norm(at a, value x, int groups, float epsilon)
{
    if (!x.index)
        return NO_VALUE;
    int64_t channels = value_channels(a, x);
    value weight = graph_parameter(a, "weight", SHAPE1(channels), ROLE_NORM);
    value bias = graph_parameter(a, "bias", SHAPE1(channels), ROLE_NORM);
    return op_group_norm(a, x, weight, bias, groups, epsilon);
}

value nn_layer_norm(at a, value x, float epsilon)
{
    if (!x.index)
        return NO_VALUE;
    int64_t channels = value_channels(a, x);
    value weight = graph_parameter(a, "weight", SHAPE1(channels), ROLE_NORM);
    value bias = graph_parameter(a, "bias", SHAPE1(channels), ROLE_NORM);
    return op_layer_norm(a, x, weight, bias, epsilon);
}

const nn_attention_names nn_attention_diffusers = {
    .query = {"to_q", "to_q"},
    .key = {"to_k", "to_k"},
    .value = {"to_v", "to_v"},
    .out = {"to_out.0", "to_out.0"},
    .qkv_bias = NN_NO_BIAS,
    .out_bias = NN_BIAS,
};

static value attend(at a, value x, const nn_attention_context *c, int heads, bool causal,
                    const nn_attention_names *names)
{
    if (!x.index)
        return NO_VALUE;
    int64_t channels = value_channels(a, x);
    if (heads < 1 || channels % heads)
        return graph_fail(a, "attention: %lld channels cannot be split into %d heads", (long long)channels,
                          heads);
    value q = nn_linear(in(a, names->query[0], names->query[1]), x, channels, names->qkv_bias);
    value k = nn_linear(in(a, names->key[0], names->key[1]), c->for_keys, channels, names->qkv_bias);
    value v = nn_linear(in(a, names->value[0], names->value[1]), c->for_values, channels, names->qkv_bias);
    value y = op_attention(a, q, k, v, heads, causal);
    for (int i = 0; i < c->count; i++)
        y = op_add(a, y, op_attention(a, q, c->keys[i], c->values[i], heads, false));
    return nn_linear(in(a, names->out[0], names->out[1]), y, channels, names->out_bias);
}

value nn_attention(at a, value x, value context, int heads, bool causal, const nn_attention_names *names)
{
    value from = context.index ? context : x;
    return attend(a, x, &(nn_attention_context){.for_keys = from, .for_values = from}, heads, causal, names);
}

value nn_attention_joined(at a, value x, const nn_attention_context *context, int heads,
                          const nn_attention_names *names)
{
    return attend(a, x, context, heads, false, names);
}

value nn_dropout(at a, value x, float probability, int stream)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    value seeds = NO_VALUE;
    if (!x.index || probability <= 0)
        return x;
    for (const char *p = a.canonical; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    h += (uint32_t)stream * 2654435761u;
    for (int i = 0; i < a.graph->input_count; i++)
        if (strcmp(a.graph->inputs[i].name, NN_DROPOUT_SEEDS) == 0)
            seeds = a.graph->inputs[i].value;
    if (!seeds.index)
        seeds = graph_input(a.graph, NN_DROPOUT_SEEDS, SHAPE1(value_shape(a, x).dim[0]), DTYPE_I32);
    return op_dropout(a, x, seeds, probability, (int)(h >> 1));
}

value nn_token_embedding(at a, value ids, int64_t count, int64_t width)
{
    if (!ids.index)
        return NO_VALUE;
    value table = graph_parameter(a, "weight", SHAPE2(count, width), ROLE_EMBEDDING);
    return op_embedding(a, ids, taught(a, table));
}

value nn_position_embedding(at a, value x, int64_t count)
{
    if (!x.index)
        return NO_VALUE;
    value table = graph_parameter(a, "weight", SHAPE2(count, value_channels(a, x)), ROLE_EMBEDDING);
    return op_add_positions(a, x, table);
}
