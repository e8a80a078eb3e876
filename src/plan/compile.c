/* compile.c - from a graph to steps: fuse, drop what nobody needs, choose storage types, prepare kernels, lay out memory.
 *
 * Storage: with compute BF16 every activation is kept as bf16, except the graph's inputs and outputs, which are f32
 * (a cast is inserted where an op cannot read or write f32 itself), and so is what only moves and adds numbers on the way
 * from the last products to an output. Ids are I32 throughout. */
#include "plan/internal.h"

#include "ops/table.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ the working graph */

/* Copy the nodes, with room for a cast after every input and before every output. */
static kiln_status copy_graph(plan *p, const graph *g, kiln_error *err)
{
    p->work = *g;
    p->work.node_capacity = g->node_count + g->input_count + g->output_count + g->tap_count + 8;
    p->work.nodes = malloc((size_t)p->work.node_capacity * sizeof(node));
    p->outputs = calloc((size_t)g->output_count + (size_t)g->tap_count + 1, sizeof *p->outputs);
    if (!p->work.nodes || !p->outputs)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    memcpy(p->work.nodes, g->nodes, (size_t)g->node_count * sizeof(node));
    for (int i = 0; i < g->output_count; i++)
        p->outputs[p->output_count++] = g->outputs[i];
    for (int i = 0; p->options.taps && i < g->tap_count; i++)
        p->outputs[p->output_count++] = g->taps[i];
    return KILN_OK;
}

static kiln_status fuse(plan *p, kiln_error *err)
{
    if (!p->options.fuse && !p->options.fuse_norms)
        return KILN_OK;
    bool *pinned = calloc((size_t)p->work.node_count, sizeof *pinned);
    if (!pinned)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    for (int i = 0; i < p->output_count; i++)
        pinned[p->outputs[i].value.index] = true;
    if (p->options.fuse)
        plan_fuse(p->work.nodes, p->work.node_count, pinned);
    if (p->options.fuse_norms)
        plan_fuse_norms(p->work.nodes, p->work.node_count, pinned);
    free(pinned);
    return KILN_OK;
}

static void mark_live(const plan *p, bool *live)
{
    for (int i = 0; i < p->output_count; i++)
        live[p->outputs[i].value.index] = true;
    for (int i = p->work.node_count - 1; i > 0; i--)
        if (live[i])
            for (int k = 0; k < p->work.nodes[i].input_count; k++)
                live[p->work.nodes[i].input[k].index] = true;
    live[0] = false;
}

/* ------------------------------------------------------------------------------------ storage types */

typedef struct rewriting {
    plan *plan;
    node *nodes; /* the new list */
    int count;
    int *moved; /* new index by old index */
    int *wide;  /* of an input: its new index before it is narrowed */
    int *users;
    bool *ending; /* see mark_ending() */
} rewriting;

static int append(rewriting *r, const node *n, dtype type)
{
    r->nodes[r->count] = *n;
    r->plan->types[r->count] = type;
    return r->count++;
}

static int append_cast(rewriting *r, int from, dtype type)
{
    node n = {.op = OP_CAST,
              .shape = r->nodes[from].shape,
              .type = DTYPE_F32,
              .input_count = 1,
              .parameter = -1,
              .path = r->nodes[from].path};
    n.input[0].index = from;
    return append(r, &n, type);
}

/* Sums over a whole batch: losses and the gradients of parameters. Rounding those to bf16 would throw away what
 * summing in f32 has kept. */
static bool is_long_sum(op_kind op)
{
    switch (op) {
    case OP_MEAN:
    case OP_MEAN_SQUARED_ERROR:
    case OP_SUM_ROWS:
    case OP_CONV2D_BACKWARD_WEIGHTS:
    case OP_LINEAR_BACKWARD_WEIGHTS:
    case OP_GROUP_NORM_STATISTICS:
    case OP_GROUP_NORM_BACKWARD_SUMS:
    case OP_GROUP_NORM_BACKWARD_SHARE:
    case OP_LAYER_NORM_BACKWARD_WEIGHT:
    case OP_PRELU_BACKWARD_SLOPE:
    case OP_EMBEDDING_BACKWARD:
        return true;
    default:
        return false;
    }
}

