/* lora.h - small files that change a model's weights: LoRA and its family, in every dialect that is known, as one table.
 *
 * A file adapts modules (a linear layer, a convolution, a norm). What each kind adds to the weight W [out,in(,kh,kw)],
 * with s = alpha / rank where the file says alpha, else 1:
 *
 *   low rank     s * up down                                      Hu et al. 2021, arXiv:2106.09685; for convolutions LoCon:
 *                with a core: s * sum_pq up[o,p] mid[p,q] down[q,i]          Yeh et al. 2023, arXiv:2309.14859
 *   Hadamard     s * (w1a w1b) o (w2a w2b)                        LoHa: Hyeon-Woo et al. 2021, arXiv:2108.06098
 *                with cores: each factor is sum_ij wa[i,o] t[i,j] wb[j,c]
 *   Kronecker    s * kron(w1, w2), s = 1 where both are whole     LoKr: Yeh et al. 2023
 *   scaled       w o W, by columns or by rows                     (IA)^3: Liu et al. 2022, arXiv:2205.05638
 *   full         the difference itself, of norms too
 *   generalized  s * (b2 b1 + W a2 a1)                            GLoRA: Chavan et al. 2023, arXiv:2306.07967
 *   orthogonal   rows turned by rotations, block by block         OFT, BOFT: see lora_orthogonal.c
 *
 * and any of the first three with a magnitude m beside it: W' = m (W + d) / ||W + d||, by column or by row (DoRA: Liu et al. 2024,
 * arXiv:2402.09353). All of it is applied with a strength: W + strength * (W' - W).
 *
 *     lora_open     file -> modules, whatever the dialect of its names
 *     lora_bind     one network's modules -> that network's parameters, checked by shape
 *     lora_source   a parameter source with LoRAs merged in, for plans and for writing */
#ifndef KILN_WEIGHTS_LORA_H
#define KILN_WEIGHTS_LORA_H

#include "backend/packed.h"
#include "formats/tensor_file.h"
#include "graph/graph.h"

typedef enum lora_network { LORA_TEXT, LORA_TEXT_2, LORA_UNET, LORA_NETWORKS } lora_network;

typedef enum lora_kind {
    LORA_LOW_RANK,
    LORA_HADAMARD,
    LORA_KRONECKER,
    LORA_SCALED,
    LORA_FULL,
    LORA_GENERALIZED,
    LORA_ORTHOGONAL
} lora_kind;

/* What a tensor is to its module. */
typedef enum lora_role {
    LORA_DOWN,
    LORA_UP,
    LORA_MID,
    LORA_W1_A,
    LORA_W1_B,
    LORA_W2_A,
    LORA_W2_B,
    LORA_T1,
    LORA_T2,
    LORA_W1,
    LORA_W2,
    LORA_KRONECKER_W1_A,
    LORA_KRONECKER_W1_B,
    LORA_KRONECKER_W2_A,
    LORA_KRONECKER_W2_B,
    LORA_KRONECKER_T2,
    LORA_DIFFERENCE,
    LORA_BIAS_DIFFERENCE,
    LORA_SCALE,
    LORA_ON_INPUT,
    LORA_MAGNITUDE,        /* by column or by row, as its shape tells */
    LORA_OUTPUT_MAGNITUDE, /* PEFT's: always by row */
    LORA_A1,
    LORA_A2,
    LORA_B1,
    LORA_B2,
    LORA_BLOCKS,
    LORA_RESCALE,
    LORA_ALPHA,
    LORA_ROLES
} lora_role;

typedef struct lora_module {
    lora_network network;
    const char *name; /* below its network, with '_' for every dot: "mid_block_attentions_0_proj_in" */
    lora_kind kind;
    const tensor_entry *factor[LORA_ROLES];
    int rank;       /* 0: it has none */
    double scale;   /* alpha / rank, or 1 */
    double alpha;   /* NaN: not said */
    bool by_column; /* of a scaled one */
} lora_module;

/* An open file. Immutable: any number of threads may read. */
typedef struct lora {
    tensor_file *file;
    arena memory;
    lora_module *modules;
    int count;
    int words; /* tensors of embeddings that travel with it */
} lora;

/* Keys that belong to no module of a LoRA are refused by name, and so are files that are something else
 * (KILN_BAD_FORMAT), or of a kind or family that is not applied (KILN_UNSUPPORTED). Tensors of embeddings that a file
 * carries as well are counted and passed over. */
kiln_status lora_open(const char *path, lora **out, kiln_error *err) KILN_CHECKED;
void lora_close(lora *);
/* How many modules of that network it has. */
int lora_count(const lora *, lora_network);

/* Which module changes each parameter of a graph. */
typedef struct lora_binding lora_binding;

/* Bind a file's modules of one network to the parameters of its graph. KILN_MISMATCH with one sentence where a module has no
 * place in the graph, or is of another size. The last layer of a text encoder may be missing in the graph: SD 2.x never runs
 * it. The graph is not needed afterwards; the file is borrowed. */
kiln_status lora_bind(const lora *, lora_network, const graph *, lora_binding **out,
                      kiln_error *err) KILN_CHECKED;
void lora_binding_free(lora_binding *);

/* The module that changes parameter `index` of the graph, or NULL; *bias: it is the module's bias that is changed. */
const lora_module *lora_binding_module(const lora_binding *, int index, bool *bias);
const lora *lora_binding_file(const lora_binding *);

/* One LoRA over the weights of a network. */
typedef struct lora_layer {
    const lora_binding *binding;
    double strength; /* 0: as if it were not there */
    int rank;        /* take only so many of the ranks of low-rank modules; 0: all */
} lora_layer;

/* Change a weight in place: W + strength * (W' - W). KILN_BAD_FORMAT when the file holds NaN or infinity, by name. */
kiln_status lora_merge(const lora_layer *, const parameter *, int index, float *weight,
                       kiln_error *err) KILN_CHECKED;

/* The parameters of `base` with LoRAs merged in, one after the other. Lives as long as the stack. */
typedef struct lora_stack {
    parameter_source base;
    const lora_layer *layers;
    int count;
} lora_stack;
parameter_source lora_source(const lora_stack *);

#endif
