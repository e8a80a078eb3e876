/* adafactor.c - Adafactor (Shazeer and Stern 2018, algorithms 4 to 6): the second moment of a matrix is kept
 * as the sums of its rows and columns, v[r][c] = row[r] col[c] / mean(row); the update is limited in its
 * root-mean-square; without a given rate it is relative to the parameter's own size. A tensor [a, b, c, d] is
 * the matrix [a, b c d]. */
#include "base/clones.h"
#include "train/optimizer_parts.h"

#include <math.h>

enum { COLUMN_BLOCK = 256 };

typedef struct adafactor {
    slot *s;
    const float *g;
    float scale, old, fresh, epsilon; /* of the second moment: old v + fresh (g^2 + epsilon) */
    float row_mean;
    float rate, keep, beta1, rest1;
} adafactor;

/* state[0]: rows, or all; state[1]: columns; state[2]: first moment, where there is one. */

/* Sums run in eight lanes, whatever the width of a register. */
enum { LANES = 8 };

CLONES static float mean_of_squares(const adafactor *self, const float *restrict g, int64_t n)
{
    const float scale = self->scale, epsilon = self->epsilon;
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)(g[i + j] * scale * (g[i + j] * scale) + epsilon);
    for (; i < n; i++)
        lanes[0] += (double)(g[i] * scale * (g[i] * scale) + epsilon);
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return (float)(sum / (double)n);
}

static void sum_rows(void *self, int64_t begin, int64_t end)
{
    adafactor *a = self;
    for (int64_t r = begin; r < end; r++)
        a->s->state[0][r] = a->old * a->s->state[0][r] +
                            a->fresh * mean_of_squares(a, a->g + r * a->s->columns, a->s->columns);
}

CLONES static void sum_some_columns(const adafactor *self, int64_t begin, int64_t end)
{
    const adafactor a = *self;
    const int64_t columns = a.s->columns, n = end - begin;
    float *restrict state = a.s->state[1];
    double sum[COLUMN_BLOCK] = {0};
    for (int64_t r = 0; r < a.s->rows; r++) {
        const float *restrict g = a.g + r * columns + begin;
        for (int64_t c = 0; c < n; c++)
            sum[c] += (double)(g[c] * a.scale * (g[c] * a.scale) + a.epsilon);
    }
    for (int64_t c = 0; c < n; c++)
        state[begin + c] = a.old * state[begin + c] + a.fresh * (float)(sum[c] / (double)a.s->rows);
}

static void sum_columns(void *self, int64_t begin, int64_t end)
{
    sum_some_columns(self, begin, end);
}

static void square_all(void *self, int64_t begin, int64_t end)
{
    adafactor *a = self;
    for (int64_t i = begin; i < end; i++) {
        float g = a->g[i] * a->scale;
        a->s->state[0][i] = a->old * a->s->state[0][i] + a->fresh * (g * g + a->epsilon);
    }
}

/* The updates of elements begin..end-1, at most SUM_BLOCK, before they are limited: g / sqrt(v). */
CLONES static void raw_updates(const adafactor *self, int64_t begin, int64_t end, float *restrict to)
{
    const adafactor a = *self;
    if (!a.s->rows) {
        const float *restrict v = a.s->state[0];
        for (int64_t i = begin; i < end; i++)
            to[i - begin] = a.g[i] * a.scale / sqrtf(v[i]);
        return;
    }
    const float *restrict by_column = a.s->state[1];
    for (int64_t i = begin; i < end;) {
        int64_t row = i / a.s->columns, first = row * a.s->columns;
        int64_t stop = first + a.s->columns < end ? first + a.s->columns : end;
        float root = sqrtf(a.s->state[0][row] / a.row_mean);
        for (; i < stop; i++)
            to[i - begin] = a.g[i] * a.scale / (root * sqrtf(by_column[i - first]));
    }
}

static double update_squares(void *self, int64_t begin, int64_t end)
{
    float updates[SUM_BLOCK];
    double sum = 0;
    raw_updates(self, begin, end, updates);
    for (int64_t i = 0; i < end - begin; i++)
        sum += (double)updates[i] * (double)updates[i];
    return sum;
}

static double value_squares(void *self, int64_t begin, int64_t end)
{
    const float *values = ((adafactor *)self)->s->values;
    double sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += (double)values[i] * (double)values[i];
    return sum;
}

static double row_sum(void *self, int64_t begin, int64_t end)
{
    const float *rows = ((adafactor *)self)->s->state[0];
    double sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += (double)rows[i];
    return sum;
}

static void apply(void *self, int64_t begin, int64_t end)
{
    const adafactor a = *(adafactor *)self;
    float *restrict p = a.s->values, *restrict m = a.s->state[2], updates[SUM_BLOCK];
    raw_updates(self, begin, end, updates);
    for (int64_t i = begin; i < end; i++) {
        float update = updates[i - begin] * a.rate;
        if (m)
            update = m[i] = a.beta1 * m[i] + a.rest1 * update;
        p[i] = p[i] * a.keep - update;
    }
}

void adafactor_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate)
{
    const optimizer_options *options = &o->options;
    double t = (double)*s->steps, old = 1 - pow(t, options->decay_rate);
    adafactor a = {.s = s,
                   .g = gradient,
                   .scale = scale,
                   .old = (float)old,
                   .fresh = (float)(1 - old),
                   .epsilon = (float)options->epsilon,
                   .beta1 = (float)options->beta1,
                   .rest1 = (float)(1 - options->beta1)};
    double count = (double)s->count;
    if (options->scale_parameter) {
        double size = sqrt(sum_of_blocks(s->count, &a, value_squares) / count);
        rate *= size > options->epsilon_scale ? size : options->epsilon_scale;
    }
    if (s->rows) {
        in_blocks(s->rows, 16, &a, sum_rows);
        in_blocks(s->columns, COLUMN_BLOCK, &a, sum_columns);
        a.row_mean = (float)(sum_of_blocks(s->rows, &a, row_sum) / (double)s->rows);
    } else {
        in_blocks(s->count, SUM_BLOCK, &a, square_all);
    }
    double size = sqrt(sum_of_blocks(s->count, &a, update_squares) / count) / options->clip_threshold;
    a.rate = (float)(rate / (size > 1 ? size : 1));
    a.keep = (float)(1 - (s->decay ? rate * options->weight_decay : 0));
    in_blocks(s->count, SUM_BLOCK, &a, apply);
}
