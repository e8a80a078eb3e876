/* amx_product.h - convolutions and matrix products with weights that change between runs (training), forward and by data,
 * by AMX tiles. Weights are read once, as f32 in the file's layout, and become tiles in the second-level cache a few output
 * channels at a time: no converted copy of them goes through memory. Every sum is made by one thread in one order, so
 * the bytes do not depend on the number of threads. */
#ifndef KILN_BACKEND_CPU_AMX_PRODUCT_H
#define KILN_BACKEND_CPU_AMX_PRODUCT_H

#include "backend/cpu/features.h"
#include "backend/cpu/onednn.h"

typedef struct amx_product amx_product;

/* Takes the sizes of a request of kind PRODUCT_FORWARD or PRODUCT_DATA (matrices by data, too); `upsample` 2: x is stored at
 * half its height and width (forward only). *out is NULL (and the status KILN_OK) where this is not the way. */
kiln_status amx_product_new(const product_request *, int upsample, const cpu_features *, amx_product **out,
                            kiln_error *);
void amx_product_free(amx_product *);
/* For as many threads as the request said, the most that may run it. */
size_t amx_product_scratch(const amx_product *);
/* x (dy), f32 or bf16 as requested; w: f32, plain; bias: f32 or NULL -> y (dx) in the requested type */
void amx_product_run(const amx_product *, const void *x, const float *w, const float *bias, void *y,
                     void *scratch, int threads);

#endif
