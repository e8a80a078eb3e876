/* hypernetwork.h - small residual networks that bend what attention makes its keys and values from (Kurumuz, NovelAI, 2022,
 * "NovelAI improvements on Stable Diffusion"; the options are those of AUTOMATIC1111's web UI).
 *
 *     keys from    context + strength * network_k(context)
 *     values from  context + strength * network_v(context)
 *
 * There is a pair of networks for each width of context, shared by all attention layers that see this width: the width of
 * the text (768 in SD 1, 1024 in SD 2, 2048 in SDXL) for cross-attention, the channels of a level for self-attention. A
 * network is a sequence of layers, each of which is
 *
 *     linear -> activation (the last layer: with activate_output only) -> layer norm -> dropout (in training only)
 *
 * from width * layer_structure[i] to width * layer_structure[i + 1]. Its parameters are named as in the files,
 * "<place>.<width>.<0 keys, 1 values>.linear.<position in the sequence>.weight". */
#ifndef KILN_MODEL_HYPERNETWORK_H
#define KILN_MODEL_HYPERNETWORK_H

#include "graph/graph.h"

enum { HYPERNETWORK_MAX_LAYERS = 15, HYPERNETWORK_MAX_WIDTHS = 16, HYPERNETWORK_MAX_WIDTH = 1 << 16 };

typedef struct hypernetwork_config {
    int layers; /* linear layers; the structure has one number more */
    double structure[HYPERNETWORK_MAX_LAYERS + 1], dropout[HYPERNETWORK_MAX_LAYERS + 1];
    int activation; /* row of the table: hypernetwork_activation_of() */
    bool layer_norm, activate_output;
    int width_count;
    int widths[HYPERNETWORK_MAX_WIDTHS]; /* ascending */
} hypernetwork_config;

/* [1, 2, 1], linear, nothing else. */
hypernetwork_config hypernetwork_defaults(void);
/* By torch's name in lower case ("leakyrelu"), or "swish", which is its hardswish. KILN_UNSUPPORTED, with the reason, for
 * those that cannot work here; `what` names file or recipe. */
kiln_status hypernetwork_activation_of(const char *name, const char *what, int *out, kiln_error *err);
const char *hypernetwork_activation_name(int);
/* Whether these numbers make networks; `what` names file or recipe. */
kiln_status hypernetwork_check(const hypernetwork_config *, const char *what, kiln_error *err);
/* The numbers of a list like "1, 2, 1" or "[1, 2, 1]", at most HYPERNETWORK_MAX_LAYERS + 1; their count, or -1. */
int hypernetwork_read_list(const char *text, double numbers[HYPERNETWORK_MAX_LAYERS + 1]);
/* A1111's dropout of a structure of `count` numbers when only use_dropout is said: 0.3 on hidden layers, on the last of
 * them with last_layer_dropout only. */
void hypernetwork_standard_dropout(int count, bool last_layer_dropout, double dropout[]);

/* A parameter of one of the networks: what follows the place in its name ("768.0.linear.2.weight"), and its shape. */
enum { HYPERNETWORK_NAME = 64 };
typedef struct hypernetwork_parameter {
    char name[HYPERNETWORK_NAME];
    shape shape;
    parameter_role role;
    enum { HYPERNETWORK_WEIGHT, HYPERNETWORK_BIAS, HYPERNETWORK_NORM_WEIGHT, HYPERNETWORK_SLOPE } kind;
} hypernetwork_parameter;
/* Parameter i of all, in the order of widths, keys before values, positions; false past the end. */
bool hypernetwork_parameter_at(const hypernetwork_config *, int i, hypernetwork_parameter *out);

/* One of the hypernetworks that a graph is drawn with. */
typedef struct hypernetwork {
    hypernetwork_config config;
    char place[HYPERNETWORK_NAME]; /* of its parameters: "hypernetwork" */
    float strength;                /* 0: nothing is drawn */
} hypernetwork;

/* The self of a hook: they act one after the other. Borrowed by the hooks. */
typedef struct hypernetwork_chain {
    const hypernetwork *networks;
    int count;
    bool training; /* with dropout; the graph then has the input NN_DROPOUT_SEEDS */
} hypernetwork_chain;

/* For graph_hooks.context; self is a hypernetwork_chain. */
value hypernetwork_bend(void *self, at, value context, bool for_values);

#endif
