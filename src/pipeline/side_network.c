/* side_network.c - see side_network.h. */
#include "pipeline/side_network.h"

kiln_status side_network_bind(network *n, graph *g, const weights_place *place, kiln_error *err)
{
    if (!g)
        return fail(err, KILN_NO_MEMORY, "out of memory for a graph");
    kiln_status status = graph_finish(g, err);
    if (status == KILN_OK)
        status = weights_bind(g, place, 1, &n->bound, err);
    if (status == KILN_OK && !(n->store = packed_store_new(weights_source(n->bound))))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the weights");
    graph_free(g);
    return status;
}

void side_network_fini(network *n)
{
    packed_store_free(n->store);
    weights_free(n->bound);
    *n = (network){0};
}

kiln_status side_plan_new(const network *n, const plan_options *options, graph *g, side_plan *p,
                          kiln_error *err)
{
    *p = (side_plan){.graph = g};
    kiln_status status = g ? graph_finish(g, err) : fail(err, KILN_NO_MEMORY, "out of memory for a graph");
    if (status == KILN_OK)
        status = plan_compile(g, options, n->store, &p->plan, err);
    if (status == KILN_OK)
        status = run_new(p->plan, &p->run, err);
    if (status != KILN_OK)
        side_plan_fini(p);
    return status;
}

void side_plan_fini(side_plan *p)
{
    run_free(p->run);
    plan_free(p->plan);
    graph_free(p->graph);
    *p = (side_plan){0};
}

kiln_status side_plan_measure(const plan_options *options, graph *g, int64_t *weights_bytes,
                              int64_t *activations, kiln_error *err)
{
    *weights_bytes = *activations = 0;
    network measured = {.store = packed_store_new((parameter_source){0})};
    side_plan p = {.graph = g};
    kiln_status status = measured.store && g ? graph_finish(g, err)
                                             : fail(err, KILN_NO_MEMORY, "out of memory while planning");
    if (status == KILN_OK)
        status = plan_compile(g, options, measured.store, &p.plan, err);
    if (status == KILN_OK) {
        *activations = (int64_t)plan_arena_bytes(p.plan);
        *weights_bytes = (int64_t)packed_store_bytes(measured.store);
    }
    side_plan_fini(&p);
    packed_store_free(measured.store);
    return status;
}
