/* adamw.c - AdamW (Loshchilov and Hutter 2019, algorithm 2), in torch's order of operations:
 *   p *= 1 - lr wd;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps) */
#include "base/clones.h"
#include "train/optimizer_parts.h"

#include <math.h>

typedef struct adamw {
    float *p, *m, *v;
    const float *g;
    float scale, keep, beta1, rest1, beta2, rest2, root_correction, epsilon, rate;
} adamw;

CLONES static void update(const adamw *a, int64_t begin, int64_t end)
{
    float *restrict p = a->p, *restrict m = a->m, *restrict v = a->v;
    const float *restrict gradient = a->g;
    const adamw c = *a;
    for (int64_t i = begin; i < end; i++) {
        float g = gradient[i] * c.scale;
        m[i] = m[i] * c.beta1 + c.rest1 * g;
        v[i] = v[i] * c.beta2 + c.rest2 * g * g;
        p[i] = p[i] * c.keep - c.rate * (m[i] / (sqrtf(v[i]) / c.root_correction + c.epsilon));
    }
}

static void work(void *self, int64_t begin, int64_t end)
{
    update(self, begin, end);
}

void adamw_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate)
{
    const optimizer_options *options = &o->options;
    double t = (double)*s->steps;
    adamw a = {.p = s->values,
               .m = s->state[0],
               .v = s->state[1],
               .g = gradient,
               .scale = scale,
               .keep = (float)(1 - (s->decay ? rate * options->weight_decay : 0)),
               .beta1 = (float)options->beta1,
               .rest1 = (float)(1 - options->beta1),
               .beta2 = (float)options->beta2,
               .rest2 = (float)(1 - options->beta2),
               .root_correction = (float)sqrt(1 - pow(options->beta2, t)),
               .epsilon = (float)options->epsilon,
               .rate = (float)(rate / (1 - pow(options->beta1, t)))};
    in_blocks(s->count, SUM_BLOCK, &a, work);
}
