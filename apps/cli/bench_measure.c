/* bench_measure.c - see bench_measure.h. */
#include "bench_measure.h"

#include "interrupt.h"
#include "message.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void bench_set_sampler(drawing *d, const char *sampler, const char *schedule, int steps)
{
    d->values->sampler = sampler;
    d->values->schedule = schedule;
    d->values->steps = steps;
    drawing_apply(d);
}

/* ------------------------------------------------------------------------------------ drawing */

/* The latents of drawing k with what set_sampler() chose. *out: free(). */
static int latents_of(drawing *d, bench *b, int k, float **out, double *evaluations)
{
    seed_choice seed = {0};
    value_seed(b->seeds.values[k % b->seeds.count], &seed);
    d->values->seed = seed;
    if (b->prompts.count)
        d->values->prompt = b->prompts.values[k / b->seeds.count];
    double eta = d->options->eta;
    drawing_apply(d);
    d->options->eta = eta;
    kiln_error err = {0};
    kiln_map *map = NULL;
    const char *name;
    const int64_t *shape;
    int rank;
    if (interrupt_seen())
        return EXIT_STOPPED;
    kiln_status status = kiln_draw_latents(d->open.session, d->options, &map, &err);
    progress_clear();
    if (status != KILN_OK)
        return complain_error(&err);
    const float *x = kiln_map_tensor(map, 0, &name, &rank, &shape);
    b->elements = (int)(shape[1] * shape[2] * shape[3]);
    *out = malloc((size_t)b->elements * sizeof **out);
    if (*out)
        memcpy(*out, x, (size_t)b->elements * sizeof **out);
    else
        complain("not enough memory for the latents");
    kiln_map_free(map);
    *evaluations = kiln_session_evaluations(d->open.session);
    return *out ? EXIT_OK : EXIT_FAILED;
}

static double distance_of(const float *x, const float *from, int n)
{
    double off = 0, size = 0;
    for (int i = 0; i < n; i++) {
        double a = (double)x[i] - (double)from[i];
        off += a * a;
        size += (double)from[i] * (double)from[i];
    }
    return sqrt(off / size);
}

/* ------------------------------------------------------------------------------------ references */

/* Order 3 without noise for the probability flow. Along a path of noise no solver has more than order 1: that one of one
 * evaluation a step with the least error, with more steps. */
static void set_reference(drawing *d, bool sde, int steps)
{
    if (sde) {
        bench_set_sampler(d, "DPM++ 2M SDE", "Karras", 4 * steps < 1000 ? 4 * steps : 1000);
    } else {
        bench_set_sampler(d, "SEEDS 3", "Normal", steps);
        d->options->eta = 0;
    }
}

static int find_reference(drawing *d, bench *b, bool sde, reference *r)
{
    float **found = calloc((size_t)b->drawings, sizeof *found), *coarse;
    double evaluations, accuracy = 0;
    int status = found ? EXIT_OK : EXIT_FAILED;
    r->latents = found;
    for (int k = 0; status == EXIT_OK && k < b->drawings; k++) {
        coarse = NULL;
        if (!d->values->quiet)
            fprintf(stderr, "kiln: reference %d of %d of the %s\n", k + 1, b->drawings,
                    sde ? "SDE" : "probability flow");
        set_reference(d, sde, b->values.reference_steps);
        status = latents_of(d, b, k, &found[k], &evaluations);
        set_reference(d, sde, b->values.reference_steps / 2);
        if (status == EXIT_OK)
            status = latents_of(d, b, k, &coarse, &evaluations);
        if (status == EXIT_OK)
            accuracy += distance_of(coarse, found[k], b->elements) / b->drawings;
        free(coarse);
    }
    r->accuracy = accuracy;
    if (status == EXIT_OK && !d->values->quiet)
        fprintf(stderr, "kiln: with half the steps it is %.2g away\n", accuracy);
    return status;
}

static void free_reference(const reference *r, int count)
{
    for (int k = 0; r->latents && k < count; k++)
        free(r->latents[k]);
    free(r->latents);
}

void bench_free_references(bench *b)
{
    free_reference(&b->ode, b->drawings);
    free_reference(&b->sde, b->drawings);
}

/* ------------------------------------------------------------------------------------ measuring */

static int measure(drawing *d, bench *b, const contestant *c, bench_row *row)
{
    bool sde = c->equation == KILN_EQUATION_SDE;
    reference *r = sde ? &b->sde : &b->ode;
    int status = r->latents ? EXIT_OK : find_reference(d, b, sde, r);
    double sum = 0, squares = 0;
    for (int k = 0; status == EXIT_OK && k < b->drawings; k++) {
        float *x = NULL;
        double evaluations = 0;
        bench_set_sampler(d, c->sampler, c->schedule, row->steps ? row->steps : b->step[0]);
        status = latents_of(d, b, k, &x, &evaluations);
        if (status == EXIT_OK) {
            double distance = distance_of(x, r->latents[k], b->elements);
            sum += distance;
            squares += distance * distance;
            row->evaluations += evaluations / b->drawings;
        }
        free(x);
    }
    row->drawings = b->drawings;
    row->distance = sum / b->drawings;
    if (b->drawings > 1)
        row->spread = sqrt(fmax(0, squares - sum * row->distance) / (b->drawings - 1));
    row->accuracy = r->accuracy;
    if (status == EXIT_OK && !isfinite(row->distance)) {
        row->distance = 1e30;
        row->spread = 0;
    }
    return status;
}

bench_row bench_blank(const bench *b, const contestant *c, int steps)
{
    bench_row row = {.steps = c->adaptive ? 0 : steps, .settings = b->settings};
    snprintf(row.sampler, sizeof row.sampler, "%s", c->sampler);
    snprintf(row.schedule, sizeof row.schedule, "%s", c->written);
    snprintf(row.reference, sizeof row.reference, "%s", c->equation == KILN_EQUATION_SDE ? "sde" : "ode");
    return row;
}

static void tell(const bench_row *r)
{
    fprintf(stderr, "kiln: %s", r->sampler);
    if (*r->schedule)
        fprintf(stderr, ", %s", r->schedule);
    if (r->steps)
        fprintf(stderr, ", %d steps", r->steps);
    fprintf(stderr, ": %g evaluations, %.2g away\n", r->evaluations, r->distance);
}

int bench_measure(drawing *d, bench *b, const contestant *c)
{
    int most = b->step[b->steps.count - 1];
    double each = 1;
    for (int i = 0; i < b->steps.count; i++) {
        bench_row row = bench_blank(b, c, b->step[i]);
        const bench_row *there = bench_rows_find(&b->rows, &row);
        if ((!there && i > 0 && row.steps * each > most + 1) || (c->adaptive && i > 0))
            break;
        if (!there) {
            int status = measure(d, b, c, &row);
            if (status == EXIT_OK)
                status = bench_rows_keep(&b->rows, &row, b->values.table);
            if (status)
                return status;
            if (!d->values->quiet)
                tell(&row);
            there = &row;
        }
        if (row.steps)
            each = there->evaluations / row.steps;
    }
    return EXIT_OK;
}
