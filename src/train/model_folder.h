/* model_folder.h - a model as the diffusers folder that every program draws with: written by checkpoints, and by the
 * start of a training from nothing. Layout: pipeline/convert_folder.c. */
#ifndef KILN_TRAIN_MODEL_FOLDER_H
#define KILN_TRAIN_MODEL_FOLDER_H

#include "pipeline/convert.h"

/* One network's tensors: where their values come from, and as what they are stored. */
typedef struct folder_network {
    part_kind part;
    const graph *graph; /* declares the parameters */
    parameter_source source;
    const weights *as; /* not NULL: keep the types that the tensors have there; else `type` */
    dtype type;
} folder_network;

/* Borrowed throughout. `parts` gives which parts there are, their configurations, and the scheduler. */
typedef struct model_folder {
    const model_parts *parts;
    folder_network network[CONVERT_MAX_MODELS];
    int count;
    const char *tokenizer[2]; /* folders to copy; NULL: CLIP's own vocabulary */
} model_folder;

/* Fill `folder`, which must exist. Files are synced; the folder is not renamed here. */
kiln_status model_folder_write(const model_folder *, const char *folder, kiln_error *err);

/* Small helpers for whoever writes folders. */
enum { FOLDER_PATH = 4096 };
kiln_status folder_path(char path[FOLDER_PATH], const char *folder, const char *name, kiln_error *err);
/* Make one; there already is fine. */
kiln_status folder_make(const char *path, kiln_error *err);
/* Sync a folder's entries to disk. */
kiln_status folder_sync(const char *path, kiln_error *err);
/* Remove a folder and all below it; silent when it is not there. */
void folder_remove(const char *path);

#endif
