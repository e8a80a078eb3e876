/* gradient.h - reverse-mode differentiation (Linnainmaa 1970): a pass over a drawn graph that appends to it the nodes
 * of the gradients.
 *
 * The result is an ordinary graph: plans, backends and memory layout treat both halves alike. Every op states its rule
 * on its own page and names it in ops/table.c, or says there why it has none. */
#ifndef KILN_OPS_GRADIENT_H
#define KILN_OPS_GRADIENT_H

#include "graph/graph.h"

/* gradients[i] becomes the value of d loss / d wanted[i], in the shape of wanted[i].
 *
 *   loss      F32, usually [1]; of a larger value, the sum of its elements is what is differentiated
 *   wanted    any F32 values of the graph: parameters, inputs, values between; also the same one twice
 *   count     number of wanted values, >= 0
 *
 * Nodes are appended only on the ways from wanted values to the loss: what is frozen costs nothing. A wanted value
 * that does not influence the loss gets zeros. Parameters used in several places get the sum. The graph must not have
 * been fused (plans fuse their own copy).
 *
 * KILN_BAD_ARGUMENT for a value that is none, or holds integers. KILN_MISMATCH, with the place, where the way leads
 * through an op without a rule. On failure every gradient is {0}; the graph keeps the error, as after any failed op. */
kiln_status graph_gradient(graph *g, value loss, const value *wanted, int count, value *gradients,
                           kiln_error *err);

/* The same, by gradient checkpointing: the reverse pass computes again what lies inside the graph's segments, see
 * ops/recompute.h. The gradients are the same numbers, a run of the plan needs less memory and more operations.
 * *segments (may be NULL) becomes the number of segments that are computed again. */
kiln_status graph_gradient_by_segment(graph *g, value loss, const value *wanted, int count, value *gradients,
                                      int *segments, kiln_error *err);

#endif
