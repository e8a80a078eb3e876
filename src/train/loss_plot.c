/* loss_plot.c - see loss_plot.h. Lines are drawn at twice the size and averaged down, which smooths their
 * edges; text comes on top at the final size. */
#include "train/loss_plot.h"

#include "image/bitmap_font.h"
#include "image/picture_file.h"
#include "image/resize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINE = 2, /* how much larger lines are drawn */
    LEFT = 92,
    RIGHT = 24,
    TOP = 44,
    BOTTOM = 58,
    INSIDE_WIDTH = LOSS_PLOT_WIDTH - LEFT - RIGHT,
    INSIDE_HEIGHT = LOSS_PLOT_HEIGHT - TOP - BOTTOM,
    TEXT_SCALE = 2,
    TICKS_MAX = 64
};

typedef unsigned char colour[3];
static const colour paper = {255, 255, 255}, ink = {40, 44, 52}, grid = {226, 229, 234},
                    pale = {168, 198, 236}, dark = {24, 90, 180}, orange = {224, 104, 16};

typedef struct axis {
    double least, most; /* of the value, or of its logarithm */
    bool logarithmic;
} axis;

typedef struct plot {
    const journal_row *rows;
    size_t count;
    double *smooth;
    axis x, y;
    image *canvas; /* FINE times the size */
} plot;

/* ------------------------------------------------------------------------------------ drawing */

static void put(image *on, int x, int y, const colour c)
{
    if (x >= 0 && y >= 0 && x < on->width && y < on->height)
        memcpy((unsigned char *)on->pixels + ((size_t)y * (size_t)on->width + (size_t)x) * 3, c, 3);
}

static void disc(image *on, double x, double y, double radius, const colour c)
{
    for (int v = (int)floor(y - radius); v <= (int)ceil(y + radius); v++)
        for (int u = (int)floor(x - radius); u <= (int)ceil(x + radius); u++)
            if ((u - x) * (u - x) + (v - y) * (v - y) <= radius * radius)
                put(on, u, v, c);
}

static void line(image *on, double x0, double y0, double x1, double y1, double radius, const colour c)
{
    double length = fmax(fabs(x1 - x0), fabs(y1 - y0));
    int steps = (int)ceil(length) + 1;
    for (int i = 0; i <= steps; i++)
        disc(on, x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps, radius, c);
}

static void fill(image *on, int x0, int y0, int x1, int y1, const colour c)
{
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            put(on, x, y, c);
}

/* ------------------------------------------------------------------------------------ scales */

static double scaled(const axis *a, double value)
{
    if (a->logarithmic)
        value = value > 0 ? log10(value) : a->least;
    double part = (value - a->least) / (a->most - a->least);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

static double x_of(const plot *p, double step)
{
    return FINE * (LEFT + scaled(&p->x, step) * INSIDE_WIDTH);
}

static double y_of(const plot *p, double loss)
{
    return FINE * (TOP + (1 - scaled(&p->y, loss)) * INSIDE_HEIGHT);
}

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
    p->y.logarithmic = least > 0 && most > 20 * least;
    if (p->y.logarithmic) {
        least = log10(least);
        most = log10(most);
    }
    double room = (most - least) * 0.06;
    if (!(room > 0))
        room = fabs(least) > 0 ? fabs(least) * 0.1 : 0.5;
    p->y.most = most + room;
    p->y.least = !p->y.logarithmic && least >= 0 && least - room < 0 ? 0 : least - room;
    return KILN_OK;
}

/* Round numbers, at most `wanted` of them: 1, 2 or 5 times a power of ten apart. */
static int linear_ticks(const axis *a, int wanted, bool whole, double ticks[TICKS_MAX])
{
    double raw = (a->most - a->least) / wanted, unit = pow(10, floor(log10(raw))), step = unit * 10;
    const double factors[] = {1, 2, 5};
    for (int i = 2; i >= 0; i--)
        if (unit * factors[i] >= raw)
            step = unit * factors[i];
    if (whole && step < 1)
        step = 1;
    int count = 0;
    double first = ceil(a->least / step - 1e-9);
    for (; count < TICKS_MAX && (first + count) * step <= a->most + step * 1e-9; count++)
        ticks[count] = (first + count) * step;
    return count;
}

/* 1, 2 and 5 of each decade; of many decades the ones only. */
static int log_ticks(const axis *a, double ticks[TICKS_MAX])
{
    int count = 0, each = a->most - a->least > 3 ? 1 : 3;
    const double factors[] = {1, 2, 5};
    for (int decade = (int)floor(a->least); decade <= a->most; decade++)
        for (int i = 0; i < each && count < TICKS_MAX; i++) {
            double value = pow(10, decade) * factors[i];
            if (log10(value) >= a->least && log10(value) <= a->most)
                ticks[count++] = value;
        }
    return count;
}

static int y_ticks(const plot *p, double ticks[TICKS_MAX])
{
    return p->y.logarithmic ? log_ticks(&p->y, ticks) : linear_ticks(&p->y, 6, false, ticks);
}

/* ------------------------------------------------------------------------------------ curves */

