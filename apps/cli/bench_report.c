/* bench_report.c - see bench_report.h. */
#include "bench_report.h"

#include "message.h"

#include <kiln/plot.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEST = 5 };

/* ------------------------------------------------------------------------------------ the table */

/* The nearest row of a series within the budget; NULL: none. */
static const bench_row *within(const bench_series *s, double budget)
{
    const bench_row *best = NULL;
    for (int i = 0; i < s->count; i++)
        if (s->row[i].evaluations <= budget && (!best || s->row[i].distance < best->distance))
            best = &s->row[i];
    return best;
}

/* Nearest of those that are not in `taken`; -1: none. */
static int nearest(const bench_report *r, const char *reference, double budget, const bool *taken)
{
    int best = -1;
    double distance = INFINITY;
    for (int i = 0; i < r->count; i++) {
        const bench_row *row = taken[i] ? NULL : within(&r->series[i], budget);
        if (row && strcmp(row->reference, reference) == 0 && row->distance < distance) {
            best = i;
            distance = row->distance;
        }
    }
    return best;
}

static void print_budget(const bench_report *r, const char *reference, int budget, bool *taken)
{
    memset(taken, 0, (size_t)r->count * sizeof *taken);
    for (int place = 0; place < BEST; place++) {
        int i = nearest(r, reference, budget, taken);
        if (i < 0 && place == 0)
            return;
        if (i < 0)
            break;
        taken[i] = true;
        if (place == 0)
            printf("%11d  ", budget);
        printf("%s%s %.2g", place ? ", " : "", r->series[i].label, within(&r->series[i], budget)->distance);
    }
    printf("\n");
}

void bench_report_print(const bench_report *r)
{
    static const char *const references[][2] = {
        {"ode", "nearest to the solution of the probability flow"},
        {"sde", "nearest to the solution of the SDE on the same path of noise"}};
    bool *taken = calloc((size_t)r->count + 1, sizeof *taken);
    for (int k = 0; taken && k < 2; k++) {
        bool any = false;
        for (int i = 0; i < r->count; i++)
            any = any || (r->series[i].count && strcmp(r->series[i].row[0].reference, references[k][0]) == 0);
        if (!any)
            continue;
        printf("evaluations  %s\n", references[k][1]);
        for (int b = 0; b < r->budget_count; b++)
            print_budget(r, references[k][0], r->budgets[b], taken);
    }
    free(taken);
}

/* ------------------------------------------------------------------------------------ the plot */

/* Solid: one evaluation a step; dashed: more, or as many as it likes; dotted: with noise. */
static kiln_plot_line line_of(const bench_series *s)
{
    const bench_row *last = &s->row[s->count - 1];
    if (strcmp(last->reference, "sde") == 0)
        return KILN_PLOT_DOTTED;
    return last->steps == 0 || last->evaluations > 1.3 * last->steps ? KILN_PLOT_DASHED : KILN_PLOT_SOLID;
}

/* How exactly the reference of the probability flow is known. */
static double accuracy_of(const bench_report *r)
{
    for (int i = 0; i < r->count; i++)
        if (r->series[i].count && strcmp(r->series[i].row[0].reference, "ode") == 0)
            return r->series[i].row[0].accuracy;
    return 0;
}

static int points_of(const bench_series *s, double *x, double *y)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        if (s->row[i].distance > s->row[i].accuracy) {
            x[n] = s->row[i].evaluations;
            y[n++] = s->row[i].distance;
        }
    return n;
}

static kiln_status draw(const bench_report *r, kiln_plot_curve *curves, double *points, const char *path,
                        kiln_error *err)
{
    int n = 0;
    for (int i = 0; i < r->count; i++) {
        const bench_series *s = &r->series[i];
        double *x = points, *y = points + s->count;
        int count = points_of(s, x, y);
        points += 2 * s->count;
        if (count)
            curves[n++] = (kiln_plot_curve){s->label, x, y, count, line_of(s)};
    }
    if (n == 0) {
        snprintf(
            err->text, sizeof err->text,
            "no sampler is farther from the reference than that is exact: it needs more --reference-steps");
        return KILN_MISMATCH;
    }
    kiln_plot p = {.title = r->title,
                   .subtitle = r->subtitle,
                   .x_label = "evaluations of the model",
                   .y_label = "distance to the solution",
                   .x_logarithmic = true,
                   .y_logarithmic = true,
                   .curves = curves,
                   .count = n,
                   .y_most = 2, /* what is farther has nothing to do with the solution */
                   .level = accuracy_of(r),
                   .level_label = "as exactly as the solution is known",
                   .font = r->font};
    kiln_image *picture = NULL;
    kiln_status status = kiln_plot_draw(&p, &picture, err);
    if (status == KILN_OK)
        status = kiln_image_write(path, picture, 0, err);
    kiln_image_free(picture);
    return status;
}

int bench_report_plot(const bench_report *r, const char *path)
{
    size_t count = 1;
    for (int i = 0; i < r->count; i++)
        count += 2 * (size_t)r->series[i].count;
    kiln_plot_curve *curves = calloc((size_t)r->count + 1, sizeof *curves);
    double *points = calloc(count, sizeof *points);
    kiln_error err = {.text = "not enough memory for the plot"};
    kiln_status status = curves && points ? draw(r, curves, points, path, &err) : KILN_NO_MEMORY;
    free(curves);
    free(points);
    return status ? complain_error(&err) : EXIT_OK;
}
