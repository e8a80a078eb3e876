/* gradient_cases.h - for every op with a gradient rule: graphs of one op, odd in every dimension, with the optional
 * inputs present and absent, for test_gradient.c to differentiate and to compare with finite differences. */
#ifndef KILN_TESTS_GRADIENT_CASES_H
#define KILN_TESTS_GRADIENT_CASES_H

#include "ops/ops.h"

/* What an input is filled with. */
typedef enum filling {
    FIXED,     /* -1..1, not differentiated */
    SMOOTH,    /* -1..1 */
    BENT_0,    /* the same but at least 0.15 away from 0, where the op has a kink */
    BENT_HALF, /* at least 0.1 away from -0.5 and 0.5 */
    IDS        /* integers, some of them twice, one out of range */
} filling;

enum { CASE_INPUTS = 5 };

typedef struct gradient_case {
    op_kind op;
    const char *what;
    value (*draw)(at, const value *in);
    struct {
        shape shape;
        filling filling;
    } in[CASE_INPUTS];
} gradient_case;

static value draw_cast(at a, const value *in)
{
    return graph_emit(a, OP_CAST, value_shape(a, in[0]), DTYPE_F32, 1, in, NULL);
}

static value draw_conv(at a, const value *in)
{
    return op_conv2d(
        a, in[0], in[1], in[2],
        &(conv2d_attributes){
            .stride = 1, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1, .upsample = 1});
}

static value draw_conv_strided(at a, const value *in)
{
    return op_conv2d(
        a, in[0], in[1], in[2],
        &(conv2d_attributes){
            .stride = 2, .pad_top = 0, .pad_bottom = 1, .pad_left = 2, .pad_right = 0, .upsample = 1});
}

static value draw_conv_enlarging(at a, const value *in)
{
    return op_conv2d(
        a, in[0], in[1], in[2],
        &(conv2d_attributes){
            .stride = 1, .pad_top = 1, .pad_bottom = 0, .pad_left = 0, .pad_right = 2, .upsample = 2});
}

static value draw_conv_enlarging_strided(at a, const value *in)
{
    return op_conv2d(
        a, in[0], in[1], in[2],
        &(conv2d_attributes){
            .stride = 3, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1, .upsample = 2});
}

static value draw_linear(at a, const value *in)
{
    return op_linear(a, in[0], in[1], in[2]);
}

static value draw_attention(at a, const value *in)
{
    return op_attention(a, in[0], in[1], in[2], 2, false);
}

static value draw_causal(at a, const value *in)
{
    return op_attention(a, in[0], in[1], in[2], 3, true);
}

static value draw_self_attention(at a, const value *in)
{
    return op_attention(a, in[0], in[0], in[0], 1, false);
}

static value draw_group_norm(at a, const value *in)
{
    return op_group_norm(a, in[0], in[1], in[2], 3, 1e-3f);
}

static value draw_layer_norm(at a, const value *in)
{
    return op_layer_norm(a, in[0], in[1], in[2], 1e-3f);
}

