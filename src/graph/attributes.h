/* attributes.h - the kinds of ops and what each carries besides its inputs. ops/<name>.c is the page of an op. */
#ifndef KILN_GRAPH_ATTRIBUTES_H
#define KILN_GRAPH_ATTRIBUTES_H

#include "tensor/tensor.h"

/* X(enumerator, name) */
#define OP_MAP(X)                                                                                            \
    X(NONE, "none")                                                                                          \
    X(INPUT, "input")                                                                                        \
    X(PARAMETER, "parameter")                                                                                \
    X(CAST, "cast")                                                                                          \
    X(CONV2D, "conv2d")                                                                                      \
    X(LINEAR, "linear")                                                                                      \
    X(ATTENTION, "attention")                                                                                \
    X(GROUP_NORM, "group_norm")                                                                              \
    X(LAYER_NORM, "layer_norm")                                                                              \
    X(ACTIVATION, "activation")                                                                              \
    X(PRELU, "prelu")                                                                                        \
    X(GEGLU, "geglu")                                                                                        \
    X(ADD, "add")                                                                                            \
    X(MULTIPLY, "multiply")                                                                                  \
    X(SCALE, "scale")                                                                                        \
    X(CLAMP, "clamp")                                                                                        \
    X(ADD_CHANNELS, "add_channels")                                                                          \
    X(ADD_POSITIONS, "add_positions")                                                                        \
    X(CONCAT, "concat")                                                                                      \
    X(SLICE, "slice")                                                                                        \
    X(RESHAPE, "reshape")                                                                                    \
    X(UPSAMPLE, "upsample")                                                                                  \
    X(PERMUTE, "permute")                                                                                    \
    X(DEPTHWISE_CONV2D, "depthwise_conv2d")                                                                  \
    X(WINDOW_ATTENTION, "window_attention")                                                                  \
    X(CHANNEL_ATTENTION, "channel_attention")                                                                \
    X(BATCH_NORM, "batch_norm")                                                                              \
    X(MULTIPLY_CHANNELS, "multiply_channels")                                                                \
    X(DETACH, "detach")                                                                                      \
    X(DROPOUT, "dropout")                                                                                    \
    X(EMBEDDING, "embedding")                                                                                \
    X(TIMESTEP_EMBEDDING, "timestep_embedding")                                                              \
    X(GATHER_TOKENS, "gather_tokens")                                                                        \
    X(FILL, "fill")                                                                                          \
    X(EXP, "exp")                                                                                            \
    X(SUM_ROWS, "sum_rows")                                                                                  \
    X(SUM_POSITIONS, "sum_positions")                                                                        \
    X(GROUP_NORM_STATISTICS, "group_norm_statistics")                                                        \
    X(MEAN, "mean")                                                                                          \
    X(MEAN_SQUARED_ERROR, "mean_squared_error")                                                              \
    X(MEAN_ABSOLUTE_ERROR, "mean_absolute_error")                                                            \
    /* The reverse pass; see ops/backward.h. */                                                              \
    X(CONV2D_BACKWARD_DATA, "conv2d_backward_data")                                                          \
    X(CONV2D_BACKWARD_WEIGHTS, "conv2d_backward_weights")                                                    \
    X(LINEAR_BACKWARD_DATA, "linear_backward_data")                                                          \
    X(LINEAR_BACKWARD_WEIGHTS, "linear_backward_weights")                                                    \
    X(ATTENTION_BACKWARD, "attention_backward")                                                              \
    X(GROUP_NORM_BACKWARD_DATA, "group_norm_backward_data")                                                  \
    X(GROUP_NORM_BACKWARD_SUMS, "group_norm_backward_sums")                                                  \
    X(GROUP_NORM_BACKWARD_SHARE, "group_norm_backward_share")                                                \
    X(LAYER_NORM_BACKWARD_DATA, "layer_norm_backward_data")                                                  \
    X(LAYER_NORM_BACKWARD_WEIGHT, "layer_norm_backward_weight")                                              \
    X(ACTIVATION_BACKWARD, "activation_backward")                                                            \
    X(PRELU_BACKWARD_DATA, "prelu_backward_data")                                                            \
    X(PRELU_BACKWARD_SLOPE, "prelu_backward_slope")                                                          \
    X(GEGLU_BACKWARD, "geglu_backward")                                                                      \
    X(CLAMP_BACKWARD, "clamp_backward")                                                                      \
    X(SLICE_BACKWARD, "slice_backward")                                                                      \
    X(UPSAMPLE_BACKWARD, "upsample_backward")                                                                \
    X(EMBEDDING_BACKWARD, "embedding_backward")                                                              \
    X(GATHER_TOKENS_BACKWARD, "gather_tokens_backward")                                                      \
    X(MEAN_BACKWARD, "mean_backward")                                                                        \
    X(MEAN_SQUARED_ERROR_BACKWARD, "mean_squared_error_backward")                                            \
    X(MEAN_ABSOLUTE_ERROR_BACKWARD, "mean_absolute_error_backward")                                          \
    X(DEPTHWISE_CONV2D_BACKWARD_DATA, "depthwise_conv2d_backward_data")                                      \
    X(DEPTHWISE_CONV2D_BACKWARD_WEIGHTS, "depthwise_conv2d_backward_weights")                                \
    X(WINDOW_ATTENTION_BACKWARD, "window_attention_backward")                                                \
    X(CHANNEL_ATTENTION_BACKWARD, "channel_attention_backward")

