/* norm_rows.h - the second half of a group norm: y = act((x + offset) * factor + bias), one row of
 * channels after another. */
#ifndef KILN_BACKEND_CPU_NORM_ROWS_H
#define KILN_BACKEND_CPU_NORM_ROWS_H

#include "backend/cpu/features.h"
#include "graph/attributes.h"

typedef struct norm_rows {
    dtype input_type, output_type;
    const void *x;
    void *y;
    int64_t rows, channels;
    const float *offset, *factor, *bias; /* [channels] */
    activation_kind activation;
} norm_rows;

void norm_rows_apply(const norm_rows *, const cpu_features *);

#endif
