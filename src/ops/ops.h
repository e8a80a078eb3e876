/* ops.h - every op a model may draw. Each has a page of its own, ops/<name>.c, with its contract, shape rule and
 * reference kernel (which is the specification) and gradient rule; ops/table.c lists them all.
 *
 * All take the place `a` for error messages; a {0} input that is not optional gives {0}. */
#ifndef KILN_OPS_OPS_H
#define KILN_OPS_OPS_H

#include "graph/graph.h"

/* y[n,oh,ow,o] = b[o] + sum x[n, oh*stride+i-pad_top, ow*stride+j-pad_left, c] * w[o,c,i,j]
 *   x [N,H,W,C]   w [O,C,kh,kw]   b [O] or {0}   attributes->upsample 2: x is first enlarged by 2 (nearest)
 *   activation NONE: fusion sets it. */
value op_conv2d(at a, value x, value w, value b, const conv2d_attributes *attributes);
/* y[...,o] = b[o] + sum_k x[...,k] w[o,k];  x [...,K]  w [O,K] (or [O,K,1,1])  b [O] or {0} */
value op_linear(at a, value x, value w, value b);
/* softmax(q k^T / sqrt(D)) v per head;  q [N,T,heads*D]  k [N,S,heads*D]  v [N,S,heads*E] -> [N,T,heads*E] */
value op_attention(at a, value q, value k, value v, int heads, bool causal);
/* Normalise over (positions, channels of the group);  x [N,...,C]  weight, bias [C] */
value op_group_norm(at a, value x, value weight, value bias, int groups, float epsilon);
/* Normalise over the last dimension;  x [...,C]  weight, bias [C] */
value op_layer_norm(at a, value x, value weight, value bias, float epsilon);
value op_activation(at a, value x, activation_kind kind, float slope);
value op_silu(at a, value x);
/* x where x >= 0, else slope[c] * x;  slope [C] */
value op_prelu(at a, value x, value slope);
/* y = x[..., :C] * gelu(x[..., C:]);  x [...,2C] -> [...,C]. Shazeer 2020. */
value op_geglu(at a, value x);
/* x itself, but no gradient passes: what is made of it counts as a constant. */
value op_detach(at a, value x);
/* Same shapes. */
value op_add(at a, value x, value y);
value op_multiply(at a, value x, value y);
/* x * factor + offset */
value op_scale(at a, value x, float factor, float offset);
value op_clamp(at a, value x, float low, float high);
/* x [N,...,C] + y [N,C], the same for every position */
value op_add_channels(at a, value x, value y);
/* x [N,T,C] + y [P,C] with P >= T: row t of y is added at token t */
value op_add_positions(at a, value x, value y);
/* Join 1..8 values along an axis (negative: from the end). */
value op_concat(at a, int count, const value *values, int axis);
/* x[..., start:start+length, ...] along an axis (negative: from the end) */
value op_slice(at a, value x, int axis, int64_t start, int64_t length);
/* The same elements under another shape; costs nothing. */
value op_reshape(at a, value x, shape);
/* Nearest neighbour, by a whole factor;  x [N,H,W,C] -> [N,H*f,W*f,C] */
value op_upsample(at a, value x, int factor);
/* Axes in another order: axis i of the result is axis axes[i] of x (as torch's permute).  rank axes */
value op_permute(at a, value x, const int *axes);
/* x [N,H,W,C*r*r] -> [N,H*r,W*r,C] with channel c*r*r + i*r + j at row i, column j of its block (Shi et al. 2016), and
 * back, H and W being multiples of r. Made of reshape and permute. */
value op_pixel_shuffle(at a, value x, int factor);
value op_pixel_unshuffle(at a, value x, int factor);
/* Every channel by a kernel of its own, stride 1, zeros outside, the size kept:  x [N,H,W,C]  w [C,1,k,k], k odd
 * b [C] or {0} -> [N,H,W,C] */
value op_depthwise_conv2d(at a, value x, value w, value b);
/* Attention within windows of a feature map (Liu et al. 2021, "Swin"), with a bias by relative position:
 *   q, k, v [N,H,W,heads*D], H and W multiples of the window's sides
 *   table [(2*height-1)*(2*width-1), heads] or {0}: row (ty-sy+height-1)*(2*width-1) + (tx-sx+width-1) is added to the
 *   scores of query (ty,tx) by key (sy,sx) of the window -> [N,H,W,heads*D] */
value op_window_attention(at a, value q, value k, value v, value table,
                          const window_attention_attributes *attributes);
/* Attention between the channels of a head (El-Nouby et al. 2021, "XCiT"): q and k scaled to length 1 over the tokens,
 * scores q^T k * temperature[head];  q, k, v [N,T,heads*D]  temperature [heads] (in any shape) -> [N,T,heads*D] */
value op_channel_attention(at a, value q, value k, value v, value temperature, int heads);
/* By given statistics (Ioffe & Szegedy 2015, as after training):  (x - mean) / sqrt(variance + epsilon) * weight + bias
 *   x [...,C]  mean, variance [C], never learnt  weight, bias [C] or {0} (1 and 0) */
value op_batch_norm(at a, value x, value mean, value variance, value weight, value bias, float epsilon);
/* x [N,...,C] * y [N,C], the same for every position */
value op_multiply_channels(at a, value x, value y);
/* In training: every element of sample n is 0 with a probability of p, and else grows by 1 / (1 - p) (Srivastava et al.
 * 2014);  x [N,...]  seeds I32 [N]. Which ones is a function of (seeds[n], stream, place in the sample) alone, so that a step
 * that is repeated, or drawn again for its gradients, drops the same. 0 <= p < 1. */
value op_dropout(at a, value x, value seeds, float p, int stream);
/* Rows of a table;  ids I32 [N,T]  table [V,C] -> [N,T,C]. An id outside 0..V-1 gives a row of zeros. */
value op_embedding(at a, value ids, value table);
/* Sinusoidal embedding of time;  t [N] -> [N,dim].  Vaswani et al. 2017 with the DDPM convention:
 * frequencies exp(-ln(max_period) * i / (dim/2 - frequency_shift)); sine first unless cosine_first. */
value op_timestep_embedding(at a, value t, int dim, const timestep_attributes *);
/* Row index[n] of each sequence;  x [N,T,C]  index I32 [N] -> [N,C] */
value op_gather_tokens(at a, value x, value index);

/* For losses, and for what gradients are made of. */

/* A constant of that shape. */
value op_fill(at a, shape, float number);
value op_exp(at a, value x);
/* Sums in double, over all but the last dimension:  x [...,C] -> [C] */
value op_sum_rows(at a, value x);
/* The same within each sample:  x [N,...,C] -> [N,C] */
value op_sum_positions(at a, value x);
/* Over all elements -> [1] */
value op_mean(at a, value x);
/* The mean over all elements of weights[n] * (prediction - target)^2 -> [1];  weights [N] or {0} (ones) */
value op_mean_squared_error(at a, value prediction, value target, value weights);
/* The mean over all elements of |prediction - target| -> [1] */
value op_mean_absolute_error(at a, value prediction, value target);

#endif
