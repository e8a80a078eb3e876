/* weights.h - a product together with its packed weights, as the convolution and linear kernels hold it. */
#ifndef KILN_BACKEND_CPU_WEIGHTS_H
#define KILN_BACKEND_CPU_WEIGHTS_H

#include "backend/cpu/onednn.h"

typedef struct weighted {
    product *product;
    packed_store *store;
    packed *packed;
    const void *weights;
} weighted;

/* Make the product and take its weights from parameter `index`. `change` (may be NULL) makes other f32 weights of
 * them first, `changed_count` elements; `mark` tells such variants apart. w->product stays NULL when oneDNN declines. */
typedef void (*weight_change)(const void *arguments, const float *from, float *to);
typedef struct weight_variant {
    weight_change change;
    const void *arguments;
    int64_t changed_count;
    char mark;
} weight_variant;
kiln_status weighted_new(const product_request *, const kernel_request *, int index, const weight_variant *,
                         weighted *w, kiln_error *);
void weighted_free(weighted *);

#endif
