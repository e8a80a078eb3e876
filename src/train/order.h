/* order.h - which samples make up the batch of step n: a pure function of (seed, step, batch size).
 *
 * Nothing is stored between steps: an epoch's order is a keyed permutation that can be asked for any one
 * place (a Feistel network with cycle walking; Black and Rogaway 2002). Resuming therefore needs the step
 * number and nothing else.
 *
 * An epoch shows every training picture `repeats` times and, when there are regularisation pictures, as many
 * of those. A batch comes from one bucket. A bucket whose showings do not fill its last batch fills it with
 * its own first ones of that epoch, so that every batch is full. */
#ifndef KILN_TRAIN_ORDER_H
#define KILN_TRAIN_ORDER_H

#include "train/dataset.h"

typedef struct order_sample {
    int64_t item;            /* of dataset_item_at */
    int64_t epoch;           /* from 0; -1 for validation */
    int64_t serial;          /* number of the showing since the start of training: unique */
    int width_px, height_px; /* the bucket's */
    bool flip;               /* mirror left and right */
    bool regularisation;     /* weigh the loss with prior_loss_weight */
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
/* Fill out[batch_size] for `step` >= 0. All have one size. */
void order_batch(const order *, int64_t step, int batch_size, order_sample *out);
/* Validation pictures: middle crop, no flip, noise that depends on the index only. index <
 * order_validation_count. */
int64_t order_validation_count(const order *);
void order_validation(const order *, int64_t index, order_sample *out);
/* The caption of a showing (validation: the plain one), the caller's to free. */
kiln_status order_caption(const order *, const order_sample *, char **out, kiln_error *) KILN_CHECKED;

#endif
