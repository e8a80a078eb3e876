/* gradient.c - see gradient.h.
 *
 * Forward once over the nodes: which ones depend on a wanted value? Then backward from the loss: a node whose gradient
 * is known and that somebody wants asks its op's rule for the gradients of its inputs. Nodes only read nodes before
 * them, so that when the walk reaches a node all its users have added their share. */
#include "ops/gradient.h"

#include "ops/op.h"
#include "ops/recompute.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct reverse_pass {
    graph *graph;
    int count;        /* nodes up to and including the loss */
    bool *needed;     /* this node depends on a wanted value, or is one */
    value *gradient;  /* so far, by node */
    recompute *again; /* NULL: rules read the forward nodes themselves */
} reverse_pass;

/* Gradient nodes live at the place of the node that they differentiate. */
static at place_of(graph *g, const node *n)
{
    at a = graph_root(g);
    snprintf(a.canonical, sizeof a.canonical, "%s", n->path);
    return a;
}

static void mark_needed(reverse_pass *r, const value *wanted, int count)
{
    for (int i = 0; i < count; i++)
        if (wanted[i].index < r->count)
            r->needed[wanted[i].index] = true;
    for (int i = 1; i < r->count; i++) {
        const node *n = &r->graph->nodes[i];
        for (int k = 0; k < n->input_count && n->type == DTYPE_F32 && n->op != OP_DETACH; k++)
            r->needed[i] |= n->input[k].index && r->needed[n->input[k].index];
    }
}

static void add_share(reverse_pass *r, at a, value to, value share)
{
    shape s = r->graph->nodes[to.index].shape;
    if (share.index && !shape_equal(value_shape(a, share), s))
        share = op_reshape(a, share, s);
    value *sum = &r->gradient[to.index];
    *sum = sum->index && share.index ? op_add(a, *sum, share) : share;
}

static void differentiate(reverse_pass *r, int i)
{
    const node n = r->graph->nodes[i]; /* a copy: emitting moves the nodes */
    node read = n;                     /* with the inputs that the rule reads */
    value self = {i};
    at a = place_of(r->graph, &n);
    const op_row *row = op_find(n.op);
    bool wanted[OP_MAX_INPUTS] = {false}, any = false;
    value dx[OP_MAX_INPUTS] = {NO_VALUE};
    for (int k = 0; k < n.input_count; k++)
        any |= wanted[k] = n.input[k].index && r->needed[n.input[k].index];
    if (!any)
        return;
    if (!row->gradient) {
        graph_fail(a, "%s has no gradient: %s", row->name, row->no_gradient);
        return;
    }
    if (r->again) {
        recompute_enter(r->again, i);
        for (int k = 0; k < n.input_count; k++)
            read.input[k] = recompute_read(r->again, n.input[k]);
        self = recompute_read(r->again, self);
    }
    row->gradient(a, &read, self, r->gradient[i], wanted, dx);
    for (int k = 0; k < n.input_count && !graph_failed(a); k++)
        if (wanted[k] && dx[k].index)
            add_share(r, a, n.input[k], dx[k]);
        else if (wanted[k])
            graph_fail(a, "%s has no gradient for its input %d", row->name, k);
}

static kiln_status check(const graph *g, value loss, const value *wanted, int count, kiln_error *err)
{
    for (int i = -1; i < count; i++) {
        value v = i < 0 ? loss : wanted[i];
        if (v.index < 1 || v.index >= g->node_count)
            return fail(err, KILN_BAD_ARGUMENT, "gradient: %s is no value of this graph",
                        i < 0 ? "the loss" : "a wanted value");
        if (g->nodes[v.index].type != DTYPE_F32)
            return fail(err, KILN_BAD_ARGUMENT, "gradient: '%s' holds integers", g->nodes[v.index].path);
    }
    return KILN_OK;
}

static void reverse(reverse_pass *r, value loss)
{
    at a = place_of(r->graph, &r->graph->nodes[loss.index]);
    if (r->needed[loss.index])
        r->gradient[loss.index] = op_fill(a, value_shape(a, loss), 1);
    for (int i = loss.index; i > 0 && !graph_failed(a); i--)
        if (r->needed[i] && r->gradient[i].index)
            differentiate(r, i);
}

/* The pass itself; `again` may be NULL. */
static kiln_status run_pass(graph *g, value loss, const value *wanted, int count, recompute *again,
                            value *gradients, kiln_error *err)
{
    reverse_pass r = {.graph = g, .count = loss.index + 1, .again = again};
    kiln_status status = KILN_OK;
    r.needed = calloc((size_t)r.count, sizeof *r.needed);
    r.gradient = calloc((size_t)r.count, sizeof *r.gradient);
    if (!r.needed || !r.gradient)
        status = fail(err, KILN_NO_MEMORY, "out of memory while differentiating");
    else {
        mark_needed(&r, wanted, count);
        reverse(&r, loss);
        for (int i = 0; i < count && g->error.status == KILN_OK; i++) {
            at a = place_of(g, &g->nodes[wanted[i].index]);
            value v = wanted[i].index < r.count ? r.gradient[wanted[i].index] : NO_VALUE;
            gradients[i] = v.index ? v : op_fill(a, value_shape(a, wanted[i]), 0);
        }
        status = graph_finish(g, err);
    }
    for (int i = 0; i < count && status != KILN_OK; i++)
        gradients[i] = NO_VALUE;
    free(r.needed);
    free(r.gradient);
    return status;
}

/* Whether all is as it should be; gradients of what fails are none. */
static kiln_status begin(const graph *g, value loss, const value *wanted, int count, value *gradients,
                         kiln_error *err)
{
    for (int i = 0; i < count; i++)
        gradients[i] = NO_VALUE;
    kiln_status status = graph_finish(g, err);
    return status ? status : check(g, loss, wanted, count, err);
}

kiln_status graph_gradient(graph *g, value loss, const value *wanted, int count, value *gradients,
                           kiln_error *err)
{
    kiln_status status = begin(g, loss, wanted, count, gradients, err);
    return status ? status : run_pass(g, loss, wanted, count, NULL, gradients, err);
}

kiln_status graph_gradient_by_segment(graph *g, value loss, const value *wanted, int count, value *gradients,
                                      int *segments, kiln_error *err)
{
    kiln_status status = begin(g, loss, wanted, count, gradients, err);
    recompute again = {.graph = NULL};
    if (!status)
        status = recompute_init(&again, g, loss.index + 1, err);
    if (!status)
        status = run_pass(g, loss, wanted, count, &again, gradients, err);
    if (segments)
        *segments = again.drawn_count;
    recompute_fini(&again);
    return status;
}
