/* products.h - the kernels around oneDNN's products, and what they share. */
#ifndef KILN_BACKEND_CPU_PRODUCTS_H
#define KILN_BACKEND_CPU_PRODUCTS_H

#include "backend/backend.h"

kiln_status prepare_linear(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_conv2d(const kernel_request *, kernel *out, kiln_error *);
/* All of them but gradients by weights, by AMX tiles: where weights are live. */
kiln_status prepare_amx_product(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_linear_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_conv2d_backward(const kernel_request *, kernel *out, kiln_error *);

/* Whether oneDNN's matrix product may split sums of that length between threads; see linear.c. */
bool linear_sum_may_split(int64_t rows, int64_t channels);

/* Activations to another storage type, and a plain copy, by several threads. */
void convert_activations(dtype from_type, const void *from, dtype to_type, void *to, int64_t count,
                         int threads);
void copy_activations(void *to, const void *from, size_t bytes, int threads);
/* n elements from one place to another, converting; by this thread. */
void move_activations(dtype from_type, const void *from, int64_t from_offset, dtype to_type, void *to,
                      int64_t to_offset, int64_t n);
/* A feature map [rows,W,C] (rows: samples times height) enlarged by 2 to [2 rows,2W,C], nearest neighbour; and the
 * sums of the four copies, back. */
void enlarge_activations(dtype from_type, const void *from, dtype to_type, void *to, int64_t rows,
                         int64_t width, int64_t channels, int threads);
void sum_enlarged(dtype from_type, const void *from, dtype to_type, void *to, int64_t rows, int64_t width,
                  int64_t channels, int threads);

static inline size_t scratch_rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

#endif
