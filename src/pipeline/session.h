/* session.h - one thread's work with a model: compiled plans, the cancel flag, tracing. Internal. */
#ifndef KILN_PIPELINE_SESSION_H
#define KILN_PIPELINE_SESSION_H

#include "pipeline/model.h"

enum { SESSION_PLANS = 12 };

typedef struct session_plan {
    network_kind kind;
    network_shape shape;
    graph *graph;
    plan *plan;
    uint64_t used; /* for dropping the least recently used */
} session_plan;

struct kiln_session {
    kiln_model *model;
    atomic_bool cancel;
    session_plan plans[SESSION_PLANS];
    int plan_count;
    uint64_t clock;
    kiln_trace_function trace;
    void *trace_user;
    bool trace_statistics;
    profile *profile;                            /* NULL: off */
    struct session_loras *loras;                 /* NULL: none; see loras.h */
    struct session_hypernetworks *hypernetworks; /* NULL: none; see hypernetworks.h */
    /* What a network's layers are bent by while its plans are drawn; NULL: by nothing. The store of its weights then knows
     * the parameters that hooks draw. */
    const graph_hooks *hooks[NETWORK_COUNT];
    /* How far the weights of a network are read, while a plan is made; false stops. NULL: nobody asks. */
    bool (*loading)(void *self, int64_t done, int64_t total);
    void *loading_self;
    int64_t loading_told;
    int evaluations; /* of the denoising network since the public call began, as samplers count them */
};

/* The plan of a network at a shape, compiled when it is not at hand (weights are read then). Lives until
 * session_drop of its network, or until SESSION_PLANS others were asked for. */
kiln_status session_get_plan(kiln_session *, network_kind, const network_shape *, const plan **out,
                             kiln_error *);
/* Forget the plans of a network; its packed weights go when no other session uses them. */
void session_drop(kiln_session *, network_kind);
/* Bytes that a plan of that shape takes: activations of one run, and packed weights. Reads no weights. */
kiln_status session_measure(kiln_session *, network_kind, const network_shape *, int64_t *activations,
                            int64_t *weights, kiln_error *);
/* plan_run with the session's cancel flag and traces. */
kiln_status session_run(kiln_session *, const plan *, run *, kiln_error *);
/* At the start of each public call. */
void session_begin(kiln_session *);

#endif
