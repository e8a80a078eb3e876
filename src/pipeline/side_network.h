/* side_network.h - a network beside the model's own: a vision encoder, a ControlNet, an IP-Adapter. Internal.
 *
 * Its parameters come from a file of its own. A plan is compiled where it is needed and lives as long as that work. */
#ifndef KILN_PIPELINE_SIDE_NETWORK_H
#define KILN_PIPELINE_SIDE_NETWORK_H

#include "pipeline/model.h"

/* Bind the parameters of a graph, which is taken over (freed), and prepare their store. */
kiln_status side_network_bind(network *, graph *, const weights_place *, kiln_error *);
void side_network_fini(network *);

/* A network at one size, ready to run. Starts as {0}. */
typedef struct side_plan {
    graph *graph;
    plan *plan;
    run *run;
} side_plan;

/* Compile a graph, which is taken over. Weights are read now. */
kiln_status side_plan_new(const network *, const plan_options *, graph *, side_plan *, kiln_error *);
void side_plan_fini(side_plan *);
/* Bytes that it would take, weights and activations, without reading any. The graph is taken over. */
kiln_status side_plan_measure(const plan_options *, graph *, int64_t *weights_bytes, int64_t *activations,
                              kiln_error *);

#endif
