/* onednn.h - convolution and matrix products by oneDNN, forward and backward. Every call of that library is in
 * onednn.c and onednn_describe.c: a port to its version 3 interface is the work of those two files. */
#ifndef KILN_BACKEND_CPU_ONEDNN_H
#define KILN_BACKEND_CPU_ONEDNN_H

#include "backend/backend.h"

/* One matrix product or convolution, prepared. Immutable; any number of threads may run it. */
typedef struct product product;

typedef enum product_kind {
    PRODUCT_FORWARD, /* x, w -> y = act(x * w + b) + residual */
    PRODUCT_DATA, /* dy, w -> dx; convolutions only: for a matrix it is a forward product with w transposed */
    PRODUCT_WEIGHTS /* x, dy -> dw, f32 in the file's layout */
} product_kind;

/* Sizes are those of the forward product, in oneDNN's terms, whatever the kind. Activations are channels-last. */
typedef struct product_request {
    product_kind kind;
    bool convolution; /* else a matrix product of `rows` rows */
    int64_t rows;
    int64_t batch, height, width; /* of x (convolution) */
    int64_t out_height, out_width;
    int64_t in_channels, out_channels;
    int64_t kernel_height, kernel_width, stride;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    dtype input_type;  /* of x; of dy by data */
    dtype weight_type; /* of w inside the product; of dy by weights */
    dtype output_type;
    bool transposed; /* the file holds [in,out]: forward products of matrices only */
    bool live;       /* weights come with every run, in the file's layout, as `live_type` */
    dtype live_type;
    bool bias, residual;
    activation_kind activation;
    float slope;
    float gain; /* of what comes of the activation; 0: none */
    int threads;
} product_request;

/* *out is NULL (and the status KILN_OK) when oneDNN has no kernel for it. */
kiln_status product_new(const product_request *, product **out, kiln_error *);
void product_free(product *);
size_t product_scratch_bytes(const product *);

/* How frozen weights are stored. The key tells layouts apart; it lives as long as the product. */
size_t product_weight_bytes(const product *);
const void *product_weight_key(const product *, size_t *key_bytes);
/* Bring f32 weights in the file's layout ([out,in] or [out,in,kh,kw]) into the product's. A pack_function. */
kiln_status product_pack(const void *self, const float *from, int64_t count, void *to, kiln_error *);

typedef struct product_arguments {
    const void *input, *weights; /* weights: packed; live: in the file's layout; by weights: dy */
    const float *bias;
    void *output; /* with a residual: holds it before the call */
    void *scratch;
} product_arguments;
kiln_status product_run(product *, const product_arguments *, kiln_error *);

/* c [rows,columns] = alpha op(a) op(b) + beta c in f32, dense and row after row; left and right are 'N', or 'T' for a
 * matrix that is stored transposed. It is the work of the calling thread alone. */
typedef struct plain_product {
    char left, right;
    int64_t rows, columns, depth;
    float alpha, beta;
} plain_product;
void product_plain(const plain_product *, const float *a, const float *b, float *c);

/* Whether matrix products go through the block kernels of AVX-512 processors. Where they do not, oneDNN shares the work
 * out in a way that depends on the number of threads, and so do the last bits of the results. */
bool products_have_blocks(void);

#endif
