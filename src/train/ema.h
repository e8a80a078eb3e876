/* ema.h - the moving average of the weights, which draws better than the weights themselves.
 *
 * As diffusers' EMAModel: after optimizer step n (from 1), s -= (1 - decay(n)) * (s - p), where decay grows,
 * with k = n - update_after_step - 1:
 *   EMA_WARMUP   1 - (1 + k/inv_gamma)^-power
 *   EMA_GROWING  (1 + k) / (10 + k)
 * limited to min_decay..decay; EMA_CONSTANT takes decay from the first step. */
#ifndef KILN_TRAIN_EMA_H
#define KILN_TRAIN_EMA_H

#include "base/error.h"

typedef enum ema_kind { EMA_OFF, EMA_CONSTANT, EMA_GROWING, EMA_WARMUP } ema_kind;

typedef struct ema_options {
    ema_kind kind;             /* EMA_OFF */
    double decay;              /* 0.9999 */
    double min_decay;          /* 0 */
    double inv_gamma, power;   /* 1, 2/3 */
    int64_t update_after_step; /* 0 */
    int64_t update_every;      /* 1: steps between updates */
} ema_options;

ema_options ema_defaults(void);
kiln_status ema_options_check(const ema_options *, kiln_error *) KILN_CHECKED;
/* The decay after optimizer step `step` (from 1); 0 means: the average becomes the weights; 1: leave it (a
 * step between updates). */
double ema_decay(const ema_options *, int64_t step);
/* average -= (1 - decay) * (average - values), in f32, parallel. */
void ema_update(float *average, const float *values, size_t n, double decay);

#endif
