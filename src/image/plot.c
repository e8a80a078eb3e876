/* plot.c - see plot.h. Each curve's name stands at the right, as near to the curve's end as the others leave room, with a
 * piece of its line before it and a pale line that leads there. */
#include "image/plot.h"

#include "image/chart.h"
#include "image/lettering.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE_LEAST = 400,
    SIDE_MOST = 4096,
    CURVES_MOST = 64,
    EDGE = 16,   /* px around everything */
    SAMPLE = 34, /* px of line before a name */
    LEAD = 26,   /* px between the frame and the sample */
    X_TICKS = 10,
    Y_TICKS = 8
};

/* Okabe and Ito's colours for all eyes (2008), less the yellow, which white paper swallows. */
static const chart_colour colours[] = {{0, 114, 178}, {213, 94, 0},  {0, 158, 115}, {204, 121, 167},
                                       {0, 0, 0},     {230, 159, 0}, {86, 180, 233}};
enum { COLOURS = sizeof colours / sizeof *colours };
typedef enum mark { DISC, SQUARE, DIAMOND, TRIANGLE, MARKS } mark;

typedef struct entry {
    const kiln_plot_curve *curve;
    const unsigned char *colour;
    mark mark;
    double end_x, end_y; /* of its last point, on the canvas */
    bool shown;          /* it has a point */
    double y;            /* px: middle of its name */
} entry;

typedef struct plot {
    const kiln_plot *content;
    chart chart;
    entry entries[CURVES_MOST];
    lettering *letters, *large;
    int width, height, line;
} plot;

static bool drawable(const kiln_plot *p, double x, double y)
{
    return isfinite(x) && isfinite(y) && (x > 0 || !p->x_logarithmic) && (y > 0 || !p->y_logarithmic);
}

/* ------------------------------------------------------------------------------------ scales */

static void widen(chart_axis *a, double value)
{
    value = a->logarithmic ? log10(value) : value;
    a->least = fmin(a->least, value);
    a->most = fmax(a->most, value);
}

static void give_room(chart_axis *a, double share)
{
    double room = (a->most - a->least) * share;
    if (!(room > 0))
        room = a->logarithmic ? 0.3 : fmax(fabs(a->most) * 0.1, 0.5);
    a->least -= room;
    a->most += room;
}

