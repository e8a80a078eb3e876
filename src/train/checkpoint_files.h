/* checkpoint_files.h - checkpoints as folders on disk: names, seals, links, which ones to keep. */
#ifndef KILN_TRAIN_CHECKPOINT_FILES_H
#define KILN_TRAIN_CHECKPOINT_FILES_H

#include "train/training.h"

#define CHECKPOINT_UNFINISHED ".unfinished"

enum { CHECKPOINT_NAME = 32 };
/* "step-00001000" */
void checkpoint_name(int64_t step, char name[CHECKPOINT_NAME]);

/* Steps of the checkpoints in a folder, latest first. A folder that is not there has none. */
typedef struct checkpoint_list {
    int64_t *step;
    int count;
} checkpoint_list;
kiln_status checkpoint_list_read(const char *parent, checkpoint_list *, kiln_error *err);
void checkpoint_list_fini(checkpoint_list *);

/* Write checksums.sha256 over all files below the folder. */
kiln_status checkpoint_seal(const char *folder, kiln_error *err);
/* Whether every file is there and as it was sealed: KILN_BAD_FORMAT naming the file, KILN_NOT_FOUND without a seal. */
kiln_status checkpoint_verify(const char *folder, kiln_error *err);

/* Let the link parent/name lead to `target`, in one step. Links are a convenience: failures are not told. */
void checkpoint_link(const char *parent, const char *name, const char *target);
/* Remove all but the last `keep` and those of two steps besides (-1: none). */
void checkpoint_prune(const char *parent, int keep, int64_t best_step, int64_t opened_step);

/* sha256 over the names and shapes of the trained parameters, in order. */
kiln_status checkpoint_layout_hash(const kiln_training *, char out[65], kiln_error *err);

#endif
