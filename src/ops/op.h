/* op.h - small helpers shared by the pages of the ops. */
#ifndef KILN_OPS_OP_H
#define KILN_OPS_OP_H

#include "ops/ops.h"
#include "ops/table.h"

/* True when any of the values is absent: the op then returns NO_VALUE (an earlier failure, kept by the graph). */
#define ABSENT(...) op_any_absent(sizeof((value[]){__VA_ARGS__}) / sizeof(value), (value[]){__VA_ARGS__})

static inline bool op_any_absent(size_t n, const value *v)
{
    for (size_t i = 0; i < n; i++)
        if (!v[i].index)
            return true;
    return false;
}

/* Rows before the last dimension. */
static inline int64_t op_rows(shape s)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < s.rank; i++)
        n *= s.dim[i];
    return n;
}

static inline int64_t op_last(shape s)
{
    return s.rank ? s.dim[s.rank - 1] : 1;
}

/* A negative axis counts from the end. */
static inline int op_axis(shape s, int axis)
{
    return axis < 0 ? axis + s.rank : axis;
}

/* Elements per step along an axis, and steps before it. */
static inline int64_t op_inner(shape s, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < s.rank; i++)
        n *= s.dim[i];
    return n;
}
static inline int64_t op_outer(shape s, int axis)
{
    int64_t n = 1;
    for (int i = 0; i < axis; i++)
        n *= s.dim[i];
    return n;
}

#define OP_REFERENCE(name) void reference_##name(const op_call *)
OP_REFERENCE(cast);
OP_REFERENCE(conv2d);
OP_REFERENCE(linear);
OP_REFERENCE(attention);
OP_REFERENCE(group_norm);
OP_REFERENCE(layer_norm);
OP_REFERENCE(activation);
OP_REFERENCE(prelu);
OP_REFERENCE(geglu);
OP_REFERENCE(add);
OP_REFERENCE(multiply);
OP_REFERENCE(scale);
OP_REFERENCE(clamp);
OP_REFERENCE(add_channels);
OP_REFERENCE(add_positions);
OP_REFERENCE(concat);
OP_REFERENCE(slice);
OP_REFERENCE(reshape);
OP_REFERENCE(upsample);
OP_REFERENCE(embedding);
OP_REFERENCE(timestep_embedding);
OP_REFERENCE(gather_tokens);

double flops_conv2d(const graph *, const node *);
double flops_linear(const graph *, const node *);
double flops_attention(const graph *, const node *);
double flops_none(const graph *, const node *);

#endif
