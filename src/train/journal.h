/* journal.h - what a run leaves to be looked at: figures, a plot, a line of progress.
 *
 *   loss.csv   step,epoch,loss,validation_loss,learning_rate,gradient_norm,images_per_second,seconds,validation_psnr,
 *              class_validation_loss
 *   loss.png   the losses over the steps: each step, smoothed, validation
 *
 * A row is with the system when journal_add returns: a killed run loses none. When a run goes on from step n,
 * rows after n (of steps that were lost with a crash) are cut off first. */
#ifndef KILN_TRAIN_JOURNAL_H
#define KILN_TRAIN_JOURNAL_H

#include "base/error.h"

typedef struct journal_row {
    int64_t step; /* optimizer steps done, from 1 */
    double epoch; /* with fraction */
    double loss;
    double validation_loss; /* NAN: not measured at this step (empty in the file) */
    double learning_rate, gradient_norm, images_per_second, seconds;
    double validation_psnr;       /* dB, of an autoencoder; NAN as above */
    double class_validation_loss; /* of class pictures that are never trained on; NAN as above */
} journal_row;

typedef struct journal journal;

/* Create the folder where missing; go on with its loss.csv, keeping rows up to `last_step` (0: start anew).
 */
kiln_status journal_open(const char *folder, int64_t last_step, journal **out, kiln_error *) KILN_CHECKED;
void journal_close(journal *);
kiln_status journal_add(journal *, const journal_row *, kiln_error *) KILN_CHECKED;
/* Write loss.png. Does nothing with fewer than 2 rows. */
kiln_status journal_plot(const journal *, kiln_error *) KILN_CHECKED;
size_t journal_rows(const journal *);
const journal_row *journal_row_at(const journal *, size_t index);
/* Seconds of all earlier sittings: those of the last row kept. */
double journal_seconds(const journal *);

typedef struct journal_progress {
    int64_t step, steps; /* done, in all */
    double epoch, epochs;
    double loss; /* smoothed or not, as the caller likes */
    double learning_rate, images_per_second;
    double seconds_left; /* NAN: not known yet */
} journal_progress;

/* "epoch 3/10  step 120/4000  loss 0.1234  lr 1.0e-04  12.3 images/s  1 h 02 min left" into text; returns
 * text. */
enum { JOURNAL_LINE = 160 };
const char *journal_progress_line(const journal_progress *, char text[JOURNAL_LINE]);

#endif
