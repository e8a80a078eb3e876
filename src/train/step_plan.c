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
    run_memory_free(t->memory);
    t->memory = NULL;
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
static kiln_status draw_gradients(const kiln_training *t, step_plan *p, value loss, kiln_error *err)
{
    graph *g = p->graph;
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
        status = p->checkpointing
                     ? graph_gradient_by_segment(g, loss, wanted, count, gradients, &p->segments, err)
                     : graph_gradient(g, loss, wanted, count, gradients, err);
    for (int i = 0; i < count && !status; i++) {
        char name[32];
        /* Zeros: the loss does not depend on it (layers behind clip_skip). It stays as it is. */
        if (graph_node(g, gradients[i])->op == OP_FILL)
            continue;
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
    if (!t->base_alone)
        p->graph->hooks = teach_hooks(t->teach, &(teach_graph){.whole = true, .training = p->backward});
    value loss = t->objective->kind->draw(t->objective, p->graph, &p->shape);
    kiln_status status = graph_finish(p->graph, err);
    if (status)
        return status;
    value picture = p->backward ? NO_VALUE : graph_take_output(p->graph, "reconstruction");
    p->graph->output_count = 0; /* what models give besides is of no use here */
    graph_output(p->graph, "loss", loss);
    if (picture.index)
        graph_output(p->graph, "reconstruction", picture);
    if (p->backward)
        status = draw_gradients(t, p, loss, err);
    return status ? status : graph_finish(p->graph, err);
}

static kiln_status compile(kiln_training *t, step_plan *p, kiln_error *err)
{
    const graph *g = p->graph;
    bool *live = calloc((size_t)g->parameter_count + 1, sizeof *live);
    plan_options options = t->model->plan;
    options.fuse = false;
    options.fuse_norms = true;
    options.live = live;
    if (!live)
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter_entry *e = parameters_find(t->parameters, g->parameters[i].canonical);
        live[i] = e && e->offset < t->parameters->trainable_size;
    }
    kiln_status status = plan_compile(g, &options, t->frozen, &p->plan, err);
    free(live);
    return status;
}

static kiln_status open_run(kiln_training *t, step_plan *p, kiln_error *err)
{
    if (!t->memory && !(t->memory = run_memory_new()))
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    kiln_status status = run_new_within(p->plan, t->memory, &p->run, err);
    for (int i = 0; i < p->graph->parameter_count && !status; i++) {
        const parameter_entry *e = parameters_find(t->parameters, p->graph->parameters[i].canonical);
        if (e && e->offset < t->parameters->trainable_size)
            run_parameter(p->run, i, t->parameters->values + e->offset);
    }
    return status;
}

/* "1.93 GB" or "47.1 MB" */
static const char *size_text(size_t bytes, char text[16])
{
    double n = (double)bytes;
    snprintf(text, 16, n < 1e9 ? "%.1f MB" : "%.2f GB", n < 1e9 ? n / 1e6 : n / 1e9);
    return text;
}

/* What gradient checkpointing costs and saves, by planning the same step without it. */
static void tell_savings(kiln_training *t, const step_plan *p)
{
    step_plan plain = {.shape = p->shape, .backward = true};
    char text[4][16];
    kiln_error err;
    if (t->progress && draw(t, &plain, &err) == KILN_OK && compile(t, &plain, &err) == KILN_OK)
        training_tell(
            t, KILN_TRAINING_INFORMATION,
            "gradient checkpointing: %d segments, %+.0f%% operations, activations %s instead of %s; "
            "with gradients %s instead of %s",
            p->segments, 100 * (plan_flops(p->plan) / plan_flops(plain.plan) - 1),
            size_text(plan_passing_bytes(p->plan), text[0]),
            size_text(plan_passing_bytes(plain.plan), text[1]), size_text(plan_arena_bytes(p->plan), text[2]),
            size_text(plan_arena_bytes(plain.plan), text[3]));
    plan_fini(&plain);
}

static kiln_status find_outputs(const kiln_training *t, step_plan *p, kiln_error *err)
{
    int count = t->parameters->trainable;
    p->loss = run_output(p->run, "loss");
    p->generation = run_memory_generation(t->memory);
    if (!p->backward)
        return KILN_OK;
    if (!p->gradients)
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
            return p->generation == run_memory_generation(t->memory) ? KILN_OK : find_outputs(t, p, err);
        }
    }
    make_room(t);
    step_plan made = {.shape = *size,
                      .backward = backward,
                      .checkpointing = backward && t->recipe.gradient_checkpointing,
                      .used = ++t->clock};
    kiln_status status = draw(t, &made, err);
    if (!status)
        status = compile(t, &made, err);
    if (!status)
        status = open_run(t, &made, err);
    if (!status)
        status = find_outputs(t, &made, err);
    if (status) {
        plan_fini(&made);
        return status;
    }
    if (made.checkpointing && !t->told_savings)
        tell_savings(t, &made);
    t->told_savings |= made.checkpointing;
    t->plans[t->plan_count] = made;
    *out = &t->plans[t->plan_count++];
    return KILN_OK;
}
