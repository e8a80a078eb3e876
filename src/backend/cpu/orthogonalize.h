/* orthogonalize.h - the nearest orthogonal matrix, nearly: what Muon makes of a gradient (train/muon.c).
 *
 * A matrix U S V^T becomes U S' V^T with every singular value S' between about 0.7 and 1.2: an odd polynomial of degree 5
 * (3.4445, -4.7750, 2.0315), which moves all of (0, 1] there, is applied five times to the matrix over its Frobenius
 * norm. (Newton and Schulz; the coefficients: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
 * networks".) In bf16 with AMX, else in f32. One thread does one matrix, so that the bytes do not depend on the number
 * of threads. */
#ifndef KILN_BACKEND_CPU_ORTHOGONALIZE_H
#define KILN_BACKEND_CPU_ORTHOGONALIZE_H

#include "backend/cpu/features.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of scratch, aligned to 64, that a matrix of this size takes. */
size_t orthogonalize_scratch(int64_t rows, int64_t columns, const cpu_features *);
/* x [rows, columns] in place. Zeros stay zeros. */
void orthogonalize(float *x, int64_t rows, int64_t columns, const cpu_features *, void *scratch);

#endif
