/* graph.h - the deferred graph: what a model function draws.
 *
 * A model is a plain C function. It receives an `at`, a small value that says where in the model we are (in
 * every naming dialect at once), calls ops, and names its parameters where it uses them. Running the function
 * builds nodes; nothing is computed. Plans (plan/plan.h), loading (weights/), gradients (ops/gradient.h) and
 * quantisation are passes over what was drawn, so a model is written exactly once.
 *
 *     static value resnet(at a, value x, value temb, int channels)
 *     {
 *         value h = nn_group_norm(in(a, "norm1", "in_layers.0"), x, 32, 1e-5f);
 *         h = nn_conv2d(in(a, "conv1", "in_layers.2"), op_silu(a, h), channels, 3);
 *         ...
 *     }
 *
 * Errors are sticky: the first failure keeps its sentence and the path where it happened, later ops see the
 * value {0} and do nothing, and graph_finish() reports once. Model code has no error checks.
 *
 * Shapes: activations are [N,H,W,C] or [N,T,C]; weights keep the shapes of their files ([out,in,kh,kw],
 * [out,in]). */
#ifndef KILN_GRAPH_GRAPH_H
#define KILN_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/error.h"
#include "graph/attributes.h"
#include "tensor/tensor.h"

/* A value in a graph; {0} is "none" (an absent optional input, or the result of a failed op). */
typedef struct value {
    int32_t index;
} value;

enum { PATH_TEXT = 200, OP_MAX_INPUTS = 8 };

typedef struct graph graph;

/* Where we are in a model; passed by value, never freed. */
typedef struct at {
    graph *graph;
    char canonical[PATH_TEXT]; /* diffusers' / transformers' dialect */
    char original[PATH_TEXT];  /* the dialect of single-file checkpoints: CompVis LDM, OpenCLIP, SGM */
} at;

/* Decides policy (quantise weights not norms; no decay on biases), never the mathematics. */
typedef enum parameter_role { ROLE_WEIGHT, ROLE_BIAS, ROLE_NORM, ROLE_EMBEDDING } parameter_role;

/* A parameter as the model declared it. `original` carries the marks of graph_parameter(). */
typedef struct parameter {
    const char *canonical, *original;
    shape shape;
    parameter_role role;
    value value;
} parameter;

typedef struct node {
    op_kind op;
    shape shape;
    dtype type; /* DTYPE_F32, or DTYPE_I32 for token ids; the plan chooses the storage of activations */
    int input_count;
    value input[OP_MAX_INPUTS];
    op_attributes attributes;
    int parameter;    /* index of the parameter for OP_PARAMETER, else -1 */
    const char *path; /* canonical path of the place that drew it */
} node;

/* What has been taught to a model beside its weights hangs on its layers here; the model's own code stays as it is. Each
 * function draws nodes in the layer's place (`at`) and gives what the layer goes on with, or the value that it got. NULL: nothing. */
typedef struct graph_hooks {
    void *self;
    /* The weight (never the bias) of a linear layer, a convolution or an embedding: LoRA and its family. */
    value (*weight)(void *self, at, value weight);
    /* What a linear layer or a convolution gives, made of its input x and its untouched weight; `window` is the convolution's, NULL:
     * a linear layer. Branches beside a layer: LoRA while it learns. */
    value (*result)(void *self, at, value x, value weight, const conv2d_attributes *window, value result);
    /* What an attention layer of a denoiser makes its keys (or values) from, [N,T,C]: hypernetworks. `at` is the attention layer. */
    value (*context)(void *self, at, value context, bool for_values);
    /* The looked-up token embeddings [N,T,C] of a text encoder with their ids [N,T]: words that have vectors of their own. */
    value (*tokens)(void *self, at, value ids, value embeddings);
} graph_hooks;

/* A name given to a value: a graph input, an output, or a tap (an output that only tests and previews want). */
typedef struct named_value {
    const char *name;
    value value;
} named_value;

struct graph {
    arena arena;
    node *nodes; /* nodes[0] is unused */
    int node_count, node_capacity;
    parameter *parameters;
    int parameter_count, parameter_capacity;
    int *parameter_table; /* hash of canonical names; -1 = free */
    int parameter_table_size;
    named_value *inputs, *outputs, *taps;
    int input_count, output_count, tap_count;
    int *segments; /* the first node of each, ascending; see graph_segment() */
    int segment_count, segment_capacity;
    const graph_hooks *hooks; /* NULL: none; set before drawing, borrowed */
    kiln_error error;
};

/* NULL when memory is short. */
graph *graph_new(void);
void graph_free(graph *);
/* The sticky error, if any. */
kiln_status graph_finish(const graph *, kiln_error *err);

at graph_root(graph *);
/* Step into a child, named in each dialect. An empty segment means "no level here". Marks allowed at the end
 * of an `original` segment say how the tensor is stored there:
 *     *       put the leaf's name here instead of after a dot:  "in_proj_*" + weight -> in_proj_weight
 *     !       the tensor has no leaf at all:                    "positional_embedding!"
 *     [k/n]   this parameter is part k of n along axis 0
 *     ^T      stored transposed */
at in(at, const char *canonical, const char *original);
/* The same name in both dialects. */
at same(at, const char *name);
/* printf-style names in both dialects. */
at in_numbered(at, const char *canonical_format, int i, const char *original_format, int j);

/* Declare a parameter, or reuse the one of that name (tied weights; the shapes must agree). */
value graph_parameter(at, const char *leaf, shape, parameter_role);
/* Declare an input of the graph. F32 or I32. */
value graph_input(graph *, const char *name, shape, dtype);
void graph_output(graph *, const char *name, value);
/* Keep a value readable under its place's canonical path (or a given name) when a plan is asked to. */
value graph_tap(at, value);
value graph_tap_named(graph *, const char *name, value);

/* Nodes drawn from here to the next call are a segment: a part of the model, of a block's size, with few values that
 * enter and leave it. Says nothing to a plan; gradient checkpointing works by segments (ops/recompute.h). */
void graph_segment(at);

/* For the ops: append a node, or return {0} and keep the error. Inputs that are {0} must be optional ones. */
value graph_emit(at, op_kind, shape, dtype, int input_count, const value *inputs, const op_attributes *);
/* Append the same op once more, on other inputs of the same shapes; not for inputs and parameters. */
value graph_repeat(graph *, value, const value *inputs);
/* Record the first error with the path; always returns {0}. */
value graph_fail(at, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool graph_failed(at);

static inline const node *graph_node(const graph *g, value v)
{
    return &g->nodes[v.index];
}
static inline shape value_shape(at a, value v)
{
    return v.index ? a.graph->nodes[v.index].shape : (shape){0};
}
/* The last dimension (channels), 0 for {0}. */
static inline int64_t value_channels(at a, value v)
{
    shape s = value_shape(a, v);
    return s.rank ? s.dim[s.rank - 1] : 0;
}
static const value NO_VALUE = {0};

/* The parameter of that canonical name, or -1. */
int graph_find_parameter(const graph *, const char *canonical);
int64_t graph_parameter_elements(const graph *);

#endif
