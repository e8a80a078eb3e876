/* lora_draw.h - LoRA and its family in the graph: factors as parameters of their own, which can be taught, or which are
 * read from a file while the weights stay as they are.
 *
 * The hook of graph_hooks.weight calls lora_draw() in every layer that is to be adapted. Factors are declared in the
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
    float
        dropout; /* share of the ranks that a step leaves out, in training; the graph has inputs already then */
} lora_form;

/* The changed weight, in its own shape. `weight` is [out,in] or [out,in,kh,kw]; anything else is given back as it is. */
value lora_draw(const lora_form *, at, value weight);

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
