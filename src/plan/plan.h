/* plan.h - a graph made executable: fixed shapes, chosen kernels, one block of memory.
 *
 * Compilation: drop dead nodes, fuse (inference), choose storage types, prepare kernels (packing weights), give every
 * activation an offset by its lifetime. The plan is immutable and may be run by several threads, each with a `run` of
 * its own, which holds the only memory that changes. No allocation happens while it runs. */
#ifndef KILN_PLAN_PLAN_H
#define KILN_PLAN_PLAN_H

#include "backend/backend.h"

#include <stdatomic.h>
#include <stdio.h>

typedef struct plan plan;
typedef struct run run;

typedef struct plan_options {
    const backend *backend;
    dtype compute;   /* DTYPE_F32 or DTYPE_BF16 (activations stored as bf16, sums in f32) */
    int threads;     /* >= 1 */
    bool fuse;       /* merge activations, biases and residuals into kernels */
    bool fuse_norms; /* merge group norms and activations, forward and backward: for plans with gradients */
    bool taps;       /* keep every tapped value readable after a run */
    /* [parameter count] or NULL: parameters that change between runs (training). They are not packed: kernels read
     * them, plain f32, from where run_parameter says. Needed while compiling only. */
    const bool *live;
    /* Called while compiling, after each kernel: how many of the graph's weights (elements) are packed. False stops with
     * KILN_CANCELLED. May be NULL. Needed while compiling only. */
    bool (*loading)(void *self, int64_t done, int64_t total);
    void *loading_self;
} plan_options;

/* The graph must outlive the plan. */
kiln_status plan_compile(const graph *, const plan_options *, packed_store *store, plan **out, kiln_error *);
void plan_free(plan *);

/* Bytes of activations and scratch that one run allocates. */
size_t plan_arena_bytes(const plan *);
/* The most of them that a run needs at one moment, outputs (the gradients of a training) left out. */
size_t plan_passing_bytes(const plan *);
double plan_flops(const plan *);
int plan_step_count(const plan *);

kiln_status run_new(const plan *, run **out, kiln_error *);
void run_free(run *);
/* Memory in which runs take turns: each begins by writing its inputs, and what it leaves there lasts until another is
 * filled or made. For plans of different sizes of which one works at a time, as those of a training. */
typedef struct run_memory run_memory;
run_memory *run_memory_new(void);
/* After its runs. */
void run_memory_free(run_memory *);
/* Changes when the memory moves, because a larger run was made in it: what run_input and run_output of its runs gave
 * before is then void. */
int run_memory_generation(const run_memory *);
kiln_status run_new_within(const plan *, run_memory *, run **out, kiln_error *);
/* Where to write an input and to read an output or a tap: plain f32 (I32 for ids) in the graph's shape; valid for the
 * life of the run. NULL when there is no such name. */
void *run_input(run *, const char *name);
const float *run_output(run *, const char *name);

/* Where live parameter `index` is, in its declared shape; to be said once before the first run, and again when it moves.
 * Borrowed. */
void run_parameter(run *, int index, const float *data);

/* What a trace sees after each node. */
typedef struct trace_row {
    int step;
    const char *path, *op, *label;
    shape shape;
    dtype type;
    const void *data;
    double microseconds, flops, bytes;
} trace_row;
typedef void (*trace_function)(void *self, const trace_row *);

/* Run every step. `cancel` may be NULL; it is read between nodes and gives KILN_CANCELLED. `trace` may be NULL. */
kiln_status plan_run(const plan *, run *, const atomic_bool *cancel, trace_function trace, void *trace_self,
                     kiln_error *);

/* min, mean, max and NaN count of a traced value. */
typedef struct value_statistics {
    double minimum, mean, maximum;
    int64_t not_finite;
} value_statistics;
value_statistics trace_statistics(const trace_row *);

/* A profile: time, GFLOP/s and bytes by op and kernel. */
typedef struct profile profile;
profile *profile_new(void);
void profile_free(profile *);
void profile_add(void *self /* profile */, const trace_row *);
/* The table, widest consumers first. */
void profile_write(const profile *, FILE *to);

#endif
