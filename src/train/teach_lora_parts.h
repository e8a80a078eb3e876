/* teach_lora_parts.h - what teach_lora.c and teach_lora_save.c share. */
#ifndef KILN_TRAIN_TEACH_LORA_PARTS_H
#define KILN_TRAIN_TEACH_LORA_PARTS_H

#include "train/teach.h"
#include "weights/lora_draw.h"

/* A layer that is adapted. */
typedef struct lora_layer_taught {
    const char *name; /* as the layer is called in the graph of a step */
    network_kind network;
    int parameter; /* its weight's number in its network */
    shape shape;
    lora_form form;
} lora_layer_taught;

/* A factor of one; the name's end is the leaf, "lora_down.weight". */
typedef struct lora_factor_taught {
    const char *name, *leaf;
    int layer;
    shape shape;
} lora_factor_taught;

/* How one kind of graph is hooked. */
typedef struct lora_graph_taught {
    const struct lora_learner *learner;
    const char *place; /* of the network that the graph is of alone */
    bool training;
    graph_hooks hooks;
} lora_graph_taught;

typedef struct lora_learner {
    const recipe *recipe;
    const kiln_model *model;
    lora *before; /* what is learnt on; NULL: from nothing */
    int window_rank;
    double window_alpha;
    arena memory;
    name_index index; /* layers by name */
    lora_layer_taught *layers;
    lora_factor_taught *factors;
    int layer_count, factor_count;
    lora_graph_taught graphs[NETWORK_COUNT + 1][2]; /* the last: the graph of a step; in use, in training */
} lora_learner;

lora_network lora_network_taught(network_kind);
kiln_status lora_save_taught(const void *self, const teach_artefact *, const char *path, kiln_error *err);

#endif
