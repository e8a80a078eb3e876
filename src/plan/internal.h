/* internal.h - what the pages of the planner share: the steps of a plan and its buffers. */
#ifndef KILN_PLAN_INTERNAL_H
#define KILN_PLAN_INTERNAL_H

#include "plan/plan.h"

/* A block of the arena with a lifetime in steps, both ends included. */
typedef struct buffer {
    size_t bytes, offset;
    int first, last;
} buffer;

typedef struct step {
    int node; /* in plan->work.nodes */
    kernel kernel;
    int input[OP_MAX_INPUTS];     /* buffer, or -1 */
    size_t offset[OP_MAX_INPUTS]; /* of the input in its buffer */
    const void *parameter[OP_MAX_INPUTS];
    packed *taken[OP_MAX_INPUTS]; /* plain parameters this step holds */
    int live[OP_MAX_INPUTS];      /* 1 + the live parameter behind an input; 0: none */
    int output, scratch, note;    /* buffer; scratch, note -1: none */
    double flops, bytes;
} step;

struct plan {
    plan_options options;
    packed_store *packed;
    graph work;        /* the graph after fusion: own nodes, everything else shared with the caller's graph */
    dtype *types;      /* storage type by node */
    int *buffer_of;    /* buffer by node, -1: none */
    size_t *offset_of; /* where in it the node's value begins: views of a part begin within */
    step *steps;
    int step_count;
    buffer *buffers;
    int buffer_count, buffer_capacity;
    size_t arena_bytes, passing_bytes;
    double flops;
    named_value *outputs; /* outputs and, if asked for, taps, after fusion */
    int output_count;
};

/* fuse.c: what both rewritings work on, and how many nodes read each value. */
typedef struct fusion {
    node *nodes;
    int count;
    int *users;
    const bool *pinned;
} fusion;
void fusion_count_users(fusion *);
/* fuse.c: rewrite plan->work.nodes; `pinned[node]` values must stay computed as they are. */
void plan_fuse(node *nodes, int count, const bool *pinned);
/* fuse_norms.c: the same for plans with a reverse pass. */
void plan_fuse_norms(node *nodes, int count, const bool *pinned);
/* layout.c: whether a value only looks at memory of another. */
bool plan_is_view(const plan *, int node);
/* layout.c: make the buffers of all steps, and place them. */
kiln_status plan_lay_out(plan *, kiln_error *);
/* memory.c: give every buffer its offset; returns the bytes needed. */
size_t plan_place(buffer *buffers, int count);
/* The largest sum of buffers alive at one step, without those that live to the end; 0 when memory is short. */
size_t plan_most_alive(const buffer *buffers, int count, int steps);

#endif
