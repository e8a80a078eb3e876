/* conv2d_rows.h - 3x3 convolutions of few channels over large maps, by AMX tiles, row by row. */
#ifndef KILN_BACKEND_CPU_CONV2D_ROWS_H
#define KILN_BACKEND_CPU_CONV2D_ROWS_H

#include "backend/cpu/features.h"
#include "backend/cpu/onednn.h"

/* Stride 1, padding 1, bf16 from end to end, frozen weights, input channels (those of every joined part) and output channels
 * multiples of 32. Leaves out->run NULL where it is not the way. */
kiln_status prepare_conv2d_rows(const kernel_request *, const product_request *, kernel *out, kiln_error *);

#endif
