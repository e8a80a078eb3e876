/* run.c - executing a plan: one arena per run, or one in which runs take turns; no allocation after run_new. */
#define _POSIX_C_SOURCE 200809L
#include "plan/internal.h"

#include "base/pages.h"
#include "ops/table.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run_memory {
    unsigned char *arena;
    size_t bytes;
    int generation;
};

struct run {
    const plan *plan;
    run_memory own, *memory; /* memory: own, or one that others work in, too */
    const float **live;      /* by parameter */
};

run_memory *run_memory_new(void)
{
    return calloc(1, sizeof(run_memory));
}

static void memory_fini(run_memory *m)
{
    pages_free(m->arena, m->bytes);
    m->arena = NULL;
    m->bytes = 0;
}

void run_memory_free(run_memory *m)
{
    if (m)
        memory_fini(m);
    free(m);
}

int run_memory_generation(const run_memory *m)
{
    return m->generation;
}

/* What was there is not kept. */
static bool memory_grow(run_memory *m, size_t bytes)
{
    if (m->arena && bytes <= m->bytes)
        return true;
    memory_fini(m);
    m->arena = pages_new(bytes);
    m->bytes = m->arena ? bytes : 0;
    m->generation++;
    return m->arena != NULL;
}

kiln_status run_new_within(const plan *p, run_memory *memory, run **out, kiln_error *err)
{
    *out = NULL;
    run *r = calloc(1, sizeof *r);
    const float **live = calloc((size_t)p->work.parameter_count + 1, sizeof *live);
    if (!r || !live || !memory_grow(memory ? memory : &r->own, p->arena_bytes)) {
        free(r);
        free(live);
        return fail(err, KILN_NO_MEMORY, "out of memory: %zu MB for the activations", p->arena_bytes >> 20);
    }
    r->plan = p;
    r->live = live;
    r->memory = memory ? memory : &r->own;
    *out = r;
    return KILN_OK;
}

kiln_status run_new(const plan *p, run **out, kiln_error *err)
{
    return run_new_within(p, NULL, out, err);
}

void run_free(run *r)
{
    if (!r)
        return;
    memory_fini(&r->own);
    free(r->live);
    free(r);
}

void run_parameter(run *r, int index, const float *data)
{
    if (index >= 0 && index < r->plan->work.parameter_count)
        r->live[index] = data;
}

static void *at_buffer(const run *r, int b)
{
    return b < 0 ? NULL : r->memory->arena + r->plan->buffers[b].offset;
}

/* An input of a step. */
static const void *at_input(const run *r, const step *s, int k)
{
    return s->input[k] < 0 ? NULL : (const unsigned char *)at_buffer(r, s->input[k]) + s->offset[k];
}

void *run_input(run *r, const char *name)
{
    const graph *g = &r->plan->work;
    for (int i = 1; i < g->node_count; i++)
        if (g->nodes[i].op == OP_INPUT && strcmp(g->nodes[i].path, name) == 0)
            return at_buffer(r, r->plan->buffer_of[i]);
    return NULL;
}

const float *run_output(run *r, const char *name)
{
    const plan *p = r->plan;
    for (int i = 0; i < p->output_count; i++) {
        int v = p->outputs[i].value.index;
        if (strcmp(p->outputs[i].name, name) == 0)
            return (const float *)(const void *)((const char *)at_buffer(r, p->buffer_of[v]) +
                                                 p->offset_of[v]);
    }
    return NULL;
}

static double now_microseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void report(const run *r, int i, const void *data, double microseconds, trace_function trace,
                   void *self)
{
    const step *s = &r->plan->steps[i];
    const node *n = &r->plan->work.nodes[s->node];
    trace_row row = {.step = i,
                     .path = n->path,
                     .op = op_find(n->op)->name,
                     .label = s->kernel.label,
                     .shape = n->shape,
                     .type = r->plan->types[s->node],
                     .data = data,
                     .microseconds = microseconds,
                     .flops = s->flops,
                     .bytes = s->bytes};
    trace(self, &row);
}

static kiln_status run_step(const run *r, int i, trace_function trace, void *trace_self, kiln_error *err)
{
    const plan *p = r->plan;
    const step *s = &p->steps[i];
    kernel_arguments a = {.output = at_buffer(r, s->output),
                          .scratch = at_buffer(r, s->scratch),
                          .note = at_buffer(r, s->note),
                          .threads = p->options.threads};
    for (int k = 0; k < p->work.nodes[s->node].input_count; k++)
        a.input[k] = s->parameter[k] ? s->parameter[k]
                     : s->live[k]    ? (const void *)r->live[s->live[k] - 1]
                                     : at_input(r, s, k);
    for (int k = 0; k < OP_MAX_INPUTS; k++)
        if (s->live[k] && !a.input[k])
            return fail(err, KILN_INTERNAL, "the live parameter '%s' has no data",
                        p->work.parameters[s->live[k] - 1].canonical);
    double start = trace ? now_microseconds() : 0;
    kiln_status status = s->kernel.run(&s->kernel, &a, err);
    if (status != KILN_OK)
        return fail_within(err, status, "%s", p->work.nodes[s->node].path);
    if (trace)
        report(r, i, a.output, now_microseconds() - start, trace, trace_self);
    return KILN_OK;
}

kiln_status plan_run(const plan *p, run *r, const atomic_bool *cancel, trace_function trace, void *trace_self,
                     kiln_error *err)
{
    int threads_before = omp_get_max_threads();
    omp_set_num_threads(p->options.threads);
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < p->step_count; i++) {
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed))
            status = fail(err, KILN_CANCELLED, "cancelled");
        else
            status = run_step(r, i, trace, trace_self, err);
    }
    omp_set_num_threads(threads_before);
    return status;
}