/* Ops that do not calculate much: shuffled pixels, a picture that is added. */
static bool moves_numbers(op_kind op)
{
    switch (op) {
    case OP_RESHAPE:
    case OP_PERMUTE:
    case OP_UPSAMPLE:
    case OP_SLICE:
    case OP_CONCAT:
    case OP_ADD:
    case OP_SCALE:
        return true;
    default:
        return false;
    }
}

/* Nodes whose results only move on to an output: of an image they are a handful of channels, and rounding those to bf16
 * would be the largest error of all. A residual that was fused into a convolution ends this: it would have to be f32. */
static kiln_status mark_ending(rewriting *r, kiln_error *err)
{
    const plan *p = r->plan;
    int *on = calloc((size_t)p->work.node_count, sizeof *on); /* users that are such nodes */
    if (!on)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    for (int i = p->work.node_count - 1; i > 0; i--) {
        const node *n = &p->work.nodes[i];
        bool product = n->op == OP_CONV2D && (n->input_count < 4 || !r->users[i]);
        bool is_output = false;
        for (int k = 0; k < p->output_count; k++)
            is_output |= p->outputs[k].value.index == i;
        r->ending[i] = (product || moves_numbers(n->op)) && on[i] == r->users[i] && (is_output || on[i]);
        for (int k = 0; k < n->input_count && r->ending[i] && moves_numbers(n->op); k++)
            on[n->input[k].index]++;
    }
    free(on);
    return KILN_OK;
}

/* Does this op write f32 although the plan stores bf16? Long sums do, and what is one number or one a sample (losses and
 * their weights), and so does the end of a network. */
static bool writes_f32(const rewriting *r, int old)
{
    const plan *p = r->plan;
    return is_long_sum(p->work.nodes[old].op) || p->work.nodes[old].shape.rank <= 1 || r->ending[old];
}

static void move_node(rewriting *r, int old)
{
    plan *p = r->plan;
    node n = p->work.nodes[old];
    for (int k = 0; k < n.input_count; k++)
        if (n.input[k].index) {
            int from = n.input[k].index;
            n.input[k].index = r->ending[old] && r->wide[from] ? r->wide[from] : r->moved[from];
        }
    bool plain = n.op == OP_PARAMETER || n.type != DTYPE_F32 || p->options.compute == DTYPE_F32;
    if (plain)
        r->moved[old] = append(r, &n, n.type);
    else if (n.op == OP_INPUT) {
        int input = append(r, &n, DTYPE_F32);
        bool for_time = false, for_other = false;
        for (int i = 1; i < p->work.node_count; i++)
            for (int k = 0; k < p->work.nodes[i].input_count; k++)
                if (p->work.nodes[i].input[k].index == old)
                    *(p->work.nodes[i].op == OP_TIMESTEP_EMBEDDING ? &for_time : &for_other) = true;
        bool narrow = for_other && !for_time && n.shape.rank > 1;
        r->moved[old] = narrow ? append_cast(r, input, DTYPE_BF16) : input;
        r->wide[old] = input;
    } else if (n.op == OP_RESHAPE)
        r->moved[old] = append(r, &n, p->types[n.input[0].index]); /* the same bytes */
    else
        r->moved[old] = append(r, &n, writes_f32(r, old) ? DTYPE_F32 : DTYPE_BF16);
}

static void output_types(rewriting *r)
{
    plan *p = r->plan;
    for (int i = 0; i < p->output_count; i++) {
        int v = r->moved[p->outputs[i].value.index];
        p->outputs[i].value.index = p->types[v] == DTYPE_BF16 ? append_cast(r, v, DTYPE_F32) : v;
    }
}

