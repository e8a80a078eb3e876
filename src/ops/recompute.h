/* recompute.h - gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): the reverse
 * pass reads copies of forward nodes, drawn where it needs them, so that the forward values themselves are free as soon
 * as the forward pass is done with them.
 *
 * The unit is the segment: the nodes between two calls of graph_segment(). Kept are
 *   - what leaves a segment (what a later one reads, and outputs),
 *   - results of attention: as small as a segment's input, and the dearest of all to compute again,
 *   - inputs, parameters, and everything before the first mark and after the last, where the reverse pass begins.
 * All else is drawn again when the reverse pass enters its segment; what no rule reads of it the plan drops. A copy is the
 * same op on the same values, so gradients are the same numbers, bit for bit. */
#ifndef KILN_OPS_RECOMPUTE_H
#define KILN_OPS_RECOMPUTE_H

#include "graph/graph.h"

typedef struct recompute {
    graph *graph;
    int count;    /* forward nodes: 0 .. count - 1 */
    int *segment; /* by node: number of its segment, 0: none to be drawn again */
    bool *kept;
    value *again;    /* by node: what to read in the reverse pass; {0}: not drawn yet */
    bool *drawn;     /* by segment */
    int drawn_count; /* segments drawn again */
} recompute;

/* KILN_NO_MEMORY. recompute_fini() in any case. */
kiln_status recompute_init(recompute *, graph *, int count, kiln_error *err);
void recompute_fini(recompute *);

/* The reverse pass comes to node i: its segment is drawn again, if it has not been. */
void recompute_enter(recompute *, int i);
/* What a rule reads instead of a forward value of the segment entered, or of a kept one. */
value recompute_read(const recompute *, value);

#endif
