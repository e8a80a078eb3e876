/* teach.h - trainings of something beside the weights: hypernetworks and what else is taught to a model whose networks all
 * stay as they are.
 *
 * A kind of it is one table of functions. The trainer does the rest with the code that it has for every training: the
 * parameters that a kind lists are the trainable entries of `parameters`, the hooks that it gives are set on every graph
 * that is drawn (steps, validation, samples), and what it saves is a small file: in each checkpoint, and in the run's
 * folder beside them. Optimizer, average, exact resume, figures and samples do not know the difference.
 *
 *     recipe: method = hypernetwork      teach_kind_of("hypernetwork")
 *     open                               what there is to learn, from the recipe and the model, or a file to learn on
 *     parameter, initial                 the list of its parameters, and the values that they begin with
 *     hooks                              how they act on a graph (graph_hooks in graph/graph.h)
 *     save                               the file
 */
#ifndef KILN_TRAIN_TEACH_H
#define KILN_TRAIN_TEACH_H

#include "train/parameters.h"
#include "train/recipe.h"

/* Which graph hooks are for. A parameter's name on the graph of a step is that of its list. On the graph of one network
 * alone it is the same without parameters_place() of the network, which comes by itself where hooks name their parameters
 * below the place that they receive. */
typedef struct teach_graph {
    bool whole;           /* the graph of a step, in which all networks lie */
    network_kind network; /* else: of this network alone */
    bool training;        /* gradients will be taken: dropout acts (nn_dropout) */
} teach_graph;

/* What is saved with the values. All texts are borrowed. */
typedef struct teach_artefact {
    const char *name;                  /* of the file without folder and ending; what a prompt will call it */
    int64_t step;                      /* done */
    const char *base_name, *base_hash; /* the base's file or folder, and sha256 over its files */
    /* {key, text}, for formats that hold metadata: kiln.method, kiln.base, kiln.base_hash, kiln.data_hash, kiln.recipe (all
     * of it, as a file of lines), kiln.loss (lines of "step,loss") and kiln.step */
    const char *const (*metadata)[2];
    int metadata_count;
    const parameters *parameters;
    const float *values; /* present or averaged, to be read at the offsets of parameters' entries */
} teach_artefact;

typedef struct teach_kind {
    const char *method; /* in a recipe */
    const char *ending; /* of the file, with its dot; NULL: as `save_model_as` says (safetensors, pt) */
    /* Networks besides the UNet that must lie in the graph of a step: 1 << NETWORK_TEXT_1, ... or 0. NULL: none. Text
     * encoders lie in it with NETWORK_TEXT_1 (and 2, where there is one); their states then come from the graph, not from
     * the cache. */
    unsigned (*networks)(const recipe *, const kiln_model *);
    /* Recipe and model are borrowed and outlive `self`. */
    kiln_status (*open)(const recipe *, const kiln_model *, void **self, kiln_error *err);
    void (*close)(void *self);
    /* Parameter i, false past the last. The order is kept in checkpoints. Text in *out lives as long as self. */
    bool (*parameter)(const void *self, int i, side_parameter *out);
    kiln_status (*initial)(const void *self, int i, float *to, kiln_error *err);
    /* Lives as long as self; asked for whenever a graph is drawn. NULL: none for this graph. */
    const graph_hooks *(*hooks)(void *self, const teach_graph *);
    /* Tell the model the values so far, before the first step and before it draws: words that prompts find. NULL: the hooks
     * are all there is. */
    kiln_status (*show)(const void *self, kiln_model *, const parameters *, const float *values,
                        kiln_error *err);
    kiln_status (*save)(const void *self, const teach_artefact *, const char *path, kiln_error *err);
} teach_kind;

/* All kinds; a new one is a row there (teach.c). NULL: this method trains networks. */
const teach_kind *teach_kind_of(const char *method);

/* A kind with its self, in a run. */
typedef struct teach {
    const teach_kind *kind;
    void *self;
    side_parameter *list;
    int count;
} teach;

/* *out NULL when the recipe's method trains networks. */
kiln_status teach_open(const recipe *, const kiln_model *, teach **out, kiln_error *err);
void teach_close(teach *);
/* Fill in what the parameters begin with, which were opened with the list. */
kiln_status teach_begin(const teach *, parameters *, kiln_error *err);
/* `t` may be NULL; values: present or averaged. */
kiln_status teach_show(const teach *t, kiln_model *, const parameters *, const float *values,
                       kiln_error *err);
const graph_hooks *teach_hooks(const teach *, const teach_graph *);

/* The graph's input of textual inversion: I32 [N,T], which vector of the new word stands at a place; -1: none. */
#define TEACH_WORD_IDS "word_ids"

/* The kinds. */
extern const teach_kind teach_hypernetwork, teach_words, teach_lora;

#endif
