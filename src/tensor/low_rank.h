/* low_rank.h - the nearest matrix of a given rank: a truncated singular value decomposition (Eckart and Young 1936). */
#ifndef KILN_TENSOR_LOW_RANK_H
#define KILN_TENSOR_LOW_RANK_H

#include "base/error.h"

/* m [rows,columns] ~ up [rows,rank] down [rank,columns], singular values shared evenly between the two. By random projection and
 * power iteration (Halko, Martinsson and Tropp 2011, arXiv:0909.4061, algorithms 4.4 and 5.1); the same input gives the
 * same bytes. *kept: the sum of squares of the singular values that are kept. rank is 1..min(rows, columns). */
kiln_status low_rank_nearest(const float *m, int64_t rows, int64_t columns, int rank, float *up, float *down,
                             double *kept, kiln_error *err);

#endif
