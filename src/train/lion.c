/* lion.c - Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2):
 *   p -= lr (sign(b1 m + (1-b1) g) + wd p);  m = b2 m + (1-b2) g */
#include "base/clones.h"
#include "train/optimizer_parts.h"

typedef struct lion {
    float *p, *m;
    const float *g;
    float scale, keep, beta1, rest1, beta2, rest2, rate;
} lion;

CLONES static void update(const lion *l, int64_t begin, int64_t end)
{
    float *restrict p = l->p, *restrict m = l->m;
    const float *restrict gradient = l->g;
    const lion c = *l;
    for (int64_t i = begin; i < end; i++) {
        float g = gradient[i] * c.scale, way = c.beta1 * m[i] + c.rest1 * g;
        float sign = way > 0 ? 1.0f : way < 0 ? -1.0f : 0.0f;
        p[i] = p[i] * c.keep - c.rate * sign;
        m[i] = c.beta2 * m[i] + c.rest2 * g;
    }
}

static void work(void *self, int64_t begin, int64_t end)
{
    update(self, begin, end);
}

void lion_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate)
{
    const optimizer_options *options = &o->options;
    lion l = {.p = s->values,
              .m = s->state[0],
              .g = gradient,
              .scale = scale,
              .keep = (float)(1 - (s->decay ? rate * options->weight_decay : 0)),
              .beta1 = (float)options->beta1,
              .rest1 = (float)(1 - options->beta1),
              .beta2 = (float)options->beta2,
              .rest2 = (float)(1 - options->beta2),
              .rate = (float)rate};
    in_blocks(s->count, SUM_BLOCK, &l, work);
}
