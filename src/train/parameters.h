/* parameters.h - the numbers that a training changes: f32 masters, in one block.
 *
 * Gradients, optimizer state and EMA are blocks of the same layout. Frozen parameters of the networks that take part are
 * entries as well, behind the trainable ones, but hold no values here: they are read from the model's files where they
 * are wanted. Entries keep the order in which their networks declare them within each part, so the block's layout depends
 * on the model and the patterns alone. Names are canonical, below parameters_place() of their network, so that those of networks
 * trained together do not meet. */
#ifndef KILN_TRAIN_PARAMETERS_H
#define KILN_TRAIN_PARAMETERS_H

#include "formats/name_index.h"
#include "pipeline/model.h"

typedef struct parameter_entry {
    const char *name;
    network_kind network;
    shape shape;
    parameter_role role;
    int64_t offset,
        count; /* offset: in the block; of a frozen one trainable_size or more, where nothing is */
    int index; /* in its network; -1: in none */
} parameter_entry;

/* A parameter that no network has: of what is taught beside the weights. `name` as it lies in the graph of a step. */
typedef struct side_parameter {
    const char *name;
    network_kind network; /* whose learning rate and place it shares */
    shape shape;
    parameter_role role;
} side_parameter;

typedef struct parameters {
    arena memory;
    parameter_entry *entries; /* trainable ones first */
    int count, trainable;
    float *values;                /* [trainable_size] */
    int64_t size, trainable_size; /* elements: of all entries, and of the block */
    const kiln_model *model;      /* borrowed */
    name_index index;
} parameters;

/* Where a network lies in the graph of a training step: "text_encoder_2" for SDXL's second, "" for the others. */
const char *parameters_place(network_kind);

/* Whether a name fits one of the patterns ("*" stands for any characters; separated by commas or spaces). */
bool pattern_list_fits(const char *patterns, const char *name);

/* Read the networks (bits 1 << NETWORK_UNET, ...) of a model, which must stay open. A parameter is trainable when its network is among
 * `trained`, its name fits `trainable` ("": every name does) and does not fit `frozen`. KILN_BAD_ARGUMENT when none is
 * left. */
typedef struct parameters_choice {
    unsigned networks, trained;
    const char *trainable, *frozen;
    const side_parameter *side; /* trainable as well; they come first, and begin with zeros */
    int side_count;
} parameters_choice;
kiln_status parameters_open(const kiln_model *, const parameters_choice *, parameters **out, kiln_error *err);
void parameters_free(parameters *);

/* NULL when there is none of this name. */
const parameter_entry *parameters_find(const parameters *, const char *name);

/* Gives the values of the parameters that a graph declares, by name (below `place`): from `block` (NULL: values) what is
 * trainable, from the model's files the rest. Lives as long as `reader` and the parameters. */
typedef struct parameters_reader {
    const parameters *parameters;
    const float *block;
    const char *place; /* NULL: the graph is that of a step; else of one network, at this place */
} parameters_reader;
parameter_source parameters_source(const parameters_reader *);

#endif
