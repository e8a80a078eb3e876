/* loss_plot.c - see loss_plot.h. */
#include "train/loss_plot.h"

#include "image/bitmap_font.h"
#include "image/chart.h"
#include "image/picture_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEFT = 92,
    RIGHT = 24,
    TOP = 44,
    BOTTOM = 58,
    INSIDE_WIDTH = LOSS_PLOT_WIDTH - LEFT - RIGHT,
    INSIDE_HEIGHT = LOSS_PLOT_HEIGHT - TOP - BOTTOM,
    TEXT_SCALE = 2,
    X_TICKS = 8,
    Y_TICKS = 6
};

static const chart_colour pale = {168, 198, 236}, dark = {24, 90, 180}, orange = {224, 104, 16};

typedef struct plot {
    const journal_row *rows;
    size_t count;
    double *smooth;
    chart chart;
} plot;

/* ------------------------------------------------------------------------------------ scales */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* From all losses, without the outermost hundredth of the single steps: one wild step does not flatten the
 * rest. */
static kiln_status set_y(plot *p, kiln_error *err)
{
    double *values = malloc(p->count * sizeof *values), least = INFINITY, most = -INFINITY;
    if (!values)
        return fail(err, KILN_NO_MEMORY, "no memory for the plot");
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        if (isfinite(p->rows[i].loss))
            values[n++] = p->rows[i].loss;
    qsort(values, n, sizeof *values, compare_doubles);
    if (n) {
        least = values[n / 200];
        most = values[n - 1 - n / 100];
    }
    free(values);
    for (size_t i = 0; i < p->count; i++) {
        double validation = p->rows[i].validation_loss;
        if (isfinite(validation)) {
            least = fmin(least, validation);
            most = fmax(most, validation);
        }
    }
    if (!isfinite(least) || !isfinite(most)) {
        least = 0;
        most = 1;
    }
    p->chart.y.logarithmic = least > 0 && most > 20 * least;
    if (p->chart.y.logarithmic) {
        least = log10(least);
        most = log10(most);
    }
    double room = (most - least) * 0.06;
    if (!(room > 0))
        room = fabs(least) > 0 ? fabs(least) * 0.1 : 0.5;
    p->chart.y.most = most + room;
    p->chart.y.least = !p->chart.y.logarithmic && least >= 0 && least - room < 0 ? 0 : least - room;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ curves */

static void draw_frame(const plot *p)
{
    double x[CHART_TICKS], y[CHART_TICKS];
    int x_count = chart_ticks(&p->chart.x, X_TICKS, true, x),
        y_count = chart_ticks(&p->chart.y, Y_TICKS, false, y);
    chart_frame(&p->chart, x, x_count, y, y_count);
}

/* One curve; a column that holds several points gets the stretch between the least and the largest. */
static void draw_steps(const plot *p)
{
    double last_x = NAN, last_y = NAN;
    for (size_t i = 0; i < p->count; i++) {
        if (!isfinite(p->rows[i].loss))
            continue;
        double x = chart_x(&p->chart, (double)p->rows[i].step), y = chart_y(&p->chart, p->rows[i].loss);
        if (!isnan(last_x) && fabs(x - last_x) < 0.01 && fabs(y - last_y) < 0.5)
            continue;
        chart_stroke(&p->chart, isnan(last_x) ? x : last_x, isnan(last_x) ? y : last_y, x, y, 1.0, pale);
        last_x = x;
        last_y = y;
    }
}

static void draw_smooth(const plot *p)
{
    double last_x = NAN, last_y = NAN;
    for (size_t i = 0; i < p->count; i++) {
        if (!isfinite(p->smooth[i]))
            continue;
        double x = chart_x(&p->chart, (double)p->rows[i].step), y = chart_y(&p->chart, p->smooth[i]);
        if (!isnan(last_x))
            chart_stroke(&p->chart, last_x, last_y, x, y, 2.0, dark);
        last_x = x;
        last_y = y;
    }
}

static void draw_validation(const plot *p)
{
    double last_x = NAN, last_y = NAN;
    size_t points = 0;
    for (size_t i = 0; i < p->count; i++)
        points += isfinite(p->rows[i].validation_loss);
    double radius = points > 80 ? 3 : 6;
    for (size_t i = 0; i < p->count; i++) {
        if (!isfinite(p->rows[i].validation_loss))
            continue;
        double x = chart_x(&p->chart, (double)p->rows[i].step),
               y = chart_y(&p->chart, p->rows[i].validation_loss);
        if (!isnan(last_x))
            chart_stroke(&p->chart, last_x, last_y, x, y, 2.0, orange);
        chart_dot(&p->chart, x, y, radius, orange);
        last_x = x;
        last_y = y;
    }
}

/* A moving average to both sides, so that it does not lag; weights fall off by e over a hundredth of the run.
 */
static kiln_status smooth(plot *p, kiln_error *err)
{
    p->smooth = calloc(p->count, 2 * sizeof *p->smooth);
    if (!p->smooth)
        return fail(err, KILN_NO_MEMORY, "no memory for the plot");
    double keep = exp(-1 / fmax(1, (double)p->count / 100)), *weights = p->smooth + p->count;
    for (int pass = 0; pass < 2; pass++) {
        double sum = 0, weight = 0;
        for (size_t k = 0; k < p->count; k++) {
            size_t i = pass ? p->count - 1 - k : k;
            bool known = isfinite(p->rows[i].loss);
            double loss = known ? p->rows[i].loss : 0;
            sum = keep * sum + (pass && known ? 0 : loss); /* the step itself counts once */
            weight = keep * weight + (known && !pass);
            p->smooth[i] += sum;
            weights[i] += weight;
            if (pass && known) {
                sum += loss;
                weight += 1;
            }
        }
    }
    for (size_t i = 0; i < p->count; i++)
        p->smooth[i] = weights[i] > 0 ? p->smooth[i] / weights[i] : NAN;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ words */

static void legend(image *on, int *right, const char *name, const chart_colour c)
{
    *right -= font_text_width(name, TEXT_SCALE);
    font_draw(on, *right, 16, TEXT_SCALE, chart_ink, name);
    chart_fill(on, *right - 34, 20, *right - 8, 26, c);
    *right -= 54;
}

static void write_words(const plot *p, image *on)
{
    double ticks[CHART_TICKS];
    char text[CHART_NUMBER];
    int count = chart_ticks(&p->chart.y, Y_TICKS, false, ticks), bottom = TOP + INSIDE_HEIGHT, free_from = 0;
    for (int i = 0; i < count; i++) {
        chart_number(ticks[i], text);
        font_draw(on, LEFT - 10 - font_text_width(text, TEXT_SCALE),
                  (int)(chart_y(&p->chart, ticks[i]) / CHART_FINE) - 7, TEXT_SCALE, chart_ink, text);
    }
    count = chart_ticks(&p->chart.x, X_TICKS, true, ticks);
    for (int i = 0; i < count; i++) {
        chart_number(ticks[i], text);
        int width = font_text_width(text, TEXT_SCALE),
            x = (int)(chart_x(&p->chart, ticks[i]) / CHART_FINE) - width / 2;
        if (x < free_from || x + width > LOSS_PLOT_WIDTH)
            continue;
        font_draw(on, x, bottom + 10, TEXT_SCALE, chart_ink, text);
        free_from = x + width + 12;
    }
    font_draw(on, LEFT + INSIDE_WIDTH / 2 - 23, bottom + 34, TEXT_SCALE, chart_ink, "step");
    font_draw(on, 16, 16, TEXT_SCALE, chart_ink, p->chart.y.logarithmic ? "loss (log)" : "loss");
    int right = LOSS_PLOT_WIDTH - RIGHT;
    bool validated = false;
    for (size_t i = 0; i < p->count; i++)
        validated = validated || isfinite(p->rows[i].validation_loss);
    if (validated)
        legend(on, &right, "validation", orange);
    legend(on, &right, "smoothed", dark);
    legend(on, &right, "each step", pale);
}

kiln_status loss_plot_new(const journal_row *rows, size_t count, image **out, kiln_error *err)
{
    *out = NULL;
    if (count < 2)
        return fail(err, KILN_BAD_ARGUMENT, "a plot needs two steps, not %zu", count);
    plot p = {.rows = rows,
              .count = count,
              .chart = {.left = LEFT, .top = TOP, .width = INSIDE_WIDTH, .height = INSIDE_HEIGHT}};
    p.chart.x.least = fmin((double)rows[0].step, (double)rows[count - 1].step);
    p.chart.x.most = fmax((double)rows[count - 1].step, p.chart.x.least + 1);
    if (p.chart.x.least < 0.2 * p.chart.x.most)
        p.chart.x.least = 0;
    kiln_status status = smooth(&p, err);
    if (status == KILN_OK)
        status = set_y(&p, err);
    if (status == KILN_OK)
        status = chart_begin(&p.chart, LOSS_PLOT_WIDTH, LOSS_PLOT_HEIGHT, err);
    if (status == KILN_OK) {
        draw_frame(&p);
        draw_steps(&p);
        draw_smooth(&p);
        draw_validation(&p);
        status = chart_finish(&p.chart, out, err);
    }
    if (status == KILN_OK)
        write_words(&p, *out);
    free(p.smooth);
    return status;
}

kiln_status loss_plot_write(const char *path, const journal_row *rows, size_t count, kiln_error *err)
{
    image *picture;
    kiln_status status = loss_plot_new(rows, count, &picture, err);
    if (status == KILN_OK)
        status = image_write(path, picture, NULL, NULL, err);
    image_free(picture);
    return status;
}
