/* adafactor.c - Adafactor (Shazeer and Stern 2018, algorithms 4 to 6): the second moment of a matrix is kept
 * as the sums of its rows and columns, v[r][c] = row[r] col[c] / mean(row); the update is limited in its
 * root-mean-square; without a given rate it is relative to the parameter's own size. A tensor [a, b, c, d] is
 * the matrix [a, b c d]. */
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

static void sum_rows(void *self, int64_t begin, int64_t end)
{
    adafactor *a = self;
    for (int64_t r = begin; r < end; r++) {
        const float *g = a->g + r * a->s->columns;
        double sum = 0;
        for (int64_t c = 0; c < a->s->columns; c++)
            sum += (double)(g[c] * a->scale * (g[c] * a->scale) + a->epsilon);
        a->s->state[0][r] = a->old * a->s->state[0][r] + a->fresh * (float)(sum / (double)a->s->columns);
    }
}

static void sum_columns(void *self, int64_t begin, int64_t end)
{
    adafactor *a = self;
    double sum[COLUMN_BLOCK] = {0};
    for (int64_t r = 0; r < a->s->rows; r++) {
        const float *g = a->g + r * a->s->columns + begin;
        for (int64_t c = 0; c < end - begin; c++)
            sum[c] += (double)(g[c] * a->scale * (g[c] * a->scale) + a->epsilon);
    }
    for (int64_t c = begin; c < end; c++)
        a->s->state[1][c] =
            a->old * a->s->state[1][c] + a->fresh * (float)(sum[c - begin] / (double)a->s->rows);
}

static void square_all(void *self, int64_t begin, int64_t end)
{
    adafactor *a = self;
    for (int64_t i = begin; i < end; i++) {
        float g = a->g[i] * a->scale;
        a->s->state[0][i] = a->old * a->s->state[0][i] + a->fresh * (g * g + a->epsilon);
    }
}

/* The update of element i before it is limited: g / sqrt(v). */
static inline float raw_update(const adafactor *a, int64_t i)
{
    const slot *s = a->s;
    float g = a->g[i] * a->scale;
    if (!s->rows)
        return g / sqrtf(s->state[0][i]);
    return g / (sqrtf(s->state[0][i / s->columns] / a->row_mean) * sqrtf(s->state[1][i % s->columns]));
}

static double update_squares(void *self, int64_t begin, int64_t end)
{
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        double u = (double)raw_update(self, i);
        sum += u * u;
    }
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
    adafactor *a = self;
    float *p = a->s->values, *m = a->s->state[2];
    for (int64_t i = begin; i < end; i++) {
        float update = raw_update(a, i) * a->rate;
        if (m)
            update = m[i] = a->beta1 * m[i] + a->rest1 * update;
        p[i] = p[i] * a->keep - update;
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
