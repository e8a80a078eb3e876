/* lora_draw.h - LoRA and its family in the graph: factors as parameters of their own, which can be taught, or which are
 * read from a file while the weights stay as they are.
 *
 * The hook of graph_hooks.weight calls lora_draw() in every layer that is to be adapted; or, for what is of low rank, that of
 * graph_hooks.result calls lora_branch(), which is the same by another way: up (down x) beside the layer, where no change of the
 * size of the weight is ever computed, nor its gradient. Factors are declared in the
 * layer's place under the names that files use: "<layer>.lora_down.weight", ".hada_w1_a", ".lokr_w1", ".dora_scale". */
#ifndef KILN_WEIGHTS_LORA_DRAW_H
#define KILN_WEIGHTS_LORA_DRAW_H

#include "weights/lora.h"

/* What is drawn over a weight. */
typedef struct lora_form {
    lora_kind kind; /* LORA_LOW_RANK, LORA_HADAMARD or LORA_KRONECKER */
    int rank;       /* >= 1 */
    float scale;    /* alpha / rank, times the strength */
    int factor; /* of a Kronecker product: the largest side of its first factor; 0: as near a square as goes */
    bool whole;     /* its second factor is not of low rank: then the scale is the strength alone */
    bool magnitude; /* DoRA, by row: dora_scale [out,1(,1,1)] */
    /* In training. Of lora_branch(): the share of the numbers between the two factors, each sample's of its own, as kohya's
     * network_dropout. Of lora_draw(): the share of the ranks that a step leaves out; the graph has inputs already then. */
    float dropout;
} lora_form;

/* The changed weight, in its own shape. `weight` is [out,in] or [out,in,kh,kw]; anything else is given back as it is. */
value lora_draw(const lora_form *, at, value weight);

/* Whether a form can be a branch: low rank, without magnitudes. */
bool lora_is_branch(const lora_form *);
/* What the layer gives with it: result + scale * up (down x). x, weight, window and result as graph_hooks.result has them. */
value lora_branch(const lora_form *, at, value x, value weight, const conv2d_attributes *window,
                  value result);

/* The sides of the first factor of a Kronecker product for a weight of `size` rows or columns: its largest divisor up to
 * `factor`, or up to the square root where that is 0. */
int64_t lora_split(int64_t size, int factor);

/* The parameters of a graph drawn with lora_draw that are a file's: KILN_MISMATCH where the file has no such module, or another
 * kind or size than was drawn. Other parameters come from `base`. Lives as long as the three. */
typedef struct lora_factors {
    const lora *file;
    lora_network network;
    parameter_source base;
} lora_factors;
parameter_source lora_factor_source(const lora_factors *);

#endif
