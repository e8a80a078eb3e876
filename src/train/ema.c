/* ema.c - see ema.h. */
#include "train/ema.h"

#include <math.h>

ema_options ema_defaults(void)
{
    return (ema_options){
        .kind = EMA_OFF, .decay = 0.9999, .inv_gamma = 1, .power = 2.0 / 3, .update_every = 1};
}

kiln_status ema_options_check(const ema_options *o, kiln_error *err)
{
    if (!(o->decay >= 0 && o->decay < 1) || !(o->min_decay >= 0 && o->min_decay <= o->decay))
        return fail(err, KILN_BAD_ARGUMENT,
                    "ema_decay is 0 or more and below 1, ema_min_decay not above it; found %g and %g",
                    o->decay, o->min_decay);
    if (!(o->inv_gamma > 0) || !(o->power > 0))
        return fail(err, KILN_BAD_ARGUMENT, "ema_inv_gamma and ema_power are above 0, not %g and %g",
                    o->inv_gamma, o->power);
    if (o->update_every < 1 || o->update_after_step < 0)
        return fail(err, KILN_BAD_ARGUMENT,
                    "ema_update_every is 1 or more and ema_update_after_step 0 or more");
    return KILN_OK;
}

double ema_decay(const ema_options *o, int64_t step)
{
    if (o->kind == EMA_OFF || step % o->update_every != 0)
        return 1;
    if (o->kind == EMA_CONSTANT)
        return step > o->update_after_step ? o->decay : 0;
    double k = (double)(step - o->update_after_step - 1);
    if (k <= 0)
        return 0;
    double grown = o->kind == EMA_WARMUP ? 1 - pow(1 + k / o->inv_gamma, -o->power) : (1 + k) / (10 + k);
    double decay = grown < o->decay ? grown : o->decay;
    return decay > o->min_decay ? decay : o->min_decay;
}

void ema_update(float *average, const float *values, size_t n, double decay)
{
    if (decay >= 1)
        return;
    float share = (float)(1 - decay);
    int64_t count = (int64_t)n;
    if (decay <= 0) { /* exactly the weights */
#pragma omp parallel for simd schedule(static) if (count > 65536)
        for (int64_t i = 0; i < count; i++)
            average[i] = values[i];
        return;
    }
#pragma omp parallel for simd schedule(static) if (count > 65536)
    for (int64_t i = 0; i < count; i++)
        average[i] -= share * (average[i] - values[i]);
}
