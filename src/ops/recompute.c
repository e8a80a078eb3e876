/* recompute.c - see recompute.h. */
#include "ops/recompute.h"

#include <stdlib.h>

/* Number the segments from 1. The last one is left out: the reverse pass begins with it, so its values would be drawn
 * again at the moment at which they are dropped. */
static void number_segments(recompute *r)
{
    const graph *g = r->graph;
    for (int s = 0; s + 1 < g->segment_count; s++)
        for (int i = g->segments[s]; i < g->segments[s + 1] && i < r->count; i++)
            if (g->segments[s + 1] < r->count)
                r->segment[i] = s + 1;
}

/* A value that is read outside its segment stays in memory anyway, and so do the bytes behind a view of it. */
static void mark_kept(recompute *r)
{
    const node *nodes = r->graph->nodes;
    for (int i = 0; i < r->graph->output_count; i++)
        if (r->graph->outputs[i].value.index < r->count)
            r->kept[r->graph->outputs[i].value.index] = true;
    for (int i = r->count - 1; i > 0; i--) {
        const node *n = &nodes[i];
        r->kept[i] |=
            r->segment[i] == 0 || n->op == OP_PARAMETER || n->op == OP_INPUT || n->op == OP_ATTENTION;
        for (int k = 0; k < n->input_count; k++) {
            int from = n->input[k].index;
            if (r->segment[from] != r->segment[i] || (n->op == OP_RESHAPE && r->kept[i]))
                r->kept[from] = true;
        }
    }
    for (int i = 1; i < r->count; i++)
        r->kept[i] |= nodes[i].op == OP_RESHAPE && r->kept[nodes[i].input[0].index];
}

kiln_status recompute_init(recompute *r, graph *g, int count, kiln_error *err)
{
    *r = (recompute){.graph = g, .count = count};
    r->segment = calloc((size_t)count, sizeof *r->segment);
    r->kept = calloc((size_t)count, sizeof *r->kept);
    r->again = calloc((size_t)count, sizeof *r->again);
    r->drawn = calloc((size_t)g->segment_count + 1, sizeof *r->drawn);
    if (!r->segment || !r->kept || !r->again || !r->drawn)
        return fail(err, KILN_NO_MEMORY, "out of memory while differentiating");
    number_segments(r);
    mark_kept(r);
    for (int i = 1; i < count; i++)
        if (r->kept[i])
            r->again[i] = (value){i};
    return KILN_OK;
}

void recompute_fini(recompute *r)
{
    free(r->segment);
    free(r->kept);
    free(r->again);
    free(r->drawn);
    *r = (recompute){.graph = NULL};
}

static void draw_again(recompute *r, int i)
{
    value inputs[OP_MAX_INPUTS] = {NO_VALUE};
    const node n = r->graph->nodes[i]; /* a copy: repeating moves the nodes */
    for (int k = 0; k < n.input_count; k++)
        inputs[k] = recompute_read(r, n.input[k]);
    r->again[i] = graph_repeat(r->graph, (value){i}, inputs);
}

void recompute_enter(recompute *r, int i)
{
    int segment = r->segment[i];
    if (!segment || r->drawn[segment])
        return;
    r->drawn[segment] = true;
    r->drawn_count++;
    const graph *g = r->graph;
    for (int k = g->segments[segment - 1]; k < g->segments[segment]; k++)
        if (!r->kept[k])
            draw_again(r, k);
}

value recompute_read(const recompute *r, value v)
{
    return v.index < r->count ? r->again[v.index] : v;
}
