/* muon.c - Muon (Jordan et al. 2024): the momentum of a matrix, made orthogonal, is the way it goes.
 *   m = b m + g;  u = orthogonal(b m + g)  (without Nesterov: of m)
 *   p *= 1 - lr wd;  p -= lr 0.2 sqrt(max(rows, columns)) u
 * The factor gives the step the size that AdamW's has, so that both share rates and weight decay (Liu et al. 2025, "Muon
 * is Scalable for LLM Training"). A kernel of a convolution is the matrix [out, in x height x width]. What is no matrix
 * inside the network (biases, norms, embeddings, the first and the last convolution) goes with AdamW.
 *
 * Matrices are shared out among the threads, each whole: the bytes do not depend on their number. */
#include "backend/cpu/orthogonalize.h"
#include "base/clones.h"
#include "base/pages.h"
#include "train/optimizer_parts.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static const float like_adamw = 0.2f;

static bool has_part(const char *name, const char *part)
{
    const char *at = strstr(name, part);
    size_t length = strlen(part);
    return at && (at == name || at[-1] == '.') && at[length] == '.';
}

bool muon_takes(const optimizer_parameter *p)
{
    int64_t count = shape_count(p->shape);
    return p->shape.rank >= 2 && p->decay && p->shape.dim[0] > 1 && count > p->shape.dim[0] &&
           !has_part(p->name, "conv_in") && !has_part(p->name, "conv_out");
}

CLONES static void momentum(float *restrict m, const float *restrict gradient, float *restrict way, int64_t n,
                            float keep, float scale, float by_m)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] * scale;
        m[i] = keep * m[i] + g;
        way[i] = by_m > 0 ? by_m * m[i] + g : m[i];
    }
}

CLONES static void go(float *restrict p, const float *restrict way, int64_t n, float keep, float rate)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = p[i] * keep - rate * way[i];
}

/* Up to a whole line of the cache: both parts of the scratch, and each thread's, begin on one. */
static size_t in_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t way_bytes(const slot *s)
{
    return in_lines((size_t)s->count * sizeof(float));
}

static void matrix_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate,
                        const cpu_features *features, char *scratch)
{
    const optimizer_options *options = &o->options;
    float *way = (float *)scratch, b = (float)options->momentum;
    momentum(s->state[0], gradient, way, s->count, b, scale, options->nesterov ? b : 0);
    orthogonalize(way, s->rows, s->columns, features, scratch + way_bytes(s));
    int64_t longer = s->rows > s->columns ? s->rows : s->columns;
    go(s->values, way, s->count, (float)(1 - rate * options->weight_decay),
       (float)rate * like_adamw * sqrtf((float)longer));
}

kiln_status muon_step(optimizer *o, const float *const *gradients, float scale, double rate, kiln_error *err)
{
    cpu_features features = cpu_features_detect();
    size_t largest = 0;
    for (size_t i = 0; i < o->count; i++) {
        const slot *s = &o->slots[i];
        size_t bytes =
            s->rows ? way_bytes(s) + in_lines(orthogonalize_scratch(s->rows, s->columns, &features)) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    int threads = omp_get_max_threads();
    char *scratch = pages_new(largest * (size_t)threads);
    if (!scratch)
        return fail(err, KILN_NO_MEMORY, "no memory for a step of Muon, %zu bytes for each of %d threads",
                    largest, threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < o->count; i++)
        if (gradients[i] && o->slots[i].rows)
            matrix_step(o, &o->slots[i], gradients[i], scale, rate * o->slots[i].rate_factor, &features,
                        scratch + (size_t)omp_get_thread_num() * largest);
    pages_free(scratch, largest * (size_t)threads);
    for (size_t i = 0; i < o->count; i++)
        if (gradients[i] && o->slots[i].count > 0 && !o->slots[i].rows)
            adamw_step(o, &o->slots[i], gradients[i], scale, rate * o->slots[i].rate_factor);
    return KILN_OK;
}