static kiln_status set_scales(plot *p, kiln_error *err)
{
    const kiln_plot *c = p->content;
    p->chart.x = (chart_axis){INFINITY, -INFINITY, c->x_logarithmic};
    p->chart.y = (chart_axis){INFINITY, -INFINITY, c->y_logarithmic};
    for (int i = 0; i < c->count; i++)
        for (int k = 0; k < c->curves[i].count; k++) {
            double x = c->curves[i].x[k], y = c->curves[i].y[k];
            if (!drawable(c, x, y))
                continue;
            widen(&p->chart.x, x);
            widen(&p->chart.y, c->y_most > 0 ? fmin(y, c->y_most) : y);
        }
    if (!isfinite(p->chart.x.least))
        return fail(err, KILN_BAD_ARGUMENT, "the plot has no point to draw");
    if (c->level > 0)
        widen(&p->chart.y, c->level);
    give_room(&p->chart.x, 0.03);
    give_room(&p->chart.y, 0.04);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ curves */

static void draw_mark(const plot *p, double x, double y, mark m, const chart_colour c)
{
    const double r = 4.2 * CHART_FINE;
    if (m == DISC) {
        chart_dot(&p->chart, x, y, r, c);
        return;
    }
    for (int v = -(int)r; v <= (int)r; v++) {
        double half = m == SQUARE ? r * 0.9 : m == DIAMOND ? 1.25 * (r - abs(v)) : (v + r) * 0.62;
        chart_fill(p->chart.canvas, (int)(x - half), (int)y + v, (int)(x + half) + 1, (int)y + v + 1, c);
    }
}

/* The part of a dash that `along` falls into, in canvas pixels from the curve's beginning. */
static bool inked(kiln_plot_line line, double along)
{
    if (line == KILN_PLOT_DASHED)
        return fmod(along, 15.0 * CHART_FINE) < 10.0 * CHART_FINE;
    return line == KILN_PLOT_SOLID || fmod(along, 6.0 * CHART_FINE) < 1.0 * CHART_FINE;
}

static void draw_line(const plot *p, const entry *e, double x0, double y0, double x1, double y1,
                      double *along)
{
    double length = hypot(x1 - x0, y1 - y0);
    for (int t = 0; t < (int)length; t++)
        if (inked(e->curve->line, *along + t))
            chart_dot(&p->chart, x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length, 1.1 * CHART_FINE,
                      e->colour);
    *along += length;
}

static void draw_curve(const plot *p, entry *e)
{
    double along = 0;
    for (int k = 0; k < e->curve->count; k++) {
        double x = e->curve->x[k], y = e->curve->y[k];
        if (!drawable(p->content, x, y))
            continue;
        x = chart_x(&p->chart, x);
        y = chart_y(&p->chart, y);
        if (e->shown)
            draw_line(p, e, e->end_x, e->end_y, x, y, &along);
        draw_mark(p, x, y, e->mark, e->colour);
        e->end_x = x;
        e->end_y = y;
        e->shown = true;
    }
}

/* Curves of one line have different colours first, then different marks. */
static void choose_looks(plot *p)
{
    int of_line[3] = {0};
    for (int i = 0; i < p->content->count; i++) {
        const kiln_plot_curve *c = &p->content->curves[i];
        int n = of_line[(unsigned)c->line < 3 ? c->line : 0]++;
        p->entries[i] = (entry){
            .curve = c, .colour = colours[n % COLOURS], .mark = (mark)((n / COLOURS + (int)c->line) % MARKS)};
    }
}

static void draw_level(const plot *p)
{
    if (!(p->content->level > 0))
        return;
    int y = (int)chart_y(&p->chart, p->content->level), left = CHART_FINE * p->chart.left;
    for (int x = 0; x < CHART_FINE * p->chart.width; x += 6 * CHART_FINE)
        chart_fill(p->chart.canvas, left + x, y, left + x + 3 * CHART_FINE, y + CHART_FINE, chart_ink);
}

/* ------------------------------------------------------------------------------------ names */

static int compare_ends(const void *a, const void *b)
{
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    if (x->shown != y->shown)
        return x->shown ? -1 : 1;
    return (x->end_y > y->end_y) - (x->end_y < y->end_y);
}

/* From the top: each where its curve ends, or below the one before; then from the bottom up what went too far down. */
static int place_names(plot *p, entry **order)
{
    int count = 0;
    for (int i = 0; i < p->content->count; i++)
        order[i] = &p->entries[i];
    qsort(order, (size_t)p->content->count, sizeof *order, compare_ends);
    while (count < p->content->count && order[count]->shown)
        count++;
    double step = p->line, top = p->chart.top + step / 2, bottom = p->height - EDGE - step / 2;
    if (count > 1 && step * (count - 1) > bottom - top)
        step = (bottom - top) / (count - 1);
    for (int i = 0; i < count; i++)
        order[i]->y = fmax(order[i]->end_y / CHART_FINE, i ? order[i - 1]->y + step : top);
    for (int i = count - 1; i >= 0; i--)
        order[i]->y = fmin(order[i]->y, i + 1 < count ? order[i + 1]->y - step : bottom);
    return count;
}

static void lead_to(const plot *p, const entry *e)
{
    chart_colour pale;
    for (int k = 0; k < 3; k++)
        pale[k] = (unsigned char)(255 - (255 - e->colour[k]) / 3);
    double edge = CHART_FINE * (p->chart.left + p->chart.width + 6.0), y = e->y * CHART_FINE,
           sample = edge + CHART_FINE * (LEAD - 10.0), along = 0;
    if (e->end_x < edge - 20.0 * CHART_FINE) /* it ends inside: level to the frame */
        for (int x = (int)e->end_x; x < (int)edge; x += 5 * CHART_FINE)
            chart_dot(&p->chart, x, e->end_y, 0.5 * CHART_FINE, pale);
    chart_stroke(&p->chart, fmax(edge, e->end_x), e->end_y, sample, y, 0.5 * CHART_FINE, pale);
    draw_line(p, e, sample, y, sample + CHART_FINE * SAMPLE, y, &along);
    draw_mark(p, sample + CHART_FINE * SAMPLE / 2.0, y, e->mark, e->colour);
}

static void letter(const lettering *l, image *on, double x, double y, const char *text)
{
    lettering_draw(l, on, (int)x, (int)y, chart_ink, text, strlen(text));
}

static void write_ticks(const plot *p, image *on, const double *x, int x_count, const double *y, int y_count)
{
    char text[CHART_NUMBER];
    int bottom = p->chart.top + p->chart.height, free_from = 0;
    for (int i = 0; i < y_count; i++) {
        chart_number(y[i], text);
        letter(p->letters, on, p->chart.left - 10 - lettering_width(p->letters, text, strlen(text)),
               chart_y(&p->chart, y[i]) / CHART_FINE - p->line / 2.0, text);
    }
    for (int i = 0; i < x_count; i++) {
        chart_number(x[i], text);
        int width = lettering_width(p->letters, text, strlen(text)),
            at = (int)(chart_x(&p->chart, x[i]) / CHART_FINE) - width / 2;
        if (at >= free_from)
            letter(p->letters, on, at, bottom + 8, text);
        free_from = at >= free_from ? at + width + 8 : free_from;
    }
}

static void write_words(const plot *p, image *on, entry *const *order, int count)
{
    const kiln_plot *c = p->content;
    int y = EDGE;
    if (c->title)
        letter(p->large, on, EDGE, y, c->title);
    y += c->title ? lettering_line(p->large) + 2 : 0;
    if (c->subtitle)
        letter(p->letters, on, EDGE, y, c->subtitle);
    if (c->y_label)
        letter(p->letters, on, EDGE, p->chart.top - p->line - 6, c->y_label);
    if (c->x_label)
        letter(p->letters, on,
               p->chart.left +
                   (p->chart.width - lettering_width(p->letters, c->x_label, strlen(c->x_label))) / 2.0,
               p->height - EDGE - p->line, c->x_label);
    if (c->level > 0 && c->level_label)
        letter(p->letters, on, p->chart.left + 8, chart_y(&p->chart, c->level) / CHART_FINE - p->line - 1,
               c->level_label);
    for (int i = 0; i < count; i++)
        if (order[i]->curve->name)
            letter(p->letters, on, p->chart.left + p->chart.width + LEAD + SAMPLE + 4,
                   order[i]->y - p->line / 2.0, order[i]->curve->name);
}

/* ------------------------------------------------------------------------------------ all of it */

/* The frame: what titles, numbers and names leave of the picture. */
static kiln_status lay_out(plot *p, kiln_error *err)
{
    const kiln_plot *c = p->content;
    int names = 0, numbers = 0, count;
    char text[CHART_NUMBER];
    double ticks[CHART_TICKS];
    for (int i = 0; i < c->count; i++) {
        const char *name = c->curves[i].name ? c->curves[i].name : "";
        int own = lettering_width(p->letters, name, strlen(name));
        names = own > names ? own : names;
    }
    count = chart_ticks(&p->chart.y, Y_TICKS, false, ticks);
    for (int i = 0; i < count; i++) {
        chart_number(ticks[i], text);
        int own = lettering_width(p->letters, text, strlen(text));
        numbers = own > numbers ? own : numbers;
    }
    p->chart.left = EDGE + numbers + 12;
    p->chart.top = EDGE + (c->title ? lettering_line(p->large) + 2 : 0) + (c->subtitle ? p->line + 6 : 0) +
                   (c->y_label ? p->line + 10 : 0);
    p->chart.width = p->width - p->chart.left - names - LEAD - SAMPLE - 4 - EDGE;
    p->chart.height = p->height - p->chart.top - EDGE - 2 * p->line - 18;
    if (p->chart.width < 100 || p->chart.height < 100)
        return fail(err, KILN_BAD_ARGUMENT, "%dx%d pixels leave no room for the curves beside their names",
                    p->width, p->height);
    return KILN_OK;
}

static kiln_status paint(plot *p, image **out, kiln_error *err)
{
    double x[CHART_TICKS], y[CHART_TICKS];
    entry *order[CURVES_MOST];
    kiln_status status = chart_begin(&p->chart, p->width, p->height, err);
    if (status)
        return status;
    int x_count = chart_ticks(&p->chart.x, X_TICKS, false, x),
        y_count = chart_ticks(&p->chart.y, Y_TICKS, false, y);
    chart_frame(&p->chart, x, x_count, y, y_count);
    draw_level(p);
    choose_looks(p);
    for (int i = 0; i < p->content->count; i++)
        draw_curve(p, &p->entries[i]);
    int count = place_names(p, order);
    for (int i = 0; i < count; i++)
        lead_to(p, order[i]);
    status = chart_finish(&p->chart, out, err);
    if (status)
        return status;
    write_ticks(p, *out, x, x_count, y, y_count);
    write_words(p, *out, order, count);
    return KILN_OK;
}

static kiln_status check(const kiln_plot *c, plot *p, kiln_error *err)
{
    p->width = c->width ? c->width : 1200;
    p->height = c->height ? c->height : 800;
    if (c->count < 1 || c->count > CURVES_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "a plot has 1 to %d curves, not %d", (int)CURVES_MOST, c->count);
    if (p->width < SIDE_LEAST || p->height < SIDE_LEAST || p->width > SIDE_MOST || p->height > SIDE_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "the sides of a plot are %d to %d pixels, not %dx%d",
                    (int)SIDE_LEAST, (int)SIDE_MOST, p->width, p->height);
    return KILN_OK;
}

kiln_status plot_draw(const kiln_plot *content, image **out, kiln_error *err)
{
    *out = NULL;
    plot p = {.content = content};
    kiln_status status = check(content, &p, err);
    if (status == KILN_OK)
        status = set_scales(&p, err);
    if (status == KILN_OK)
        status = lettering_new(content->font, 16, &p.letters, err);
    if (status == KILN_OK)
        status = lettering_new(content->font, 24, &p.large, err);
    if (status == KILN_OK) {
        p.line = lettering_line(p.letters);
        status = lay_out(&p, err);
    }
    if (status == KILN_OK)
        status = paint(&p, out, err);
    lettering_free(p.letters);
    lettering_free(p.large);
    return status;
}
