/* convert.h - what the files of convert*.c share. Internal. */
#ifndef KILN_PIPELINE_CONVERT_H
#define KILN_PIPELINE_CONVERT_H

#include "weights/lora.h"
#include "weights/probe.h"
#include "weights/write.h"

enum { CONVERT_MAX_MODELS = PART_COUNT + 1 }; /* a VAE is two graphs */

/* A graph of a present part, bound to its tensors. */
typedef struct bound_model {
    part_kind part;
    graph *graph;
    weights *weights;
    lora_layer *layers; /* merged into it: convert_lora.c */
    lora_stack stack;
} bound_model;

typedef struct bound_models {
    bound_model model[CONVERT_MAX_MODELS];
    int count;
} bound_models;

/* What the user asked for, and how far the work is. */
typedef struct conversion {
    bool keep_types;
    dtype type; /* unless keep_types */
    kiln_progress_function progress;
    void *user;
    int64_t done, total; /* bytes */
    const kiln_lora *lora_options;
    lora **loras;
    int lora_count;
} conversion;

/* Open the LoRAs that are to be merged, close them (also after a failure), and put them over bound models. */
kiln_status convert_open_loras(conversion *, const kiln_convert_options *, kiln_error *err);
void convert_close_loras(conversion *);
kiln_status convert_merge_loras(bound_models *, const conversion *, kiln_error *err);
void bound_model_forget_loras(bound_model *);

/* Bind all present parts. Starts as {0}; free with bound_models_fini, after failures too. */
kiln_status bound_models_open(bound_models *, const model_parts *, kiln_error *err);
void bound_models_fini(bound_models *);

/* "f32", "f16", "bf16", or NULL: the types are kept. */
kiln_status convert_read_type(const char *text, conversion *, kiln_error *err);

/* Count bytes as done and tell the user; false when it is to stop. */
bool conversion_step(void *conversion, int64_t bytes);

/* How one model is written. */
weights_output conversion_output(const conversion *, const bound_model *, const char *prefix, dialect);

/* Write the parts as a diffusers folder, or as one checkpoint in the original dialect. */
kiln_status convert_to_folder(const model_parts *, const bound_models *, const char *to, conversion *,
                              kiln_error *err);
kiln_status convert_to_single(model_parts *, const char *to, conversion *, kiln_error *err);
/* Any weights file to safetensors, names kept. */
kiln_status convert_names_kept(const char *from, const char *to, conversion *, kiln_error *err);

/* Write tokenizer/ files for `words` tokens into a folder that exists: from the model's own folder `own` when it is not
 * NULL, else from the data directory `data` (NULL: the one chosen when Kiln was built). *written false when there is no
 * data that fits. */
kiln_status convert_tokenizer(const char *own, const char *data, int words, const char *pad, const char *to,
                              bool *written, kiln_error *err);

/* Whether it is a matter of embeddings, and to convert one. */
bool convert_takes_words(const char *from, const char *to);
kiln_status convert_words(const char *from, const char *to, const kiln_convert_options *, kiln_error *err);

/* Write a small file whole. */
kiln_status write_text_file(const char *path, const char *text, size_t length, kiln_error *err);

#endif
