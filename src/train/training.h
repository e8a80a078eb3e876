/* training.h - a run: everything that kiln_training holds, shared by the files of the trainer. Internal.
 *
 *   training_open.c    put it together            step_plan.c    graph and plan of one step at one size
 *   training_run.c     the loop                   validate.c     the validation loss
 *   checkpoint.c       save and restore           sampling_sheet.c   sample pictures
 *   class_pictures.c   of dreambooth, drawn       class_measure.c    what became of the class */
#ifndef KILN_TRAIN_TRAINING_H
#define KILN_TRAIN_TRAINING_H

#include "kiln/train.h"
#include "train/ema.h"
#include "train/journal.h"
#include "train/learning_rate.h"
#include "train/loader.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/parameters.h"
#include "train/teach.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STEP_PLANS = 8 };

/* A compiled step at one size, with its memory. */
typedef struct step_plan {
    objective_shape shape;
    bool backward, checkpointing;
    int segments; /* computed again */
    graph *graph;
    plan *plan;
    run *run;
    const float *loss;
    const float **gradients; /* by trainable parameter; NULL without backward */
    int generation;          /* of the memory that loss and gradients lie in */
    uint64_t used;
} step_plan;

struct kiln_training_recipe {
    recipe recipe;
};

struct kiln_training {
    recipe recipe; /* a copy of its own */
    kiln_training_function progress;
    void *user;
    pthread_mutex_t telling; /* the loader's threads have things to say, too */
    atomic_bool stop;
    char *folder;
    int lock; /* file descriptor, -1: none */
    char base_hash[65];

    kiln_model *model; /* the base, the starting model, or the checkpoint that is gone on from */
    kiln_session *session;
    dataset *data;
    order *order;
    loader *loader;
    objective *objective;
    parameters *parameters;
    teach *teach; /* what is trained beside the weights; NULL: the weights are */
    parameters_reader frozen_reader;
    packed_store *frozen; /* packed parameters that are not trained, of the networks that take part */
    step_plan plans[STEP_PLANS];
    int plan_count;
    run_memory *memory; /* in which all of them run: one at a time */
    bool told_savings;  /* of gradient checkpointing */
    bool base_alone;    /* plans are drawn without what is taught */
    uint64_t clock;

    optimizer *optimizer;
    float *gradients;          /* accumulated; NULL when a step is one pass */
    const float **gradient_of; /* [trainable] for the optimizer */
    int64_t *gradient_counts;
    float *average; /* EMA, or NULL */
    ema_options ema;
    learning_rate rate;
    journal *journal;

    char *class_folder, *class_validation_folder;
    double class_base_loss; /* of the base, on pictures of class_validation_folder; NaN: not known */

    int64_t step, steps, batches_per_epoch;
    int64_t saved_step;       /* of the last checkpoint, -1: none */
    int64_t opened_step;      /* of the checkpoint that `model` was opened from and still reads; -1: none */
    double best_validation;   /* NaN: none yet */
    int64_t best_step;        /* -1: none */
    double seconds_before;    /* of earlier sittings */
    double started, saved_at; /* monotonic seconds */
    double images_per_second;
};

double training_now(void);
/* Open t->model and t->session: the checkpoint, or (NULL) what the run starts from. */
kiln_status training_open_model(kiln_training *, const char *checkpoint, kiln_error *err);
void training_close_model(kiln_training *);
/* Tell the user a sentence, or that something was done. False: stop. */
bool training_tell(kiln_training *, kiln_training_event_kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The epoch that a step is in, with fraction. */
double training_epoch(const kiln_training *, int64_t step);

/* step_plan.c: the plan of a size, compiled when it is not at hand. */
kiln_status step_plan_get(kiln_training *, const objective_shape *size, bool backward, step_plan **out,
                          kiln_error *err);
void step_plans_free(kiln_training *);

/* validate.c: the mean loss over the pictures of a part that is never trained on at fixed timesteps and noise, and of an
 * autoencoder their mean PSNR in dB; NaN when there are none. */
kiln_status training_validate(kiln_training *, dataset_part, double *loss, double *psnr, kiln_error *err);

/* class_pictures.c: the folders of class pictures that the recipe asks for, into t->class_folder and
 * t->class_validation_folder (NULL: none). What is missing there is drawn by the base. */
kiln_status class_pictures_prepare(kiln_training *, kiln_error *err);
/* class_measure.c: what became of the class. Before the first step, the base's loss; after a step that is due, the present
 * one into *loss (else NaN); both into class-preservation.json. */
kiln_status class_measure_base(kiln_training *, kiln_error *err);
kiln_status class_measure(kiln_training *, double *loss, kiln_error *err);

/* teach_save.c: write what is taught into a folder, under its name. */
kiln_status training_save_taught(const kiln_training *, const char *folder, kiln_error *err);

/* sampling_sheet.c: draw the recipe's prompts into samples/. */
kiln_status training_sample(kiln_training *, kiln_error *err);
/* The standard deviation of the present VAE's latents, over the same few pictures each time. */
kiln_status training_measure_latents(kiln_training *, double *deviation, kiln_error *err);

/* checkpoint.c */
/* Save the present step; marks it as the best one when `best`. */
kiln_status checkpoint_save(kiln_training *, bool best, kiln_error *err);
/* The checkpoint to go on from: verified, damaged ones named. *path NULL when there is none. `wanted` is "latest" or a
 * folder. *path is the caller's (free). */
kiln_status checkpoint_find(kiln_training *, const char *wanted, char **path, kiln_error *err);
/* Whether the run's folder has any. */
bool checkpoint_any(const kiln_training *);
/* Compare what the checkpoint says about dataset, base and model. */
kiln_status checkpoint_check(const kiln_training *, const char *path, kiln_error *err);
/* After `latest` was restored: what a run that was killed between saving and tidying up left to do. */
void checkpoint_settle(const kiln_training *);
/* Masters, optimizer, EMA, step. */
kiln_status checkpoint_restore(kiln_training *, const char *path, kiln_error *err);

#endif
