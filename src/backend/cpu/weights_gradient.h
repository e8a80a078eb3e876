/* weights_gradient.h - the gradient by weights of convolutions and matrices, by AMX tiles, straight from channels-last
 * bf16 to f32 in the file's layout. About twice as fast as oneDNN's, which transposes and sums in memory; and, since no
 * sum is split between threads, its bytes do not depend on their number. */
#ifndef KILN_BACKEND_CPU_WEIGHTS_GRADIENT_H
#define KILN_BACKEND_CPU_WEIGHTS_GRADIENT_H

#include "backend/cpu/features.h"
#include "backend/cpu/onednn.h"

typedef struct weights_gradient weights_gradient;

/* Takes the sizes of a request of kind PRODUCT_WEIGHTS; `upsample` 2: x is stored at half its height and width. *out is
 * NULL (and the status KILN_OK) where this is not the way. */
kiln_status weights_gradient_new(const product_request *, int upsample, const cpu_features *,
                                 weights_gradient **out, kiln_error *);
void weights_gradient_free(weights_gradient *);
size_t weights_gradient_scratch(const weights_gradient *);
/* x, dy in bf16 -> dw in f32 */
void weights_gradient_run(const weights_gradient *, const void *x, const void *dy, float *dw, void *scratch,
                          int threads);

#endif