static void draw_grid(const plot *p)
{
    double ticks[TICKS_MAX];
    fill(p->canvas, 0, 0, p->canvas->width, p->canvas->height, paper);
    int count = y_ticks(p, ticks), right = FINE * (LEFT + INSIDE_WIDTH),
        bottom = FINE * (TOP + INSIDE_HEIGHT);
    for (int i = 0; i < count; i++) {
        int y = (int)y_of(p, ticks[i]);
        fill(p->canvas, FINE * LEFT, y, right, y + FINE, grid);
    }
    count = linear_ticks(&p->x, 8, true, ticks);
    for (int i = 0; i < count; i++) {
        int x = (int)x_of(p, ticks[i]);
        fill(p->canvas, x, FINE * TOP, x + FINE, bottom, grid);
        fill(p->canvas, x, bottom, x + FINE, bottom + FINE * 5, ink);
    }
    fill(p->canvas, FINE * LEFT - FINE, FINE * TOP, FINE * LEFT, bottom + FINE, ink);
    fill(p->canvas, FINE * LEFT - FINE, bottom, right, bottom + FINE, ink);
}

/* One curve; a column that holds several points gets the stretch between the least and the largest. */
static void draw_steps(const plot *p)
{
    double last_x = NAN, last_y = NAN;
    for (size_t i = 0; i < p->count; i++) {
        if (!isfinite(p->rows[i].loss))
            continue;
        double x = x_of(p, (double)p->rows[i].step), y = y_of(p, p->rows[i].loss);
        if (!isnan(last_x) && fabs(x - last_x) < 0.01 && fabs(y - last_y) < 0.5)
            continue;
        line(p->canvas, isnan(last_x) ? x : last_x, isnan(last_x) ? y : last_y, x, y, 1.0, pale);
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
        double x = x_of(p, (double)p->rows[i].step), y = y_of(p, p->smooth[i]);
        if (!isnan(last_x))
            line(p->canvas, last_x, last_y, x, y, 2.0, dark);
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
        double x = x_of(p, (double)p->rows[i].step), y = y_of(p, p->rows[i].validation_loss);
        if (!isnan(last_x))
            line(p->canvas, last_x, last_y, x, y, 2.0, orange);
        disc(p->canvas, x, y, radius, orange);
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

static void number_text(double value, char text[32])
{
    double size = fabs(value);
    if (size >= 1e6 && fmod(size, 1e5) == 0)
        snprintf(text, 32, "%gM", value / 1e6);
    else if (size >= 1e4 && fmod(size, 100) == 0)
        snprintf(text, 32, "%gk", value / 1e3);
    else
        snprintf(text, 32, "%.6g", size < 1e-12 ? 0 : value);
}

static void legend(image *on, int *right, const char *name, const colour c)
{
    *right -= font_text_width(name, TEXT_SCALE);
    font_draw(on, *right, 16, TEXT_SCALE, ink, name);
    fill(on, *right - 34, 20, *right - 8, 26, c);
    *right -= 54;
}

static void write_words(const plot *p, image *on)
{
    double ticks[TICKS_MAX];
    char text[32];
    int count = y_ticks(p, ticks), bottom = TOP + INSIDE_HEIGHT, free_from = 0;
    for (int i = 0; i < count; i++) {
        number_text(ticks[i], text);
        font_draw(on, LEFT - 10 - font_text_width(text, TEXT_SCALE), (int)(y_of(p, ticks[i]) / FINE) - 7,
                  TEXT_SCALE, ink, text);
    }
    count = linear_ticks(&p->x, 8, true, ticks);
    for (int i = 0; i < count; i++) {
        number_text(ticks[i], text);
        int width = font_text_width(text, TEXT_SCALE), x = (int)(x_of(p, ticks[i]) / FINE) - width / 2;
        if (x < free_from || x + width > LOSS_PLOT_WIDTH)
            continue;
        font_draw(on, x, bottom + 10, TEXT_SCALE, ink, text);
        free_from = x + width + 12;
    }
    font_draw(on, LEFT + INSIDE_WIDTH / 2 - 23, bottom + 34, TEXT_SCALE, ink, "step");
    font_draw(on, 16, 16, TEXT_SCALE, ink, p->y.logarithmic ? "loss (log)" : "loss");
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
    plot p = {.rows = rows, .count = count};
    p.x.least = fmin((double)rows[0].step, (double)rows[count - 1].step);
    p.x.most = fmax((double)rows[count - 1].step, p.x.least + 1);
    if (p.x.least < 0.2 * p.x.most)
        p.x.least = 0;
    kiln_status status = smooth(&p, err);
    if (status == KILN_OK)
        status = set_y(&p, err);
    if (status == KILN_OK)
        status = image_new(LOSS_PLOT_WIDTH * FINE, LOSS_PLOT_HEIGHT * FINE, 3, 8, &p.canvas, err);
    if (status == KILN_OK) {
        draw_grid(&p);
        draw_steps(&p);
        draw_smooth(&p);
        draw_validation(&p);
        status = image_resize(p.canvas, LOSS_PLOT_WIDTH, LOSS_PLOT_HEIGHT, RESIZE_BOX, out, err);
    }
    if (status == KILN_OK)
        write_words(&p, *out);
    image_free(p.canvas);
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
