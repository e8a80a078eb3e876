/* weights.h - products together with their packed weights, as the convolution and linear kernels hold
 * them. */
#ifndef KILN_BACKEND_CPU_WEIGHTS_H
#define KILN_BACKEND_CPU_WEIGHTS_H

#include "backend/cpu/onednn.h"

enum { MOST_PARTS = 8 };

typedef struct weighted {
    product *product;
    const void *weights; /* NULL: live */
} weighted;

/* Up to MOST_PARTS products that share one parameter: it is read once, and packed for all of them into one
 * block. */
typedef struct weighted_group {
    weighted part[MOST_PARTS];
    int count; /* 0: oneDNN declined */
    bool transposed;
    packed_store *store;
    packed *packed;
} weighted_group;

/* Makes other f32 weights (`count` elements) of the parameter's for part `part`. */
typedef struct weight_change {
    void (*make)(const void *arguments, int part, const float *from, float *to);
    const void *arguments;
    int64_t count;
    char mark; /* tells kinds of change apart */
} weight_change;

/* Make the products and take their weights from input `index` of the node. `change` may be NULL. Weights that are no
 * frozen parameter are live: the products of the group then take them, unchanged, at every run. */
kiln_status weighted_group_new(const product_request *, int count, const kernel_request *, int index,
                               const weight_change *, weighted_group *, kiln_error *);
void weighted_group_free(weighted_group *);

/* The mask for kernel.packed, when the group took its weights from input `index`. */
static inline uint32_t weighted_group_packed(const weighted_group *g, int index)
{
    return g->part[0].weights ? 1u << index : 0;
}
/* What a product wants as its weights: what the group packed, or the live ones. */
static inline const void *weighted_now(const weighted *w, const void *live)
{
    return w->weights ? w->weights : live;
}

#endif
