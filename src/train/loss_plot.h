/* loss_plot.h - the losses of a run as a picture. */
#ifndef KILN_TRAIN_LOSS_PLOT_H
#define KILN_TRAIN_LOSS_PLOT_H

#include "image/image.h"
#include "train/journal.h"

enum { LOSS_PLOT_WIDTH = 960, LOSS_PLOT_HEIGHT = 540 };

/* Each step's loss (pale; where several steps share a column, from the least to the largest), the loss
 * smoothed over about a fiftieth of the run (dark), the validation loss (with dots). The scale is logarithmic
 * when the losses span more than a factor of 20. Values that are no numbers are left out. */
kiln_status loss_plot_new(const journal_row *rows, size_t count, image **out, kiln_error *err) KILN_CHECKED;
/* The same to a PNG, atomically. */
kiln_status loss_plot_write(const char *path, const journal_row *rows, size_t count,
                            kiln_error *err) KILN_CHECKED;

#endif
