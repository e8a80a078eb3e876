/* order.h - which samples make up the batch of step n: a pure function of (seed, step, batch size).
 *
 * Nothing is stored between steps: an epoch's order is a keyed permutation that can be asked for any one
 * place (a Feistel network with cycle walking; Black and Rogaway 2002). Resuming therefore needs the step
 * number and nothing else.
 *
 * With dataset_options.paired every training picture of a batch has one of the class beside it (Ruiz et al. 2023, section
 * 3.2): a batch of n holds n training pictures, the same as without pairs, and then n of the class, which take turns and
 * are cut to the batch's size. An epoch is that of the training pictures.
 *
 * Else an epoch shows every training picture `repeats` times and, when there are regularisation pictures, as many
 * of those. A batch comes from one bucket. A bucket whose showings do not fill its last batch fills it with
 * its own first ones of that epoch, so that every batch is full. */
#ifndef KILN_TRAIN_ORDER_H
#define KILN_TRAIN_ORDER_H

#include "train/dataset.h"

#define PAIR_SERIAL ((int64_t)1 << 62)

typedef struct order_sample {
    int64_t item;   /* of dataset_item_at */
    int64_t epoch;  /* from 0; -1 for validation */
    int64_t serial; /* number of the showing since the start of training: unique; a class picture of a
                                pair has its partner's and PAIR_SERIAL */
    int width_px, height_px; /* the bucket's */
    bool flip;               /* mirror left and right */
    bool unscaled;           /* what covers the bucket is cut without being scaled */
    bool regularisation;     /* weigh the loss with prior_loss_weight */
    bool of_class; /* a picture of the class, trained on or measured: its caption is never of a new word */
    float crop_x,
        crop_y; /* 0..1: which part of what sticks out is cut on the left and at the top; 0.5 is the middle */
    uint64_t noise_seed; /* for noise, time step and whatever else the objective draws */
} order_sample;

typedef struct order order;

/* The dataset is borrowed and must outlive the order. An order does not change: any thread may ask. */
kiln_status order_new(const dataset *, uint64_t seed, order **out, kiln_error *) KILN_CHECKED;
void order_free(order *);

/* Showings per epoch, and batches per epoch (at least 1). */
int64_t order_samples_per_epoch(const order *);
int64_t order_steps_per_epoch(const order *, int batch_size);
/* Samples in a batch: batch_size, or with pairs twice as many. */
int order_batch_count(const order *, int batch_size);
/* Fill out[order_batch_count] for `step` >= 0. All have one size. */
void order_batch(const order *, int64_t step, int batch_size, order_sample *out);
/* Pictures of a part that is never trained on (DATASET_VALIDATION, DATASET_CLASS_VALIDATION): middle crop, no flip, noise
 * that depends on the index only. index < order_validation_count. */
int64_t order_validation_count(const order *, dataset_part);
void order_validation(const order *, dataset_part, int64_t index, order_sample *out);
/* The caption of a showing (validation: the plain one), the caller's to free. */
kiln_status order_caption(const order *, const order_sample *, char **out, kiln_error *) KILN_CHECKED;

#endif
