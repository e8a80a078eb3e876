/* sliced_gradient.h - the gradient by weights of convolutions and matrices by oneDNN, where weights_gradient.h is not the
 * way: f32, and bf16 without AMX.
 *
 * It is a sum over positions, which oneDNN would split between threads, so that the last bits depended on their number.
 * Here a thread makes whole slices of output channels, whose size depends on the layer alone: the bytes are the same for
 * any number of threads. */
#ifndef KILN_BACKEND_CPU_SLICED_GRADIENT_H
#define KILN_BACKEND_CPU_SLICED_GRADIENT_H

#include "backend/cpu/onednn.h"

typedef struct sliced_gradient sliced_gradient;

/* Takes the sizes of a request of kind PRODUCT_WEIGHTS. *out is NULL (and the status KILN_OK) when oneDNN has no kernel
 * for it. */
kiln_status sliced_gradient_new(const product_request *, sliced_gradient **out, kiln_error *);
void sliced_gradient_free(sliced_gradient *);
/* For as many threads as the request said, the most that may run it. */
size_t sliced_gradient_scratch(const sliced_gradient *);
/* x, dy in the request's types -> dw in f32 */
kiln_status sliced_gradient_run(const sliced_gradient *, const void *x, const void *dy, float *dw,
                                void *scratch, int threads, kiln_error *);

#endif