/* Build the final node list: live nodes only, in order, with casts. */
static kiln_status rewrite(plan *p, kiln_error *err)
{
    int n = p->work.node_count;
    rewriting r = {.plan = p, .count = 1};
    bool *live = calloc((size_t)n, sizeof *live);
    r.nodes = calloc((size_t)p->work.node_capacity, sizeof *r.nodes);
    r.moved = calloc((size_t)n, sizeof *r.moved);
    r.users = calloc((size_t)n, sizeof *r.users);
    r.wide = calloc((size_t)n, sizeof *r.wide);
    r.ending = calloc((size_t)n, sizeof *r.ending);
    p->types = calloc((size_t)p->work.node_capacity, sizeof *p->types);
    p->buffer_of = malloc((size_t)p->work.node_capacity * sizeof *p->buffer_of);
    p->offset_of = calloc((size_t)p->work.node_capacity, sizeof *p->offset_of);
    kiln_status status = KILN_OK;
    if (!live || !r.nodes || !r.moved || !r.wide || !r.users || !r.ending || !p->types || !p->buffer_of ||
        !p->offset_of)
        status = fail(err, KILN_NO_MEMORY, "out of memory while planning");
    else {
        mark_live(p, live);
        for (int i = 1; i < n; i++)
            for (int k = 0; live[i] && k < p->work.nodes[i].input_count; k++)
                r.users[p->work.nodes[i].input[k].index]++;
        if (p->options.compute != DTYPE_F32)
            status = mark_ending(&r, err);
        r.nodes[0] = p->work.nodes[0];
        for (int i = 1; i < n; i++)
            if (live[i] || p->work.nodes[i].op == OP_INPUT)
                move_node(&r, i);
        output_types(&r);
        free(p->work.nodes);
        p->work.nodes = r.nodes;
        p->work.node_count = r.count;
        r.nodes = NULL;
    }
    free(live);
    free(r.nodes);
    free(r.moved);
    free(r.wide);
    free(r.users);
    free(r.ending);
    return status;
}

/* ------------------------------------------------------------------------------------ steps */

static kiln_status take_plain(plan *p, step *s, int k, int index, kiln_error *err)
{
    size_t bytes = (size_t)shape_count(p->work.parameters[index].shape) * sizeof(float);
    return packed_take(p->packed, &p->work, index, NULL, 0, bytes, NULL, NULL, &s->taken[k], &s->parameter[k],
                       err);
}

/* The parameter that a value is, perhaps under another shape; -1: none. */
static int parameter_behind(const plan *p, value v)
{
    while (p->work.nodes[v.index].op == OP_RESHAPE)
        v = p->work.nodes[v.index].input[0];
    return p->work.nodes[v.index].parameter;
}

static kiln_status prepare_step(plan *p, int i, kiln_error *err)
{
    const node *n = &p->work.nodes[i];
    kernel_request r = {.graph = &p->work,
                        .node = n,
                        .output_type = p->types[i],
                        .compute = p->options.compute,
                        .threads = p->options.threads,
                        .packed = p->packed};
    for (int k = 0; k < OP_MAX_INPUTS; k++)
        r.parameter[k] = -1;
    for (int k = 0; k < n->input_count; k++) {
        r.input_shape[k] = p->work.nodes[n->input[k].index].shape;
        r.input_type[k] = p->types[n->input[k].index];
        r.parameter[k] = parameter_behind(p, n->input[k]);
        if (!n->input[k].index)
            r.input_shape[k] = (shape){0};
    }
    step *s = &p->steps[p->step_count];
    int live[OP_MAX_INPUTS] = {0};
    for (int k = 0; k < n->input_count; k++)
        if (r.parameter[k] >= 0 && p->options.live && p->options.live[r.parameter[k]]) {
            live[k] = r.parameter[k] + 1;
            r.parameter[k] = -1;
        }
    *s = (step){.node = i,
                .scratch = -1,
                .note = -1,
                .flops = op_flops(&p->work, n),
                .bytes = op_bytes(&p->work, n, dtype_size(p->types[i]))};
    s->kernel.in_place = -1;
    memcpy(s->live, live, sizeof live);
    kiln_status status = p->options.backend->prepare(&r, &s->kernel, err);
    if (status == KILN_OK && !s->kernel.run)
        status = backend_reference.prepare(&r, &s->kernel, err);
    p->step_count++; /* counted even on failure, so that plan_free releases what was taken */
    for (int k = 0; status == KILN_OK && k < n->input_count; k++)
        if (r.parameter[k] >= 0 && !(s->kernel.packed >> k & 1))
            status = take_plain(p, s, k, r.parameter[k], err);
    p->flops += s->flops;
    return status;
}

