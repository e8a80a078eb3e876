/* table.c - all ops in one table; see table.h. */
#include "ops/table.h"

#include "ops/op.h"

double flops_none(const graph *g, const node *n)
{
    (void)g;
    (void)n;
    return 0;
}

static const char later[] = "its rule is not written yet";

#define ROW(kind, text, kernel, cost) [OP_##kind] = {OP_##kind, text, reference_##kernel, cost, NULL, later}

static const op_row rows[OP_COUNT] = {
    [OP_NONE] = {OP_NONE, "none", NULL, flops_none, NULL, "it is no op"},
    [OP_INPUT] = {OP_INPUT, "input", NULL, flops_none, NULL, "it is where a gradient ends"},
    [OP_PARAMETER] = {OP_PARAMETER, "parameter", NULL, flops_none, NULL, "it is where a gradient ends"},
    ROW(CAST, "cast", cast, flops_none),
    ROW(CONV2D, "conv2d", conv2d, flops_conv2d),
    ROW(LINEAR, "linear", linear, flops_linear),
    ROW(ATTENTION, "attention", attention, flops_attention),
    ROW(GROUP_NORM, "group_norm", group_norm, NULL),
    ROW(LAYER_NORM, "layer_norm", layer_norm, NULL),
    ROW(ACTIVATION, "activation", activation, NULL),
    ROW(PRELU, "prelu", prelu, NULL),
    ROW(GEGLU, "geglu", geglu, NULL),
    ROW(ADD, "add", add, NULL),
    ROW(MULTIPLY, "multiply", multiply, NULL),
    ROW(SCALE, "scale", scale, NULL),
    ROW(CLAMP, "clamp", clamp, NULL),
    ROW(ADD_CHANNELS, "add_channels", add_channels, NULL),
    ROW(ADD_POSITIONS, "add_positions", add_positions, NULL),
    ROW(CONCAT, "concat", concat, flops_none),
    ROW(SLICE, "slice", slice, flops_none),
    ROW(RESHAPE, "reshape", reshape, flops_none),
    ROW(UPSAMPLE, "upsample", upsample, flops_none),
    ROW(EMBEDDING, "embedding", embedding, flops_none),
    ROW(TIMESTEP_EMBEDDING, "timestep_embedding", timestep_embedding, NULL),
    ROW(GATHER_TOKENS, "gather_tokens", gather_tokens, flops_none),
};

const op_row *op_find(op_kind op)
{
    return (unsigned)op < OP_COUNT ? &rows[op] : &rows[OP_NONE];
}

double op_flops(const graph *g, const node *n)
{
    const op_row *row = op_find(n->op);
    return row->flops ? row->flops(g, n) : (double)shape_count(n->shape);
}

double op_bytes(const graph *g, const node *n, size_t element)
{
    double count = (double)shape_count(n->shape);
    for (int i = 0; i < n->input_count; i++)
        if (n->input[i].index)
            count += (double)shape_count(graph_node(g, n->input[i])->shape);
    return count * (double)element;
}