typedef enum op_kind {
#define OP_ENUM(name, text) OP_##name,
    OP_MAP(OP_ENUM)
#undef OP_ENUM
        OP_COUNT
} op_kind;

#define ACTIVATION_MAP(X)                                                                                      \
    X(NONE, "none")                                                                                            \
    X(SILU, "silu")             /* x * sigmoid(x) */                                                           \
    X(GELU, "gelu")             /* x * Phi(x), by erf */                                                       \
    X(GELU_TANH, "gelu_tanh")   /* the tanh approximation */                                                   \
    X(QUICK_GELU, "quick_gelu") /* x * sigmoid(1.702 x) */                                                     \
    X(RELU, "relu")                                                                                            \
    X(LEAKY_RELU, "leaky_relu") /* slope in attributes */                                                      \
    X(SIGMOID, "sigmoid")                                                                                      \
    X(TANH, "tanh")                                                                                            \
    X(MISH, "mish") /* x * tanh(ln(1 + e^x)), Misra 2019 */                                                    \
    /* Those of hypernetworks, as torch.nn has them; ops/activation_more.c. No kernel ends in one of these. */ \
    X(ELU, "elu") /* x, below 0 slope * (e^x - 1); slope in attributes */                                      \
    X(SELU, "selu")                                                                                            \
    X(RELU6, "relu6")                                                                                          \
    X(HARD_TANH, "hard_tanh")                                                                                  \
    X(HARD_SIGMOID, "hard_sigmoid")                                                                            \
    X(HARD_SWISH, "hard_swish")                                                                                \
    X(HARD_SHRINK, "hard_shrink")                                                                              \
    X(SOFT_SHRINK, "soft_shrink")                                                                              \
    X(TANH_SHRINK, "tanh_shrink")                                                                              \
    X(SOFT_PLUS, "soft_plus")                                                                                  \
    X(SOFT_SIGN, "soft_sign")                                                                                  \
    X(LOG_SIGMOID, "log_sigmoid")

typedef enum activation_kind {
#define ACTIVATION_ENUM(name, text) ACTIVATION_##name,
    ACTIVATION_MAP(ACTIVATION_ENUM)
#undef ACTIVATION_ENUM
        ACTIVATION_COUNT
} activation_kind;

typedef struct conv2d_attributes {
    int stride;
    int pad_top, pad_bottom, pad_left, pad_right; /* zeros */
    int upsample;                                 /* 1, or 2: x is first enlarged by nearest neighbour */
    activation_kind activation;                   /* set by fusion; applied before the residual is added */
    float slope;
    float gain; /* set by fusion: what comes of the activation is multiplied by it; 0 stands for 1 */
} conv2d_attributes;

typedef struct linear_attributes {
    activation_kind activation; /* set by fusion; applied before the residual is added */
} linear_attributes;

typedef struct attention_attributes {
    int heads;
    bool causal; /* token t sees tokens 0..t */
} attention_attributes;

typedef struct norm_attributes {
    int groups; /* group norm only */
    float epsilon;
    activation_kind activation; /* set by fusion, applied last */
} norm_attributes;

typedef struct activation_attributes {
    activation_kind kind;
    float slope; /* leaky_relu */
} activation_attributes;

typedef struct scale_attributes {
    float factor, offset;
} scale_attributes;

typedef struct clamp_attributes {
    float low, high;
} clamp_attributes;

typedef struct concat_attributes {
    int axis;
} concat_attributes;

typedef struct slice_attributes {
    int axis;
    int64_t start;
} slice_attributes;

typedef struct upsample_attributes {
    int factor;
} upsample_attributes;

typedef struct timestep_attributes {
    bool cosine_first;     /* diffusers' flip_sin_to_cos */
    float frequency_shift; /* diffusers' freq_shift (0 for Stable Diffusion) */
    float max_period;      /* 10000 */
} timestep_attributes;

/* Which of a sample's streams of random numbers decides. */
typedef struct dropout_attributes {
    float probability;
    int stream;
} dropout_attributes;

typedef struct fill_attributes {
    float number;
} fill_attributes;

typedef struct attention_backward_attributes {
    int heads;
    bool causal;
    bool wanted[3]; /* the gradients of q, k and v that the result holds, one after the other */
} attention_backward_attributes;

/* Result axis i is axis[i] of x. */
typedef struct permute_attributes {
    int axis[SHAPE_MAX_RANK];
} permute_attributes;

/* The map is cut into windows of height x width after it was rolled by (shift_y, shift_x) up and to the left; what the
 * rolling brought together from opposite edges does not see each other. */
typedef struct window_attention_attributes {
    int heads;
    int height, width;
    int shift_y, shift_x;
    bool wanted
        [4]; /* backward only: the gradients of q, k, v and table that the result holds, one after the other */
} window_attention_attributes;

typedef struct channel_attention_attributes {
    int heads;
    bool wanted[4]; /* backward only: of q, k, v and temperature */
} channel_attention_attributes;

typedef union op_attributes {
    conv2d_attributes conv2d;
    linear_attributes linear;
    attention_attributes attention;
    norm_attributes norm;
    activation_attributes activation;
    scale_attributes scale;
    clamp_attributes clamp;
    concat_attributes concat;
    slice_attributes slice;
    upsample_attributes upsample;
    timestep_attributes timestep;
    fill_attributes fill;
    dropout_attributes dropout;
    attention_backward_attributes attention_backward;
    permute_attributes permute;
    window_attention_attributes window_attention;
    channel_attention_attributes channel_attention;
} op_attributes;

#endif