/* Elements of the parameters that step `s` is the first to use. */
static int64_t new_weights(const plan *p, const step *s, bool *seen)
{
    const node *n = &p->work.nodes[s->node];
    int64_t elements = 0;
    for (int k = 0; k < n->input_count; k++) {
        int index = n->input[k].index ? parameter_behind(p, n->input[k]) : -1;
        if (index < 0 || s->live[k] || seen[index])
            continue;
        seen[index] = true;
        elements += shape_count(p->work.parameters[index].shape);
    }
    return elements;
}

static int64_t all_weights(const plan *p)
{
    int64_t elements = 0;
    for (int i = 0; i < p->work.parameter_count; i++)
        if (!p->options.live || !p->options.live[i])
            elements += shape_count(p->work.parameters[i].shape);
    return elements;
}

static kiln_status tell_loading(const plan *p, int64_t done, int64_t total, kiln_error *err)
{
    if (!p->options.loading || p->options.loading(p->options.loading_self, done, total))
        return KILN_OK;
    return fail(err, KILN_CANCELLED, "cancelled");
}

static kiln_status prepare_steps(plan *p, kiln_error *err)
{
    p->steps = calloc((size_t)p->work.node_count, sizeof *p->steps);
    bool *seen = calloc((size_t)p->work.parameter_count + 1, sizeof *seen);
    if (!p->steps || !seen) {
        free(seen);
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    }
    int64_t done = 0, total = all_weights(p);
    kiln_status status = tell_loading(p, 0, total, err);
    for (int i = 1; status == KILN_OK && i < p->work.node_count; i++) {
        op_kind op = p->work.nodes[i].op;
        if (op == OP_INPUT || op == OP_PARAMETER || plan_is_view(p, i))
            continue;
        status = prepare_step(p, i, err);
        if (status != KILN_OK)
            break;
        done += new_weights(p, &p->steps[p->step_count - 1], seen);
        status = tell_loading(p, done, total, err);
    }
    /* Weights that nothing reads are as good as loaded. */
    if (status == KILN_OK && done < total)
        status = tell_loading(p, total, total, err);
    free(seen);
    return status;
}

kiln_status plan_compile(const graph *g, const plan_options *options, packed_store *store, plan **out,
                         kiln_error *err)
{
    *out = NULL;
    kiln_status status = graph_finish(g, err);
    if (status != KILN_OK)
        return status;
    if (g->output_count == 0)
        return fail(err, KILN_INTERNAL, "the graph has no output");
    plan *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    p->options = *options;
    p->packed = store;
    /* Kernels are made for a number of threads, which oneDNN reads from OpenMP's setting of this thread. */
    int threads_before = omp_get_max_threads();
    omp_set_num_threads(options->threads);
    status = copy_graph(p, g, err);
    if (status == KILN_OK)
        status = fuse(p, err);
    if (status == KILN_OK)
        status = rewrite(p, err);
    if (status == KILN_OK)
        status = prepare_steps(p, err);
    if (status == KILN_OK)
        status = plan_lay_out(p, err);
    if (store)
        packed_store_trim(store);
    omp_set_num_threads(threads_before);
    p->options.live = NULL;
    p->options.loading = NULL;
    p->options.loading_self = NULL;
    if (status != KILN_OK) {
        plan_free(p);
        return status;
    }
    *out = p;
    return KILN_OK;
}

void plan_free(plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->step_count; i++) {
        if (p->steps[i].kernel.release)
            p->steps[i].kernel.release(&p->steps[i].kernel);
        for (int k = 0; k < OP_MAX_INPUTS; k++)
            packed_release(p->packed, p->steps[i].taken[k]);
    }
    free(p->work.nodes);
    free(p->types);
    free(p->buffer_of);
    free(p->offset_of);
    free(p->steps);
    free(p->buffers);
    free(p->outputs);
    free(p);
}

size_t plan_arena_bytes(const plan *p)
{
    return p->arena_bytes;
}

size_t plan_passing_bytes(const plan *p)
{
    return p->passing_bytes;
}

double plan_flops(const plan *p)
{
    return p->flops;
}

int plan_step_count(const plan *p)
{
    return p->step_count;
}
