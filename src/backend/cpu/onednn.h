/* onednn.h - convolution and matrix products by oneDNN. Every call of that library is in onednn.c: a port
 * to its version 3 interface is the work of that one file. */
#ifndef KILN_BACKEND_CPU_ONEDNN_H
#define KILN_BACKEND_CPU_ONEDNN_H

#include "backend/backend.h"

/* One matrix product or convolution with frozen weights, prepared. Immutable; any number of threads may
 * run it. */
typedef struct product product;

/* y = act(x * w + b) + residual, in oneDNN's terms. Activations are channels-last. */
typedef struct product_request {
    bool convolution; /* else a matrix product of `rows` rows */
    int64_t rows;
    int64_t batch, height, width; /* of x (convolution) */
    int64_t out_height, out_width;
    int64_t in_channels, out_channels;
    int64_t kernel_height, kernel_width, stride;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    dtype input_type, weight_type, output_type;
    bool bias, residual;
    activation_kind activation;
    float slope;
    int threads;
} product_request;

/* *out is NULL (and the status KILN_OK) when oneDNN has no kernel for it. */
kiln_status product_new(const product_request *, product **out, kiln_error *);
void product_free(product *);
size_t product_scratch_bytes(const product *);

/* How the weights are stored. The key tells layouts apart; it lives as long as the product. */
size_t product_weight_bytes(const product *);
const void *product_weight_key(const product *, size_t *key_bytes);
/* Bring f32 weights in the file's layout ([out,in] or [out,in,kh,kw]) into the product's. A pack_function. */
kiln_status product_pack(const void *self, const float *from, int64_t count, void *to, kiln_error *);

typedef struct product_arguments {
    const void *input, *weights;
    const float *bias;
    void *output; /* with a residual: holds it before the call */
    void *scratch;
} product_arguments;
kiln_status product_run(product *, const product_arguments *, kiln_error *);

#endif
