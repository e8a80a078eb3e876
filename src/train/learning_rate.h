/* learning_rate.h - the learning rate of step n, a pure function.
 *
 * Names and meanings as in diffusers' get_scheduler and kohya (constant, constant_with_warmup, linear,
 * cosine, cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay), OneTrainer's REX (Chen et al.
 * 2021, "REX: Revisiting Budgeted Training"), and A1111's stepped lists "0.001:100, 1e-5:1000" (rate until
 * step, the last may be without). */
#ifndef KILN_TRAIN_LEARNING_RATE_H
#define KILN_TRAIN_LEARNING_RATE_H

#include "base/error.h"

typedef struct learning_rate_options {
    const char *learning_rate;   /* "1e-4", or a stepped list, which goes with lr_scheduler "constant" only */
    const char *lr_scheduler;    /* "constant" when NULL */
    double lr_warmup_steps;      /* steps; below 1: share of train_steps */
    double lr_decay_steps;       /* warmup_stable_decay: length of the decay; below 1: share */
    int lr_scheduler_num_cycles; /* cosine_with_restarts: 1 */
    double lr_scheduler_power;   /* polynomial: 1 */
    double lr_scheduler_min_lr_ratio; /* 0: the end, as a share of the rate: cosine, linear, polynomial, rex,
                                         wsd */
    int64_t lr_scheduler_timescale;   /* inverse_sqrt; 0: the warm-up's length, or 10000 without */
    int64_t train_steps;
} learning_rate_options;

learning_rate_options learning_rate_defaults(void);

enum { LEARNING_RATE_MAX_PIECES = 64 };
/* Plain data, copied freely. Fields are learning_rate.c's. */
typedef struct learning_rate {
    int kind, pieces, cycles;
    double rate[LEARNING_RATE_MAX_PIECES];
    int64_t until[LEARNING_RATE_MAX_PIECES];
    double warmup, decay, power, least, timescale;
    int64_t steps;
} learning_rate;

/* BAD_ARGUMENT names the option, what it takes and what it was. */
kiln_status learning_rate_init(learning_rate *, const learning_rate_options *, kiln_error *) KILN_CHECKED;
/* The rate for optimizer step `step` = 0, 1, ... */
double learning_rate_at(const learning_rate *, int64_t step);
/* With a stepped list that ends ("..., 1e-5:1000"): the step it ends at; else 0. */
int64_t learning_rate_last_step(const learning_rate *);

#endif
