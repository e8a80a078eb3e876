/* step.h - what our own kernels remember of a node: types, shapes, attributes. */
#ifndef KILN_BACKEND_CPU_STEP_H
#define KILN_BACKEND_CPU_STEP_H

#include "backend/backend.h"
#include "backend/cpu/features.h"

typedef struct step {
    op_kind op;
    op_attributes attributes;
    shape shape; /* of the output */
    dtype type;  /* of the output */
    int input_count;
    shape input_shape[OP_MAX_INPUTS];
    dtype input_type[OP_MAX_INPUTS];
    cpu_features features;
} step;

typedef kiln_status (*step_run)(const struct kernel *, const kernel_arguments *, kiln_error *);

/* A kernel whose state is a step. */
kiln_status step_prepare(const kernel_request *, const char *label, step_run, int in_place, kernel *out,
                         kiln_error *);

/* Rows before the last dimension. */
static inline int64_t step_rows(shape s)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < s.rank; i++)
        n *= s.dim[i];
    return n;
}
static inline int64_t step_last(shape s)
{
    return s.rank ? s.dim[s.rank - 1] : 1;
}

/* Each prepares one kind of node, or leaves out->run NULL. */
kiln_status prepare_elementwise(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_geglu(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_layout(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_lookup(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_group_norm(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_group_norm_statistics(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_layer_norm(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_elementwise_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_reduce(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_layout_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_group_norm_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_layer_norm_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_attention_backward(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_attention(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_absolute_error(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_permute(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_channels(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_depthwise(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_window_attention(const kernel_request *, kernel *out, kiln_error *);
kiln_status prepare_channel_attention(const kernel_request *, kernel *out, kiln_error *);

#endif
