/* table.c - all ops in one table; see table.h. */
#include "ops/table.h"

#include "ops/op.h"

#include <math.h>

void op_no_memory(const op_call *c)
{
    for (int64_t i = 0, n = shape_count(c->shape); i < n; i++)
        c->output[i] = NAN;
}

double flops_none(const graph *g, const node *n)
{
    (void)g;
    (void)n;
    return 0;
}

/* A row with a gradient rule, one that says why it has none, and one of the reverse pass. */
#define ROW(kind, name, cost) [OP_##kind] = {OP_##kind, #name, reference_##name, cost, gradient_##name, NULL}
#define NO_RULE(kind, name, cost, why) [OP_##kind] = {OP_##kind, #name, reference_##name, cost, NULL, why}
#define BACKWARD(kind, name, cost) NO_RULE(kind, name, cost, second_derivative)

static const char second_derivative[] = "a gradient of a gradient is not needed by any training method here";

static const op_row rows[OP_COUNT] = {
    [OP_NONE] = {OP_NONE, "none", NULL, flops_none, NULL, "it is no op"},
    [OP_INPUT] = {OP_INPUT, "input", NULL, flops_none, NULL, "it is where a gradient ends"},
    [OP_PARAMETER] = {OP_PARAMETER, "parameter", NULL, flops_none, NULL, "it is where a gradient ends"},
    ROW(CAST, cast, flops_none),
    ROW(CONV2D, conv2d, flops_conv2d),
    ROW(LINEAR, linear, flops_linear),
    ROW(ATTENTION, attention, flops_attention),
    ROW(GROUP_NORM, group_norm, NULL),
    ROW(LAYER_NORM, layer_norm, NULL),
    ROW(ACTIVATION, activation, NULL),
    ROW(PRELU, prelu, NULL),
    ROW(GEGLU, geglu, NULL),
    ROW(ADD, add, NULL),
    ROW(MULTIPLY, multiply, NULL),
    ROW(SCALE, scale, NULL),
    ROW(CLAMP, clamp, NULL),
    ROW(ADD_CHANNELS, add_channels, NULL),
    ROW(ADD_POSITIONS, add_positions, NULL),
    ROW(CONCAT, concat, flops_none),
    ROW(SLICE, slice, flops_none),
    ROW(RESHAPE, reshape, flops_none),
    ROW(UPSAMPLE, upsample, flops_none),
    ROW(PERMUTE, permute, flops_none),
    ROW(DEPTHWISE_CONV2D, depthwise_conv2d, flops_depthwise_conv2d),
    ROW(WINDOW_ATTENTION, window_attention, flops_window_attention),
    ROW(CHANNEL_ATTENTION, channel_attention, flops_channel_attention),
    ROW(BATCH_NORM, batch_norm, NULL),
    ROW(MULTIPLY_CHANNELS, multiply_channels, NULL),
    NO_RULE(DETACH, detach, flops_none, "it is there to end one"),
    ROW(DROPOUT, dropout, NULL),
    ROW(EMBEDDING, embedding, flops_none),
    NO_RULE(TIMESTEP_EMBEDDING, timestep_embedding, NULL,
            "times are drawn at random or scheduled, never learnt"),
    ROW(GATHER_TOKENS, gather_tokens, flops_none),
    NO_RULE(FILL, fill, flops_none, "a constant has no inputs"),
    ROW(EXP, exp, NULL),
    ROW(SUM_ROWS, sum_rows, flops_reduction),
    ROW(SUM_POSITIONS, sum_positions, flops_reduction),
    NO_RULE(GROUP_NORM_STATISTICS, group_norm_statistics, flops_reduction,
            "only the gradient of group norm draws it"),
    ROW(MEAN, mean, flops_reduction),
    ROW(MEAN_SQUARED_ERROR, mean_squared_error, flops_loss),
    ROW(MEAN_ABSOLUTE_ERROR, mean_absolute_error, flops_loss),
    BACKWARD(CONV2D_BACKWARD_DATA, conv2d_backward_data, flops_conv2d_backward_data),
    BACKWARD(CONV2D_BACKWARD_WEIGHTS, conv2d_backward_weights, flops_conv2d_backward_weights),
    BACKWARD(LINEAR_BACKWARD_DATA, linear_backward_data, flops_linear_backward_data),
    BACKWARD(LINEAR_BACKWARD_WEIGHTS, linear_backward_weights, flops_linear_backward_weights),
    BACKWARD(ATTENTION_BACKWARD, attention_backward, flops_attention_backward),
    BACKWARD(GROUP_NORM_BACKWARD_DATA, group_norm_backward_data, NULL),
    BACKWARD(GROUP_NORM_BACKWARD_SUMS, group_norm_backward_sums, flops_reduction),
    BACKWARD(GROUP_NORM_BACKWARD_SHARE, group_norm_backward_share, flops_reduction),
    BACKWARD(LAYER_NORM_BACKWARD_DATA, layer_norm_backward_data, NULL),
    BACKWARD(LAYER_NORM_BACKWARD_WEIGHT, layer_norm_backward_weight, flops_reduction),
    BACKWARD(ACTIVATION_BACKWARD, activation_backward, NULL),
    BACKWARD(PRELU_BACKWARD_DATA, prelu_backward_data, NULL),
    BACKWARD(PRELU_BACKWARD_SLOPE, prelu_backward_slope, flops_reduction),
    BACKWARD(GEGLU_BACKWARD, geglu_backward, NULL),
    BACKWARD(CLAMP_BACKWARD, clamp_backward, NULL),
    BACKWARD(SLICE_BACKWARD, slice_backward, flops_none),
    BACKWARD(UPSAMPLE_BACKWARD, upsample_backward, flops_reduction),
    BACKWARD(EMBEDDING_BACKWARD, embedding_backward, NULL),
    BACKWARD(GATHER_TOKENS_BACKWARD, gather_tokens_backward, flops_none),
    BACKWARD(MEAN_BACKWARD, mean_backward, NULL),
    BACKWARD(MEAN_SQUARED_ERROR_BACKWARD, mean_squared_error_backward, flops_loss),
    BACKWARD(MEAN_ABSOLUTE_ERROR_BACKWARD, mean_absolute_error_backward, flops_loss),
    BACKWARD(DEPTHWISE_CONV2D_BACKWARD_DATA, depthwise_conv2d_backward_data, flops_depthwise_conv2d),
    BACKWARD(DEPTHWISE_CONV2D_BACKWARD_WEIGHTS, depthwise_conv2d_backward_weights, flops_reduction),
    BACKWARD(WINDOW_ATTENTION_BACKWARD, window_attention_backward, flops_window_attention),
    BACKWARD(CHANNEL_ATTENTION_BACKWARD, channel_attention_backward, flops_channel_attention),
};

const op_row *op_find(op_kind op)
{
    return (unsigned)op < OP_COUNT ? &rows[op] : &rows[OP_NONE];
}

double op_flops(const graph *g, const node *n)
{
    const op_row *row = op_find(n->op);
    return row->flops ? row->flops(g, n) : (double)shape_count(n->shape);
}

double op_bytes(const graph *g, const node *n, size_t element)
{
    double count = (double)shape_count(n->shape);
    for (int i = 0; i < n->input_count; i++)
        if (n->input[i].index)
            count += (double)shape_count(graph_node(g, n->input[i])->shape);
    return count * (double)element;
}
