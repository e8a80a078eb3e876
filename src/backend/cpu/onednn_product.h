/* onednn_product.h - what onednn.c and onednn_describe.c share: the inside of a product. */
#ifndef KILN_BACKEND_CPU_ONEDNN_PRODUCT_H
#define KILN_BACKEND_CPU_ONEDNN_PRODUCT_H

#include "backend/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>

typedef struct binding binding;

struct product {
    product_request request;
    dnnl_engine_t engine;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    /* Live weights: file -> weights before it. By weights: made -> file after it, unless they are alike. */
    dnnl_primitive_t reorder;
    dnnl_memory_desc_t input, weights, file, made, bias, output, scratch;
    int input_role, weights_role, output_role; /* DNNL_ARG_... */
    _Atomic(binding *) spare;
};

/* Fill description, roles and memory descriptors from the request. */
dnnl_status_t product_describe(product *);

#endif
