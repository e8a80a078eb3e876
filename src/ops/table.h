/* table.h - one row per op: its name, reference kernel, cost and gradient rule. */
#ifndef KILN_OPS_TABLE_H
#define KILN_OPS_TABLE_H

#include "graph/graph.h"

/* What a reference kernel sees: f32 data (I32 for ids), plain layouts. An absent optional input is NULL. */
typedef struct op_call {
    const node *node;
    shape shape; /* of the output */
    shape input_shape[OP_MAX_INPUTS];
    const void *input[OP_MAX_INPUTS]; /* const float *, or const int32_t * for ids */
    float *output;
} op_call;

typedef struct op_row {
    op_kind op;
    const char *name;
    /* The specification: slow, plain, sums in double. NULL for input and parameter, which compute nothing. */
    void (*reference)(const op_call *);
    /* Floating-point operations (a multiply-add counts 2); NULL means one per output element. */
    double (*flops)(const graph *, const node *);
    /* The gradient rule: emits nodes for the gradients of the wanted inputs and names them in dx. `self` is the node's
     * own value, dy the gradient of it; wanted and dx have OP_MAX_INPUTS entries. dx may have another shape than its
     * input where the elements are the same: graph_gradient() reshapes it. What is not wanted emits nothing. NULL
     * where no_gradient says why the op has none. */
    void (*gradient)(at, const node *, value self, value dy, const bool *wanted, value *dx);
    const char *no_gradient;
} op_row;

const op_row *op_find(op_kind);
double op_flops(const graph *, const node *);
/* Bytes read and written, with `element` bytes per activation element. */
double op_bytes(const graph *, const node *, size_t element);
const char *activation_name(activation_kind);
/* The activation itself, in double: shared by every reference kernel that ends in one. */
double activation_apply(activation_kind, double x, float slope);
/* Its derivative. */
double activation_slope(activation_kind, double x, float slope);
/* Whether kernels may end in it. */
bool activation_ends_kernels(activation_kind);

#endif
