/* conv2d.h - the forms of convolution. */
#ifndef KILN_BACKEND_CPU_CONV2D_H
#define KILN_BACKEND_CPU_CONV2D_H

#include "backend/cpu/features.h"
#include "backend/cpu/onednn.h"

/* The sizes of a convolution of x with w to y, taken literally (no enlargement). */
product_request conv2d_sizes(const conv2d_attributes *, shape x, shape w, shape y, int threads);
/* Enlarge by 2, then convolve; declines all but 3x3 kernels with padding 1 and stride 1. */
kiln_status prepare_conv2d_upsample(const kernel_request *, const product_request *, kernel *out,
                                    kiln_error *);
/* Many input channels, in slices: whether that pays, and the kernel. */
bool conv2d_splits(const product_request *, const cpu_features *);
kiln_status prepare_conv2d_split(const kernel_request *, const product_request *, kernel *out, kiln_error *);

#endif