#define DRAW_ACTIVATION(name, kind, slope)                                                                   \
    static value draw_##name(at a, const value *in)                                                          \
    {                                                                                                        \
        return op_activation(a, in[0], ACTIVATION_##kind, slope);                                            \
    }
DRAW_ACTIVATION(identity, NONE, 0)
DRAW_ACTIVATION(silu, SILU, 0)
DRAW_ACTIVATION(gelu, GELU, 0)
DRAW_ACTIVATION(gelu_tanh, GELU_TANH, 0)
DRAW_ACTIVATION(quick_gelu, QUICK_GELU, 0)
DRAW_ACTIVATION(relu, RELU, 0)
DRAW_ACTIVATION(leaky_relu, LEAKY_RELU, 0.2f)
DRAW_ACTIVATION(sigmoid, SIGMOID, 0)
DRAW_ACTIVATION(tanh, TANH, 0)
DRAW_ACTIVATION(mish, MISH, 0)
DRAW_ACTIVATION(elu, ELU, 0.5f)
DRAW_ACTIVATION(selu, SELU, 0)
DRAW_ACTIVATION(soft_plus, SOFT_PLUS, 0)
DRAW_ACTIVATION(soft_sign, SOFT_SIGN, 0)
DRAW_ACTIVATION(tanh_shrink, TANH_SHRINK, 0)
DRAW_ACTIVATION(log_sigmoid, LOG_SIGMOID, 0)
DRAW_ACTIVATION(hard_sigmoid, HARD_SIGMOID, 0)
DRAW_ACTIVATION(hard_swish, HARD_SWISH, 0)

#define DRAW(name, expression)                                                                               \
    static value draw_##name(at a, const value *in)                                                          \
    {                                                                                                        \
        return expression;                                                                                   \
    }
static value draw_window_attention(at a, const value *in)
{
    return op_window_attention(a, in[0], in[1], in[2], in[3],
                               &(window_attention_attributes){.heads = 2, .height = 2, .width = 3});
}

static value draw_window_shifted(at a, const value *in)
{
    return op_window_attention(
        a, in[0], in[1], in[2], in[3],
        &(window_attention_attributes){.heads = 1, .height = 3, .width = 2, .shift_y = 1, .shift_x = 1});
}

DRAW(dropout, op_dropout(a, in[0], in[1], 0.4f, 7))
DRAW(prelu, op_prelu(a, in[0], in[1]))
DRAW(permute, op_permute(a, in[0], (const int[]){2, 0, 1}))
DRAW(pixel_shuffle, op_pixel_shuffle(a, in[0], 2))
DRAW(pixel_unshuffle, op_pixel_unshuffle(a, in[0], 2))
DRAW(depthwise, op_depthwise_conv2d(a, in[0], in[1], in[2]))
DRAW(channel_attention, op_channel_attention(a, in[0], in[1], in[2], in[3], 2))
DRAW(batch_norm, op_batch_norm(a, in[0], in[1], op_exp(a, in[2]), in[3], in[4], 1e-3f))
DRAW(multiply_channels, op_multiply_channels(a, in[0], in[1]))
DRAW(absolute_error, op_mean_absolute_error(a, in[0], op_scale(a, in[1], 0.04f, 0)))
DRAW(absolute_error_below, op_mean_absolute_error(a, in[0], op_scale(a, in[1], 0.5f, 2)))
DRAW(geglu, op_geglu(a, in[0]))
DRAW(add, op_add(a, in[0], in[1]))
DRAW(double, op_add(a, in[0], in[0]))
DRAW(multiply, op_multiply(a, in[0], in[1]))
DRAW(square, op_multiply(a, in[0], in[0]))
DRAW(scale, op_scale(a, in[0], -2.5f, 0.3f))
DRAW(clamp, op_clamp(a, in[0], -0.5f, 0.5f))
DRAW(add_channels, op_add_channels(a, in[0], in[1]))
DRAW(add_positions, op_add_positions(a, in[0], in[1]))
DRAW(concat, op_concat(a, 3, in, -1))
DRAW(concat_middle, op_concat(a, 3, (value[]){in[0], in[1], in[0]}, 1))
DRAW(slice, op_slice(a, in[0], 1, 2, 3))
DRAW(slice_last, op_slice(a, in[0], -1, 0, 2))
DRAW(reshape, op_multiply(a, op_reshape(a, in[0], SHAPE2(6, 5)), in[1]))
DRAW(upsample, op_upsample(a, in[0], 3))
DRAW(embedding, op_embedding(a, in[0], in[1]))
DRAW(gather_tokens, op_gather_tokens(a, in[0], in[1]))
DRAW(exp, op_exp(a, in[0]))
DRAW(sum_rows, op_sum_rows(a, in[0]))
DRAW(sum_positions, op_sum_positions(a, in[0]))
DRAW(mean, op_mean(a, in[0]))
DRAW(error, op_mean_squared_error(a, in[0], in[1], in[2]))

static const gradient_case gradient_cases[] = {
    {OP_CAST, "", draw_cast, {{{2, {3, 5}}, SMOOTH}}},
    {OP_CONV2D,
     "3x3 with bias",
     draw_conv,
     {{{4, {2, 5, 3, 3}}, SMOOTH}, {{4, {5, 3, 3, 3}}, SMOOTH}, {{1, {5}}, SMOOTH}}},
    {OP_CONV2D, "3x3 without bias", draw_conv, {{{4, {2, 3, 5, 1}}, SMOOTH}, {{4, {3, 1, 3, 3}}, SMOOTH}}},
    {OP_CONV2D,
     "1x1 wider than its input",
     draw_conv,
     {{{4, {2, 3, 4, 3}}, SMOOTH}, {{4, {2, 3, 1, 1}}, SMOOTH}, {{1, {2}}, SMOOTH}}},
    {OP_CONV2D,
     "stride 2, padding unlike on every side",
     draw_conv_strided,
     {{{4, {2, 7, 6, 3}}, SMOOTH}, {{4, {2, 3, 3, 3}}, SMOOTH}, {{1, {2}}, SMOOTH}}},
    {OP_CONV2D,
     "3x2, enlarging by 2",
     draw_conv_enlarging,
     {{{4, {2, 3, 2, 3}}, SMOOTH}, {{4, {3, 3, 3, 2}}, SMOOTH}, {{1, {3}}, SMOOTH}}},
    {OP_CONV2D,
     "stride 3, enlarging by 2",
     draw_conv_enlarging_strided,
     {{{4, {2, 3, 4, 2}}, SMOOTH}, {{4, {3, 2, 3, 3}}, SMOOTH}}},
    {OP_LINEAR,
     "with bias",
     draw_linear,
     {{{3, {2, 3, 5}}, SMOOTH}, {{2, {7, 5}}, SMOOTH}, {{1, {7}}, SMOOTH}}},
    {OP_LINEAR,
     "without bias, weights of a 1x1 convolution",
     draw_linear,
     {{{2, {3, 5}}, SMOOTH}, {{4, {2, 5, 1, 1}}, SMOOTH}}},
    {OP_LINEAR,
     "frozen weights",
     draw_linear,
     {{{2, {3, 5}}, SMOOTH}, {{2, {2, 5}}, FIXED}, {{1, {2}}, SMOOTH}}},
    {OP_ATTENTION,
     "cross, values wider than keys",
     draw_attention,
     {{{3, {2, 5, 6}}, SMOOTH}, {{3, {2, 3, 6}}, SMOOTH}, {{3, {2, 3, 10}}, SMOOTH}}},
    {OP_ATTENTION,
     "causal",
     draw_causal,
     {{{3, {2, 5, 9}}, SMOOTH}, {{3, {2, 5, 9}}, SMOOTH}, {{3, {2, 5, 3}}, SMOOTH}}},
    {OP_ATTENTION, "one value for q, k and v", draw_self_attention, {{{3, {2, 5, 3}}, SMOOTH}}},
    {OP_ATTENTION,
     "frozen keys",
     draw_attention,
     {{{3, {2, 3, 4}}, SMOOTH}, {{3, {2, 7, 4}}, FIXED}, {{3, {2, 7, 2}}, SMOOTH}}},
    {OP_ATTENTION,
     "only keys",
     draw_attention,
     {{{3, {1, 3, 4}}, FIXED}, {{3, {1, 3, 4}}, SMOOTH}, {{3, {1, 3, 2}}, FIXED}}},
    {OP_GROUP_NORM,
     "feature map",
     draw_group_norm,
     {{{4, {2, 3, 5, 6}}, SMOOTH}, {{1, {6}}, SMOOTH}, {{1, {6}}, SMOOTH}}},
    {OP_GROUP_NORM,
     "frozen weights, one position",
     draw_group_norm,
     {{{2, {2, 15}}, SMOOTH}, {{1, {15}}, FIXED}, {{1, {15}}, FIXED}}},
    {OP_LAYER_NORM,
     "tokens",
     draw_layer_norm,
     {{{3, {2, 3, 7}}, SMOOTH}, {{1, {7}}, SMOOTH}, {{1, {7}}, SMOOTH}}},
    {OP_ACTIVATION, "none", draw_identity, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "silu", draw_silu, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "gelu", draw_gelu, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "gelu_tanh", draw_gelu_tanh, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "quick_gelu", draw_quick_gelu, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "relu", draw_relu, {{{2, {3, 5}}, BENT_0}}},
    {OP_ACTIVATION, "leaky_relu", draw_leaky_relu, {{{2, {3, 5}}, BENT_0}}},
    {OP_ACTIVATION, "sigmoid", draw_sigmoid, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "tanh", draw_tanh, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "mish", draw_mish, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "elu", draw_elu, {{{2, {3, 5}}, BENT_0}}},
    {OP_ACTIVATION, "selu", draw_selu, {{{2, {3, 5}}, BENT_0}}},
    {OP_ACTIVATION, "soft_plus", draw_soft_plus, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "soft_sign", draw_soft_sign, {{{2, {3, 5}}, BENT_0}}},
    {OP_ACTIVATION, "tanh_shrink", draw_tanh_shrink, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "log_sigmoid", draw_log_sigmoid, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "hard_sigmoid", draw_hard_sigmoid, {{{2, {3, 5}}, SMOOTH}}},
    {OP_ACTIVATION, "hard_swish", draw_hard_swish, {{{2, {3, 5}}, SMOOTH}}},
    {OP_DROPOUT, "", draw_dropout, {{{3, {5, 3, 4}}, SMOOTH}, {{1, {5}}, IDS}}},
    {OP_PRELU, "", draw_prelu, {{{4, {2, 3, 2, 3}}, BENT_0}, {{1, {3}}, SMOOTH}}},
    {OP_GEGLU, "", draw_geglu, {{{3, {2, 3, 6}}, SMOOTH}}},
    {OP_ADD, "", draw_add, {{{2, {3, 5}}, SMOOTH}, {{2, {3, 5}}, SMOOTH}}},
    {OP_ADD,
     "another shape of as many elements",
     draw_add,
     {{{2, {3, 5}}, SMOOTH}, {{4, {1, 3, 1, 5}}, SMOOTH}}},
    {OP_ADD, "a value to itself", draw_double, {{{2, {3, 5}}, SMOOTH}}},
    {OP_MULTIPLY,
     "another shape of as many elements",
     draw_multiply,
     {{{2, {3, 5}}, SMOOTH}, {{3, {1, 3, 5}}, SMOOTH}}},
    {OP_MULTIPLY, "a value by itself", draw_square, {{{2, {3, 5}}, SMOOTH}}},
    {OP_SCALE, "", draw_scale, {{{2, {3, 5}}, SMOOTH}}},
    {OP_CLAMP, "", draw_clamp, {{{2, {3, 5}}, BENT_HALF}}},
    {OP_ADD_CHANNELS, "", draw_add_channels, {{{4, {2, 3, 2, 5}}, SMOOTH}, {{2, {2, 5}}, SMOOTH}}},
    {OP_ADD_POSITIONS,
     "as many positions as tokens",
     draw_add_positions,
     {{{3, {2, 3, 5}}, SMOOTH}, {{2, {3, 5}}, SMOOTH}}},
    {OP_ADD_POSITIONS,
     "more positions than tokens",
     draw_add_positions,
     {{{3, {3, 3, 2}}, SMOOTH}, {{2, {7, 2}}, SMOOTH}}},
    {OP_CONCAT,
     "channels, one part frozen",
     draw_concat,
     {{{3, {2, 3, 1}}, SMOOTH}, {{3, {2, 3, 2}}, FIXED}, {{3, {2, 3, 5}}, SMOOTH}}},
    {OP_CONCAT,
     "an inner axis, one value twice",
     draw_concat_middle,
     {{{3, {2, 3, 2}}, SMOOTH}, {{3, {2, 5, 2}}, SMOOTH}}},
    {OP_SLICE, "an inner axis", draw_slice, {{{3, {2, 7, 3}}, SMOOTH}}},
    {OP_SLICE, "the last axis, from its beginning", draw_slice_last, {{{3, {2, 3, 5}}, SMOOTH}}},
    {OP_RESHAPE, "", draw_reshape, {{{3, {2, 3, 5}}, SMOOTH}, {{2, {6, 5}}, SMOOTH}}},
    {OP_UPSAMPLE, "by 3", draw_upsample, {{{4, {2, 2, 3, 3}}, SMOOTH}}},
    {OP_PERMUTE, "three axes", draw_permute, {{{3, {2, 3, 5}}, SMOOTH}}},
    {OP_PERMUTE, "shuffle of pixels", draw_pixel_shuffle, {{{4, {2, 2, 3, 8}}, SMOOTH}}},
    {OP_PERMUTE, "and back", draw_pixel_unshuffle, {{{4, {1, 4, 6, 3}}, SMOOTH}}},
    {OP_DEPTHWISE_CONV2D,
     "with bias",
     draw_depthwise,
     {{{4, {2, 3, 4, 3}}, SMOOTH}, {{4, {3, 1, 3, 3}}, SMOOTH}, {{1, {3}}, SMOOTH}}},
    {OP_DEPTHWISE_CONV2D,
     "wider than the map, without bias",
     draw_depthwise,
     {{{4, {1, 2, 3, 2}}, SMOOTH}, {{4, {2, 1, 5, 5}}, SMOOTH}}},
    {OP_WINDOW_ATTENTION,
     "two heads with bias",
     draw_window_attention,
     {{{4, {2, 4, 3, 4}}, SMOOTH},
      {{4, {2, 4, 3, 4}}, SMOOTH},
      {{4, {2, 4, 3, 4}}, SMOOTH},
      {{2, {15, 2}}, SMOOTH}}},
    {OP_WINDOW_ATTENTION,
     "shifted, without bias, keys frozen",
     draw_window_shifted,
     {{{4, {1, 6, 4, 3}}, SMOOTH}, {{4, {1, 6, 4, 3}}, FIXED}, {{4, {1, 6, 4, 3}}, SMOOTH}}},
    {OP_WINDOW_ATTENTION,
     "shifted, with bias",
     draw_window_shifted,
     {{{4, {1, 6, 4, 3}}, SMOOTH},
      {{4, {1, 6, 4, 3}}, SMOOTH},
      {{4, {1, 6, 4, 3}}, SMOOTH},
      {{2, {15, 1}}, SMOOTH}}},
    {OP_CHANNEL_ATTENTION,
     "two heads",
     draw_channel_attention,
     {{{3, {2, 7, 6}}, SMOOTH},
      {{3, {2, 7, 6}}, SMOOTH},
      {{3, {2, 7, 6}}, SMOOTH},
      {{3, {2, 1, 1}}, SMOOTH}}},
    {OP_CHANNEL_ATTENTION,
     "only keys",
     draw_channel_attention,
     {{{3, {1, 5, 4}}, FIXED}, {{3, {1, 5, 4}}, SMOOTH}, {{3, {1, 5, 4}}, FIXED}, {{1, {2}}, FIXED}}},
    {OP_BATCH_NORM,
     "all of it",
     draw_batch_norm,
     {{{4, {2, 3, 2, 3}}, SMOOTH},
      {{1, {3}}, FIXED},
      {{1, {3}}, FIXED},
      {{1, {3}}, SMOOTH},
      {{1, {3}}, SMOOTH}}},
    {OP_BATCH_NORM,
     "statistics alone",
     draw_batch_norm,
     {{{2, {5, 3}}, SMOOTH}, {{1, {3}}, FIXED}, {{1, {3}}, FIXED}}},
    {OP_MULTIPLY_CHANNELS, "", draw_multiply_channels, {{{4, {2, 3, 2, 5}}, SMOOTH}, {{2, {2, 5}}, SMOOTH}}},
    {OP_MEAN_ABSOLUTE_ERROR,
     "both signs",
     draw_absolute_error,
     {{{3, {2, 3, 5}}, BENT_0}, {{3, {2, 3, 5}}, FIXED}}},
    {OP_MEAN_ABSOLUTE_ERROR,
     "by the target",
     draw_absolute_error_below,
     {{{2, {1, 3}}, SMOOTH}, {{2, {1, 3}}, SMOOTH}}},
    {OP_EMBEDDING, "", draw_embedding, {{{2, {2, 3}}, IDS}, {{2, {5, 3}}, SMOOTH}}},
    {OP_GATHER_TOKENS, "", draw_gather_tokens, {{{3, {3, 5, 2}}, SMOOTH}, {{1, {3}}, IDS}}},
    {OP_EXP, "", draw_exp, {{{2, {3, 5}}, SMOOTH}}},
    {OP_SUM_ROWS, "", draw_sum_rows, {{{4, {2, 3, 1, 5}}, SMOOTH}}},
    {OP_SUM_POSITIONS, "", draw_sum_positions, {{{4, {2, 3, 2, 5}}, SMOOTH}}},
    {OP_MEAN, "", draw_mean, {{{3, {2, 3, 5}}, SMOOTH}}},
    {OP_MEAN_SQUARED_ERROR, "unweighted", draw_error, {{{3, {2, 3, 5}}, SMOOTH}, {{3, {2, 3, 5}}, SMOOTH}}},
    {OP_MEAN_SQUARED_ERROR,
     "weighted",
     draw_error,
     {{{3, {3, 3, 2}}, SMOOTH}, {{3, {3, 3, 2}}, FIXED}, {{1, {3}}, FIXED}}},
};
enum { GRADIENT_CASE_COUNT = sizeof gradient_cases / sizeof *gradient_cases };

#endif
