/* block_backward.h - derivatives of the element-wise functions over blocks of f32; see block.h. */
#ifndef KILN_BACKEND_CPU_BLOCK_BACKWARD_H
#define KILN_BACKEND_CPU_BLOCK_BACKWARD_H

#include "graph/attributes.h"

/* dy *= activation'(x) */
void block_activate_backward(activation_kind, float slope, const float *x, float *dy, int64_t n);
/* dy where x >= 0, else dy * slope[i] */
void block_prelu_backward(const float *x, const float *slope, float *dy, int64_t n);
/* 0 where x is outside */
void block_clamp_backward(const float *x, float low, float high, float *dy, int64_t n);
/* x and gate become their gradients: dy * gelu(gate), dy * x * gelu'(gate) */
void block_geglu_backward(float *x, float *gate, const float *dy, int64_t n);
/* x = (x - y) * factor */
void block_difference(float *x, const float *y, float factor, int64_t n);
void block_exp(float *x, int64_t n);

#endif
