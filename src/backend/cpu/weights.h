/* weights.h - products together with their packed weights, as the convolution and linear kernels hold
 * them. */
#ifndef KILN_BACKEND_CPU_WEIGHTS_H
#define KILN_BACKEND_CPU_WEIGHTS_H

#include "backend/cpu/onednn.h"

enum { MOST_PARTS = 8 };

typedef struct weighted {
    product *product;
    const void *weights;
} weighted;

/* Up to MOST_PARTS products that share one parameter: it is read once, and packed for all of them into one
 * block. */
typedef struct weighted_group {
    weighted part[MOST_PARTS];
    int count; /* 0: oneDNN declined */
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

/* Make the products and take their weights from input `index` of the node. `change` may be NULL. */
kiln_status weighted_group_new(const product_request *, int count, const kernel_request *, int index,
                               const weight_change *, weighted_group *, kiln_error *);
void weighted_group_free(weighted_group *);

#endif
