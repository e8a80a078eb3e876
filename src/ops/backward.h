/* backward.h - the ops of the reverse pass. Models do not draw them: the gradient rules do (ops/gradient.h).
 *
 * Each computes the gradient of a sum of the forward op's results, weighted by dy, with respect to one of its inputs
 * ("vector-Jacobian product"), from dy and those forward values that it needs. Nothing else of the forward pass is
 * kept: statistics of norms and scores of attentions are computed again. dy has the shape of the forward result; a {0}
 * input that is not optional gives {0}. A node has one result, so an op with several inputs has several backward ops,
 * except attention, whose gradients come from one walk over the scores and so lie one after the other in one result. */
#ifndef KILN_OPS_BACKWARD_H
#define KILN_OPS_BACKWARD_H

#include "graph/graph.h"

/* By data:    dy [N,OH,OW,O]  w [O,C,kh,kw] -> dx of the shape `x` [N,H,W,C] */
value op_conv2d_backward_data(at a, value dy, value w, shape x, const conv2d_attributes *attributes);
/* By weights: x [N,H,W,C]  dy [N,OH,OW,O] -> dw of the shape `w` [O,C,kh,kw] */
value op_conv2d_backward_weights(at a, value x, value dy, shape w, const conv2d_attributes *attributes);
/* By data:    dy [...,O]  w [O,K] (or [O,K,1,1]) -> dx [...,K] */
value op_linear_backward_data(at a, value dy, value w);
/* By weights: x [...,K]  dy [...,O] -> dw of the shape `w` */
value op_linear_backward_weights(at a, value x, value dy, shape w);
/* q, k, v and y = attention(q, k, v) as the forward op had them -> one vector that holds the wanted ones of dq, dk and
 * dv, in this order, each in the shape of its value. */
value op_attention_backward(at a, value q, value k, value v, value y, value dy,
                            const attention_backward_attributes *attributes);
/* Group norm, y = act(u * weight + bias) with u = (x - mean) * scale, mean and scale by sample and group. (Models draw no
 * activation here: plans put it in.) First x [N,...,C] -> [N,groups,2], mean and scale = 1 / sqrt(variance + eps). */
value op_group_norm_statistics(at a, value x, const norm_attributes *attributes);
/* What a group norm and its gradients read. */
typedef struct group_norm_values {
    value x, weight, bias, dy, statistics;
} group_norm_values;
/* With g = dy * act'(u * weight + bias): -> [N,2,C], the sums over positions of g and of g * u. */
value op_group_norm_backward_sums(at a, const group_norm_values *, const norm_attributes *attributes);
/* By data, from those sums: -> dx */
value op_group_norm_backward_data(at a, const group_norm_values *, value sums,
                                  const norm_attributes *attributes);
/* By bias (part 0) or weight (part 1): the sums of that part over samples, in the shape `to`. */
value op_group_norm_backward_share(at a, value sums, int part, shape to);
/* Layer norm. By data: x, dy [N,...,C]  weight [C] -> dx.  By weight: -> dweight of the shape `weight`. (The bias:
 * sum_rows.) */
value op_layer_norm_backward_data(at a, value x, value weight, value dy, const norm_attributes *attributes);
value op_layer_norm_backward_weight(at a, value x, value dy, shape weight, const norm_attributes *attributes);
/* x and dy alike -> dx = dy * activation'(x). Where the derivative jumps, it is that of torch: 0 for relu at 0. */
value op_activation_backward(at a, value x, value dy, const activation_attributes *attributes);
value op_prelu_backward_data(at a, value x, value slope, value dy);
value op_prelu_backward_slope(at a, value x, value dy, shape slope);
/* x [...,2C]  dy [...,C] -> dx [...,2C] */
value op_geglu_backward(at a, value x, value dy);
/* dy where low <= x <= high, else 0 */
value op_clamp_backward(at a, value x, value dy, const clamp_attributes *attributes);
/* dx of the shape `x`: dy where the slice was, zeros elsewhere */
value op_slice_backward(at a, value dy, shape x, const slice_attributes *attributes);
/* dy [N,H*f,W*f,C] -> [N,H,W,C], sums of the f*f copies */
value op_upsample_backward(at a, value dy, int factor);
/* ids I32 [...]  dy [...,C] -> [V,C]: row v is the sum of the rows of dy whose id is v */
value op_embedding_backward(at a, value ids, value dy, int64_t rows);
/* index I32 [N]  dy [N,C] -> [N,T,C]: zeros but for token index[n] of sample n */
value op_gather_tokens_backward(at a, value index, value dy, int64_t tokens);
/* dy [1] -> every element of the shape `x` is dy / count */
value op_mean_backward(at a, value dy, shape x);
/* dy [1] -> the gradient of the prediction, 2/count * weights[n] * (prediction - target) * dy */
value op_mean_squared_error_backward(at a, value prediction, value target, value weights, value dy);
/* dy [1] -> the gradient of the prediction, sign(prediction - target) * dy / count; 0 where they are equal, as torch's */
value op_mean_absolute_error_backward(at a, value prediction, value target, value dy);
/* By data: dy [N,H,W,C]  w [C,1,k,k] -> dx. By weights: x, dy [N,H,W,C] -> dw as one vector, in the order of `w`. */
value op_depthwise_conv2d_backward_data(at a, value dy, value w);
value op_depthwise_conv2d_backward_weights(at a, value x, value dy, shape w);
/* Inputs as of the forward op -> one vector that holds the wanted ones of dq, dk, dv and dtable, in this order. */
value op_window_attention_backward(at a, value q, value k, value v, value table, value dy,
                                   const window_attention_attributes *attributes);
/* The same: dq, dk, dv, dtemperature. */
value op_channel_attention_backward(at a, value q, value k, value v, value temperature, value dy,
                                    const channel_attention_attributes *attributes);

#endif
