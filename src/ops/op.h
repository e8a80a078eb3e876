/* op.h - small helpers shared by the pages of the ops. */
#ifndef KILN_OPS_OP_H
#define KILN_OPS_OP_H

#include "ops/backward.h"
#include "ops/ops.h"
#include "ops/table.h"

/* True when any of the values is absent: the op then returns NO_VALUE (an earlier failure, kept by the graph). */
#define ABSENT(...) op_any_absent(sizeof((value[]){__VA_ARGS__}) / sizeof(value), (value[]){__VA_ARGS__})

static inline bool op_any_absent(size_t n, const value *v)
{
    for (size_t i = 0; i < n; i++)
        if (!v[i].index)
            return true;
    return false;
}

/* Rows before the last dimension. */
static inline int64_t op_rows(shape s)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < s.rank; i++)
        n *= s.dim[i];
    return n;
}

static inline int64_t op_last(shape s)
{
    return s.rank ? s.dim[s.rank - 1] : 1;
}

/* A negative axis counts from the end. */
static inline int op_axis(shape s, int axis)
{
    return axis < 0 ? axis + s.rank : axis;
}

/* Elements per step along an axis, and steps before it. */
static inline int64_t op_inner(shape s, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < s.rank; i++)
        n *= s.dim[i];
    return n;
}
static inline int64_t op_outer(shape s, int axis)
{
    int64_t n = 1;
    for (int i = 0; i < axis; i++)
        n *= s.dim[i];
    return n;
}

#define OP_REFERENCE(name) void reference_##name(const op_call *)
OP_REFERENCE(cast);
OP_REFERENCE(conv2d);
OP_REFERENCE(linear);
OP_REFERENCE(attention);
OP_REFERENCE(group_norm);
OP_REFERENCE(layer_norm);
OP_REFERENCE(activation);
OP_REFERENCE(prelu);
OP_REFERENCE(geglu);
OP_REFERENCE(add);
OP_REFERENCE(multiply);
OP_REFERENCE(scale);
OP_REFERENCE(clamp);
OP_REFERENCE(add_channels);
OP_REFERENCE(add_positions);
OP_REFERENCE(concat);
OP_REFERENCE(slice);
OP_REFERENCE(reshape);
OP_REFERENCE(upsample);
OP_REFERENCE(permute);
OP_REFERENCE(depthwise_conv2d);
OP_REFERENCE(window_attention);
OP_REFERENCE(channel_attention);
OP_REFERENCE(batch_norm);
OP_REFERENCE(multiply_channels);
OP_REFERENCE(detach);
OP_REFERENCE(dropout);
OP_REFERENCE(embedding);
OP_REFERENCE(timestep_embedding);
OP_REFERENCE(gather_tokens);
OP_REFERENCE(fill);
OP_REFERENCE(exp);
OP_REFERENCE(sum_rows);
OP_REFERENCE(sum_positions);
OP_REFERENCE(group_norm_statistics);
OP_REFERENCE(mean);
OP_REFERENCE(mean_squared_error);
OP_REFERENCE(mean_absolute_error);
OP_REFERENCE(conv2d_backward_data);
OP_REFERENCE(conv2d_backward_weights);
OP_REFERENCE(linear_backward_data);
OP_REFERENCE(linear_backward_weights);
OP_REFERENCE(attention_backward);
OP_REFERENCE(group_norm_backward_data);
OP_REFERENCE(group_norm_backward_sums);
OP_REFERENCE(group_norm_backward_share);
OP_REFERENCE(layer_norm_backward_data);
OP_REFERENCE(layer_norm_backward_weight);
OP_REFERENCE(activation_backward);
OP_REFERENCE(prelu_backward_data);
OP_REFERENCE(prelu_backward_slope);
OP_REFERENCE(geglu_backward);
OP_REFERENCE(clamp_backward);
OP_REFERENCE(slice_backward);
OP_REFERENCE(upsample_backward);
OP_REFERENCE(embedding_backward);
OP_REFERENCE(gather_tokens_backward);
OP_REFERENCE(mean_backward);
OP_REFERENCE(mean_squared_error_backward);
OP_REFERENCE(mean_absolute_error_backward);
OP_REFERENCE(depthwise_conv2d_backward_data);
OP_REFERENCE(depthwise_conv2d_backward_weights);
OP_REFERENCE(window_attention_backward);
OP_REFERENCE(channel_attention_backward);

/* Gradient rules; see op_row in ops/table.h. */
#define OP_GRADIENT(name)                                                                                    \
    void gradient_##name(at, const node *, value self, value dy, const bool *wanted, value *dx)
OP_GRADIENT(cast);
OP_GRADIENT(conv2d);
OP_GRADIENT(linear);
OP_GRADIENT(attention);
OP_GRADIENT(group_norm);
OP_GRADIENT(layer_norm);
OP_GRADIENT(activation);
OP_GRADIENT(prelu);
OP_GRADIENT(geglu);
OP_GRADIENT(add);
OP_GRADIENT(multiply);
OP_GRADIENT(scale);
OP_GRADIENT(clamp);
OP_GRADIENT(add_channels);
OP_GRADIENT(add_positions);
OP_GRADIENT(concat);
OP_GRADIENT(slice);
OP_GRADIENT(reshape);
OP_GRADIENT(upsample);
OP_GRADIENT(permute);
OP_GRADIENT(depthwise_conv2d);
OP_GRADIENT(window_attention);
OP_GRADIENT(channel_attention);
OP_GRADIENT(batch_norm);
OP_GRADIENT(multiply_channels);
OP_GRADIENT(dropout);
OP_GRADIENT(embedding);
OP_GRADIENT(gather_tokens);
OP_GRADIENT(exp);
OP_GRADIENT(sum_rows);
OP_GRADIENT(sum_positions);
OP_GRADIENT(mean);
OP_GRADIENT(mean_squared_error);
OP_GRADIENT(mean_absolute_error);

double flops_conv2d(const graph *, const node *);
double flops_linear(const graph *, const node *);
double flops_attention(const graph *, const node *);
double flops_none(const graph *, const node *);
double flops_conv2d_backward_data(const graph *, const node *);
double flops_conv2d_backward_weights(const graph *, const node *);
double flops_linear_backward_data(const graph *, const node *);
double flops_linear_backward_weights(const graph *, const node *);
double flops_attention_backward(const graph *, const node *);
double flops_reduction(const graph *, const node *); /* one per element of input 0 */
double flops_loss(const graph *, const node *);
double flops_depthwise_conv2d(const graph *, const node *);
double flops_window_attention(const graph *, const node *);
double flops_channel_attention(const graph *, const node *);

/* Both, for the kinds of activation_more.c. */
double activation_apply_more(activation_kind, double x, float slope);
double activation_slope_more(activation_kind, double x, float slope);
/* A reference kernel without memory for its sums fills its result with NaN, which nobody takes for a result. */
void op_no_memory(const op_call *);

#endif
