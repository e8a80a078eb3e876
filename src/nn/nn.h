/* nn.h - layers: an op together with the parameters it owns.
 *
 * A layer is called where it is used and declares its parameters there, under the place it receives: the name
 * of a parameter is the place's path plus the leaf "weight" or "bias". Calling a layer twice at one place
 * shares its parameters.
 *
 * One idea, one function. What bends a layer later has one place to do so: adapters (LoRA) bend nn_linear and
 * nn_conv2d; a hypernetwork bends the context that nn_attention projects to keys and values; textual
 * inversion replaces rows in nn_token_embedding. */
#ifndef KILN_NN_NN_H
#define KILN_NN_NN_H

#include "ops/ops.h"

typedef enum nn_bias { NN_NO_BIAS, NN_BIAS } nn_bias;

/* y = x W^T + b;  x [...,K] -> [...,out];  weight [out,K], bias [out]. */
value nn_linear(at a, value x, int64_t out, nn_bias bias);
/* The same product where the file keeps it as a 1x1 convolution: weight [out,K,1,1], bias [out]. */
value nn_pointwise(at a, value x, int64_t out, nn_bias bias);

/* Convolution with stride 1 that keeps the size;  x [N,H,W,C] -> [N,H,W,out];  kernel is odd;  bias. */
value nn_conv2d(at a, value x, int64_t out, int kernel);
/* Convolution as told: stride, padding of each side, upsample.  weight [out,C,kernel,kernel], bias [out]. */
value nn_conv2d_with(at a, value x, int64_t out, int kernel, const conv2d_attributes *attributes,
                     nn_bias bias);

/* x [N,...,C], normalised over groups of channels and all positions (Wu & He 2018);  weight, bias [C]. */
value nn_group_norm(at a, value x, int groups, float epsilon);
/* x [...,C], normalised over the last dimension (Ba et al. 2016);  weight, bias [C]. */
value nn_layer_norm(at a, value x, float epsilon);

/* The names of an attention's four projections in each dialect, and which of them carry a bias. `original`
 * entries may bear storage marks (see graph.h). */
typedef struct nn_attention_names {
    const char *query[2], *key[2], *value[2], *out[2]; /* {canonical, original} */
    nn_bias qkv_bias, out_bias;
} nn_attention_names;

/* diffusers' attention: to_q, to_k, to_v without bias, to_out.0 with one; the same in both dialects. */
extern const nn_attention_names nn_attention_diffusers;

/* Multi-head attention (Vaswani et al. 2017):  out(softmax(q k^T / sqrt(D)) v)
 *   x [N,T,C] gives the queries;  context [N,S,K] gives keys and values, {0} means x itself
 *   -> [N,T,C].  C must be a multiple of heads.  causal: token t sees tokens 0..t. */
value nn_attention(at a, value x, value context, int heads, bool causal, const nn_attention_names *names);

/* What keys and values come from, where that is not one context: bent contexts for each (hypernetworks), and further keys
 * and values beside theirs (image prompts). */
typedef struct nn_attention_context {
    value for_keys, for_values; /* [N,S,K] */
    int count;
    const value *keys, *values; /* keys[i], values[i] [N,Si,C] */
} nn_attention_context;

/* The same without a mask:
 *   out(softmax(q k^T / sqrt(D)) v + sum_i softmax(q keys[i]^T / sqrt(D)) values[i]) */
value nn_attention_joined(at a, value x, const nn_attention_context *context, int heads,
                          const nn_attention_names *names);

/* Dropout (Srivastava et al. 2014), for graphs in training: x [N,...], each sample's fate decided by the graph's input
 * NN_DROPOUT_SEEDS, I32 [N], which is declared here, the place, and `stream`, which tells uses at one place apart. */
#define NN_DROPOUT_SEEDS "dropout_seeds"
value nn_dropout(at a, value x, float probability, int stream);

/* Rows of the table `weight` [count,width];  ids I32 [N,T] -> [N,T,width]. */
value nn_token_embedding(at a, value ids, int64_t count, int64_t width);
/* x [N,T,C] plus the first T rows of `weight` [count,C]. */
value nn_position_embedding(at a, value x, int64_t count);

#endif
