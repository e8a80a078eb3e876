/* train.h - the public interface of training: a recipe, and a run of it.
 *
 * A run lives in a folder of its own:
 *
 *     recipe.txt                  the resolved recipe, every key
 *     initial/                    the model it started from, when that was made from nothing
 *     checkpoints/step-00001000/  complete model folders, each with training_state/; `latest` and `best` lead to them
 *     loss.csv, loss.png          figures of every step, and their plot
 *     samples/step-00001000.png   contact sheets
 *     cache/                      encoded pictures and captions; may be deleted
 *
 *     class/, class-validation/   class pictures that the base drew (docs/dreambooth.md)
 *     class-preservation.json     what became of the class
 *
 * Errors, ownership and threads: as in kiln.h. One thread works with a run at a time; kiln_training_stop may come from
 * any thread or a signal handler. */
#ifndef KILN_TRAIN_H
#define KILN_TRAIN_H

#include "kiln/kiln.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ recipes */

/* Keys with values; see docs/training.md for the list. */
typedef struct kiln_training_recipe kiln_training_recipe;

/* From a file of `key = value` lines, or from what was trained, to repeat it: a .safetensors or .pt that kiln train saved, a
 * checkpoint, the folder of a run. path NULL: every key at its default. KILN_BAD_ARGUMENT with file, line and key for
 * a key that does not exist (the nearest is named) or a value of the wrong kind or out of range. */
KILN_API KILN_CHECKED kiln_status kiln_training_recipe_read(const char *path, kiln_training_recipe **out,
                                                            kiln_error *);
KILN_API void kiln_training_recipe_free(kiln_training_recipe *);
/* Set one key, as a line of the file would. */
KILN_API KILN_CHECKED kiln_status kiln_training_recipe_set(kiln_training_recipe *, const char *key,
                                                           const char *value, kiln_error *);
/* All keys and values, in the form that kiln_training_recipe_read reads. *text is the caller's: free(). */
KILN_API KILN_CHECKED kiln_status kiln_training_recipe_text(const kiln_training_recipe *, char **text,
                                                            kiln_error *);

/* What keys there are, for help pages: key i, false past the end. Texts are static. */
typedef struct kiln_training_key {
    const char *name, *standard /* default */, *choices /* separated by '|', or NULL */, *heading, *help;
} kiln_training_key;
KILN_API bool kiln_training_key_at(int i, kiln_training_key *out);

/* ------------------------------------------------------------------------------------ runs */

typedef enum kiln_training_event_kind {
    KILN_TRAINING_STEP,       /* after each optimizer step */
    KILN_TRAINING_VALIDATION, /* validation_loss was measured */
    KILN_TRAINING_SAVED,      /* text: the checkpoint's folder */
    KILN_TRAINING_SAMPLED,    /* text: the contact sheet */
    KILN_TRAINING_NOTE,       /* text: a sentence that the user should know; training goes on */
    KILN_TRAINING_INFORMATION /* text: how the training goes about it */
} kiln_training_event_kind;

typedef struct kiln_training_event {
    kiln_training_event_kind kind;
    int64_t step, steps; /* done, in all */
    double epoch, epochs;
    double loss, validation_loss; /* of this step; NaN: not measured */
    double validation_psnr;       /* dB, of an autoencoder; NaN: not measured */
    double learning_rate, gradient_norm, images_per_second;
    double seconds_left; /* NaN: not known yet */
    double
        class_validation_loss; /* of class pictures that are never trained on (KILN_TRAINING_STEP); NaN: not measured */
    const char *line; /* a progress line, ready to be shown (KILN_TRAINING_STEP) */
    const char *text;
} kiln_training_event;

/* Return false to save and stop. Called from one thread at a time, though notes may come from another than the one that
 * runs the training. */
typedef bool (*kiln_training_function)(void *user, const kiln_training_event *);

typedef struct kiln_training_options {
    const char
        *resume; /* NULL: begin anew in a folder without checkpoints; "latest"; or a checkpoint's folder */
    /* Resume although the dataset, the base, or what the recipe says of a network's form has changed (the network keeps
     * its form). */
    bool accept_changes;
    kiln_training_function progress;
    void *user;
} kiln_training_options;
KILN_API kiln_training_options kiln_training_defaults(void);

typedef struct kiln_training kiln_training;

/* Check the recipe, open dataset and base (or make the model from nothing), restore the checkpoint. Nothing is trained.
 *
 * With resume "latest" and no checkpoint at all, training begins. A damaged checkpoint is named by a note, and the one
 * before it is taken. KILN_MISMATCH when dataset, base or model are not those of the checkpoint; KILN_BAD_ARGUMENT when
 * the folder has checkpoints and resume is NULL; KILN_BUSY when another run works in the folder. */
KILN_API KILN_CHECKED kiln_status kiln_training_open(const kiln_training_recipe *,
                                                     const kiln_training_options *, kiln_training **out,
                                                     kiln_error *);
/* Train to the end and save. KILN_CANCELLED after kiln_training_stop: saved at the last whole step. KILN_BAD_FORMAT when
 * the loss is no longer a number: nothing of that step is saved. Where a picture cannot be read, the steps before are. */
KILN_API KILN_CHECKED kiln_status kiln_training_run(kiln_training *, kiln_error *);
KILN_API void kiln_training_stop(kiln_training *);
/* Steps done and in all. */
KILN_API int64_t kiln_training_step(const kiln_training *);
KILN_API int64_t kiln_training_steps(const kiln_training *);
/* Parameters that are trained, and in all networks that take part. */
KILN_API void kiln_training_size(const kiln_training *, int64_t *trained, int64_t *all);
KILN_API void kiln_training_close(kiln_training *);

#ifdef __cplusplus
}
#endif
#endif
