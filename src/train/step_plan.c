/* step_plan.c - one step as a plan: the objective's loss and, for training, the gradients of every trainable parameter as
 * outputs of the same graph. Trainable parameters are live: kernels read them where the optimizer writes them. */
#include "train/training.h"

#include "ops/gradient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void plan_fini(step_plan *p)
{
    run_free(p->run);
    plan_free(p->plan);
    graph_free(p->graph);
    free(p->gradients);
    *p = (step_plan){0};
}

void step_plans_free(kiln_training *t)
{
    while (t->plan_count)
        plan_fini(&t->plans[--t->plan_count]);
}

static void make_room(kiln_training *t)
{
    int oldest = 0;
    if (t->plan_count < STEP_PLANS)
        return;
    for (int i = 1; i < t->plan_count; i++)
        if (t->plans[i].used < t->plans[oldest].used)
            oldest = i;
    plan_fini(&t->plans[oldest]);
    t->plans[oldest] = t->plans[--t->plan_count];
}

/* Which of the graph's parameters is trainable entry i: index in the graph, or -1 when the loss does not reach it. */
static kiln_status draw_gradients(const kiln_training *t, graph *g, value loss, kiln_error *err)
{
    int count = t->parameters->trainable;
    value *wanted = calloc(2 * (size_t)count, sizeof *wanted), *gradients = wanted + count;
    kiln_status status = wanted ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a step");
    for (int i = 0; i < count && !status; i++) {
        int index = graph_find_parameter(g, t->parameters->entries[i].name);
        if (index < 0)
            status = fail(err, KILN_INTERNAL, "the step's graph lacks the parameter '%s'",
                          t->parameters->entries[i].name);
        else
            wanted[i] = g->parameters[index].value;
    }
    if (!status)
        status = graph_gradient(g, loss, wanted, count, gradients, err);
    for (int i = 0; i < count && !status; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%d", i);
        graph_output(g, name, gradients[i]);
    }
    free(wanted);
    return status;
}

static kiln_status draw(const kiln_training *t, step_plan *p, kiln_error *err)
{
    p->graph = graph_new();
    if (!p->graph)
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    value loss = t->objective->kind->draw(t->objective, p->graph, &p->shape);
    kiln_status status = graph_finish(p->graph, err);
    if (status)
        return status;
    p->graph->output_count = 0; /* what models give besides is of no use here */
    graph_output(p->graph, "loss", loss);
    if (p->backward)
        status = draw_gradients(t, p->graph, loss, err);
    return status ? status : graph_finish(p->graph, err);
}

static kiln_status compile(kiln_training *t, step_plan *p, kiln_error *err)
{
    const graph *g = p->graph;
    bool *live = calloc((size_t)g->parameter_count + 1, sizeof *live);
    plan_options options = t->model->plan;
    options.fuse = false;
    options.live = live;
    if (!live)
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter_entry *e = parameters_find(t->parameters, g->parameters[i].canonical);
        live[i] = e && e->offset < t->parameters->trainable_size;
    }
    kiln_status status = plan_compile(g, &options, t->frozen, &p->plan, err);
    if (!status)
        status = run_new(p->plan, &p->run, err);
    for (int i = 0; i < g->parameter_count && !status; i++)
        if (live[i])
            run_parameter(p->run, i,
                          t->parameters->values +
                              parameters_find(t->parameters, g->parameters[i].canonical)->offset);
    free(live);
    return status;
}

static kiln_status find_outputs(const kiln_training *t, step_plan *p, kiln_error *err)
{
    int count = t->parameters->trainable;
    p->loss = run_output(p->run, "loss");
    if (!p->backward)
        return KILN_OK;
    p->gradients = calloc((size_t)count, sizeof *p->gradients);
    if (!p->gradients)
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%d", i);
        p->gradients[i] = run_output(p->run, name);
    }
    return KILN_OK;
}

kiln_status step_plan_get(kiln_training *t, const objective_shape *size, bool backward, step_plan **out,
                          kiln_error *err)
{
    *out = NULL;
    for (int i = 0; i < t->plan_count; i++) {
        step_plan *p = &t->plans[i];
        if (p->backward == backward && memcmp(&p->shape, size, sizeof *size) == 0) {
            p->used = ++t->clock;
            *out = p;
            return KILN_OK;
        }
    }
    make_room(t);
    step_plan made = {.shape = *size, .backward = backward, .used = ++t->clock};
    kiln_status status = draw(t, &made, err);
    if (!status)
        status = compile(t, &made, err);
    if (!status)
        status = find_outputs(t, &made, err);
    if (status) {
        plan_fini(&made);
        return status;
    }
    t->plans[t->plan_count] = made;
    *out = &t->plans[t->plan_count++];
    return KILN_OK;
}
