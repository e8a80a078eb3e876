/* sgd.c - stochastic gradient descent in torch's form:
 *   g += wd p;  b = momentum b + g (b = g at first);  p -= lr b, or with Nesterov p -= lr (g + momentum b) */
#include "base/clones.h"
#include "train/optimizer_parts.h"

typedef struct sgd {
    float *p, *b;
    const float *g;
    float scale, decay, momentum, rate;
    bool nesterov;
} sgd;

CLONES static void update(const sgd *s, int64_t begin, int64_t end)
{
    float *restrict p = s->p, *restrict b = s->b;
    const float *restrict gradient = s->g;
    const sgd c = *s;
    for (int64_t i = begin; i < end; i++) {
        float g = gradient[i] * c.scale + c.decay * p[i];
        if (b) {
            b[i] = c.momentum * b[i] + g;
            g = c.nesterov ? g + c.momentum * b[i] : b[i];
        }
        p[i] -= c.rate * g;
    }
}

static void work(void *self, int64_t begin, int64_t end)
{
    update(self, begin, end);
}

void sgd_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate)
{
    const optimizer_options *options = &o->options;
    sgd c = {.p = s->values,
             .b = s->state[0],
             .g = gradient,
             .scale = scale,
             .decay = s->decay ? (float)options->weight_decay : 0.0f,
             .momentum = (float)options->momentum,
             .rate = (float)rate,
             .nesterov = options->nesterov};
    in_blocks(s->count, SUM_BLOCK, &c, work);
}
