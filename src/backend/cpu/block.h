/* block.h - the common step of the element-wise kernels: bring a block of elements into f32, work, put it
 * back.
 *
 * Blocks are small enough for the first-level cache, so the conversion costs little beside memory, and
 * every kernel is written once for all storage types. */
#ifndef KILN_BACKEND_CPU_BLOCK_H
#define KILN_BACKEND_CPU_BLOCK_H

#include "graph/attributes.h"

enum { BLOCK = 2048 };

/* n elements of `type` (F32 or BF16) from element `offset`, to f32. */
void block_load(dtype type, const void *from, int64_t offset, int64_t n, float *to);
void block_store(dtype type, void *to, int64_t offset, int64_t n, const float *from);

void block_activate(activation_kind, float slope, float *x, int64_t n);
/* x += y, x *= y */
void block_add(float *x, const float *y, int64_t n);
void block_multiply(float *x, const float *y, int64_t n);
/* x = x * factor + offset */
void block_scale(float *x, float factor, float offset, int64_t n);
void block_clamp(float *x, float low, float high, int64_t n);
/* x = x >= 0 ? x : x * slope[i] */
void block_prelu(float *x, const float *slope, int64_t n);
/* x *= gelu(gate) */
void block_geglu(float *x, const float *gate, int64_t n);

#endif
