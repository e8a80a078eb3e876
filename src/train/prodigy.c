/* prodigy.c - Prodigy (Mishchenko and Defazio 2023, algorithm 4): Adam whose rate grows to an estimate d of
 * the distance to the solution, from how far the parameters have gone along their gradients. state: m, v, s,
 * p0 (the start). */
#include "base/clones.h"
#include "train/optimizer_parts.h"

#include <math.h>

typedef struct prodigy {
    slot *s;
    const float *g;
    float scale, beta1, rest1, beta2, rest2, beta3, add_s;
    float rate, keep, epsilon;
} prodigy;

/* Sums run in eight lanes, whatever the width of a register. */
enum { LANES = 8 };

INLINE double total_of(const double lanes[LANES])
{
    double total = 0;
    for (int j = 0; j < LANES; j++)
        total += lanes[j];
    return total;
}

CLONES static double sum_along(const prodigy *c, int64_t begin, int64_t end)
{
    const float *p = c->s->values, *start = c->s->state[3], *gradient = c->g;
    const float scale = c->scale;
    double lanes[LANES] = {0};
    int64_t i = begin;
    for (; i + LANES <= end; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)(gradient[i + j] * scale) * (double)(start[i + j] - p[i + j]);
    for (; i < end; i++)
        lanes[0] += (double)(gradient[i] * scale) * (double)(start[i] - p[i]);
    return total_of(lanes);
}

static double along(void *self, int64_t begin, int64_t end)
{
    return sum_along(self, begin, end);
}

/* Moments and s; gives the sum of |s|. */
CLONES static double gather_part(const prodigy *self, int64_t begin, int64_t end)
{
    const prodigy c = *self;
    float *restrict m = c.s->state[0], *restrict v = c.s->state[1], *restrict s = c.s->state[2];
    double lanes[LANES] = {0};
    for (int64_t i = begin; i < end; i++) {
        float g = c.g[i] * c.scale;
        m[i] = c.beta1 * m[i] + c.rest1 * g;
        v[i] = c.beta2 * v[i] + c.rest2 * g * g;
        s[i] = c.beta3 * s[i] + c.add_s * g;
    }
    int64_t i = begin;
    for (; i + LANES <= end; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)fabsf(s[i + j]);
    for (; i < end; i++)
        lanes[0] += (double)fabsf(s[i]);
    return total_of(lanes);
}

static double gather(void *self, int64_t begin, int64_t end)
{
    return gather_part(self, begin, end);
}

CLONES static void apply_part(const prodigy *self, int64_t begin, int64_t end)
{
    const prodigy c = *self;
    float *restrict p = c.s->values;
    const float *restrict m = c.s->state[0], *restrict v = c.s->state[1];
    for (int64_t i = begin; i < end; i++)
        p[i] = p[i] * c.keep - c.rate * (m[i] / (sqrtf(v[i]) + c.epsilon));
}

static void apply(void *self, int64_t begin, int64_t end)
{
    apply_part(self, begin, end);
}

/* d from numerator and denominator, as the published implementation has it. */
static void estimate(optimizer *o, double denominator)
{
    const optimizer_options *options = &o->options;
    double *d = &o->scalars[PRODIGY_D], *d_max = &o->scalars[PRODIGY_D_MAX];
    double guess = options->d_coef * o->scalars[PRODIGY_NUMERATOR] / denominator;
    if (*d == options->d0 && guess > *d)
        *d = guess;
    if (guess > *d_max)
        *d_max = guess;
    double grown = *d * options->growth_rate;
    *d = *d_max < grown ? *d_max : grown;
}

void prodigy_step(optimizer *o, const float *const *gradients, float scale, double rate)
{
    const optimizer_options *options = &o->options;
    double beta3 = options->beta3 > 0 ? options->beta3 : sqrt(options->beta2), t = (double)o->step;
    double d = o->scalars[PRODIGY_D], denominator = 0;
    double bias =
        options->use_bias_correction ? sqrt(1 - pow(options->beta2, t)) / (1 - pow(options->beta1, t)) : 1;
    double d_rate = d * rate * bias;
    o->rate = d_rate;
    if (!(rate > 0))
        return;
    o->scalars[PRODIGY_NUMERATOR] *= beta3;
    prodigy c = {.scale = scale,
                 .beta1 = (float)options->beta1,
                 .rest1 = (float)(d * (1 - options->beta1)),
                 .beta2 = (float)options->beta2,
                 .rest2 = (float)(d * d * (1 - options->beta2)),
                 .beta3 = (float)beta3,
                 .add_s = (float)(d / options->d0 * (options->safeguard_warmup ? d : d_rate))};
    for (size_t i = 0; i < o->count; i++) {
        c.s = &o->slots[i];
        c.g = gradients[i];
        if (!c.g || c.s->count == 0)
            continue;
        o->scalars[PRODIGY_NUMERATOR] += d / options->d0 * d_rate * sum_of_blocks(c.s->count, &c, along);
        denominator += sum_of_blocks(c.s->count, &c, gather);
    }
    if (!(denominator > 0)) /* all gradients are 0 so far */
        return;
    estimate(o, denominator);
    c.epsilon = (float)(o->scalars[PRODIGY_D] * options->epsilon);
    for (size_t i = 0; i < o->count; i++) {
        c.s = &o->slots[i];
        c.g = gradients[i];
        if (!c.g)
            continue;
        c.rate = (float)(d_rate * c.s->rate_factor);
        c.keep = (float)(1 - (c.s->decay ? d_rate * c.s->rate_factor * options->weight_decay : 0));
        in_blocks(c.s->count, SUM_BLOCK, &c, apply);
    }
}
