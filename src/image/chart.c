/* chart.c - see chart.h. */
#include "image/chart.h"

#include "image/resize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const chart_colour chart_paper = {255, 255, 255}, chart_ink = {40, 44, 52}, chart_rule = {226, 229, 234};

/* ------------------------------------------------------------------------------------ canvas */

kiln_status chart_begin(chart *c, int width, int height, kiln_error *err)
{
    kiln_status status = image_new(width * CHART_FINE, height * CHART_FINE, 3, 8, &c->canvas, err);
    if (status == KILN_OK)
        chart_fill(c->canvas, 0, 0, c->canvas->width, c->canvas->height, chart_paper);
    return status;
}

kiln_status chart_finish(chart *c, image **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = image_resize(c->canvas, c->canvas->width / CHART_FINE,
                                      c->canvas->height / CHART_FINE, RESIZE_BOX, out, err);
    image_free(c->canvas);
    c->canvas = NULL;
    return status;
}

static void put(image *on, int x, int y, const chart_colour c)
{
    if (x >= 0 && y >= 0 && x < on->width && y < on->height)
        memcpy((unsigned char *)on->pixels + ((size_t)y * (size_t)on->width + (size_t)x) * 3, c, 3);
}

void chart_dot(const chart *c, double x, double y, double radius, const chart_colour colour)
{
    for (int v = (int)floor(y - radius); v <= (int)ceil(y + radius); v++)
        for (int u = (int)floor(x - radius); u <= (int)ceil(x + radius); u++)
            if ((u - x) * (u - x) + (v - y) * (v - y) <= radius * radius)
                put(c->canvas, u, v, colour);
}

void chart_stroke(const chart *c, double x0, double y0, double x1, double y1, double radius,
                  const chart_colour colour)
{
    double length = fmax(fabs(x1 - x0), fabs(y1 - y0));
    int steps = (int)ceil(length) + 1;
    for (int i = 0; i <= steps; i++)
        chart_dot(c, x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps, radius, colour);
}

void chart_fill(image *on, int x0, int y0, int x1, int y1, const chart_colour c)
{
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            put(on, x, y, c);
}

/* ------------------------------------------------------------------------------------ scales */

static double scaled(const chart_axis *a, double value)
{
    if (a->logarithmic)
        value = value > 0 ? log10(value) : a->least;
    double part = (value - a->least) / (a->most - a->least);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

double chart_x(const chart *c, double value)
{
    return CHART_FINE * (c->left + scaled(&c->x, value) * c->width);
}

double chart_y(const chart *c, double value)
{
    return CHART_FINE * (c->top + (1 - scaled(&c->y, value)) * c->height);
}

/* Round numbers: 1, 2 or 5 times a power of ten apart. */
static int linear_ticks(const chart_axis *a, int wanted, bool whole, double ticks[CHART_TICKS])
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
    for (; count < CHART_TICKS && (first + count) * step <= a->most + step * 1e-9; count++)
        ticks[count] = (first + count) * step;
    return count;
}

/* The more of each decade, the fewer there are. */
static int log_ticks(const chart_axis *a, int wanted, double ticks[CHART_TICKS])
{
    static const double few[] = {1, 2, 5}, many[] = {1, 2, 3, 5, 7};
    double decades = a->most - a->least;
    const double *factors = 5 * decades <= wanted ? many : few;
    int count = 0, each = factors == many ? 5 : 2 * decades > wanted ? 1 : 3;
    for (int decade = (int)floor(a->least); decade <= a->most; decade++)
        for (int i = 0; i < each && count < CHART_TICKS; i++) {
            double value = pow(10, decade) * factors[i];
            if (log10(value) >= a->least && log10(value) <= a->most)
                ticks[count++] = value;
        }
    return count;
}

int chart_ticks(const chart_axis *a, int wanted, bool whole, double ticks[CHART_TICKS])
{
    return a->logarithmic ? log_ticks(a, wanted, ticks) : linear_ticks(a, wanted, whole, ticks);
}

void chart_number(double value, char text[CHART_NUMBER])
{
    double size = fabs(value);
    if (size >= 1e6 && fmod(size, 1e5) == 0)
        snprintf(text, CHART_NUMBER, "%gM", value / 1e6);
    else if (size >= 1e4 && fmod(size, 100) == 0)
        snprintf(text, CHART_NUMBER, "%gk", value / 1e3);
    else
        snprintf(text, CHART_NUMBER, "%.6g", size < 1e-12 ? 0 : value);
}

/* ------------------------------------------------------------------------------------ frame */

void chart_frame(const chart *c, const double *x_ticks, int x_count, const double *y_ticks, int y_count)
{
    const int fine = CHART_FINE;
    int left = fine * c->left, right = left + fine * c->width, top = fine * c->top,
        bottom = top + fine * c->height;
    for (int i = 0; i < y_count; i++) {
        int y = (int)chart_y(c, y_ticks[i]);
        chart_fill(c->canvas, left, y, right, y + fine, chart_rule);
    }
    for (int i = 0; i < x_count; i++) {
        int x = (int)chart_x(c, x_ticks[i]);
        chart_fill(c->canvas, x, top, x + fine, bottom, chart_rule);
        chart_fill(c->canvas, x, bottom, x + fine, bottom + fine * 5, chart_ink);
    }
    chart_fill(c->canvas, left - fine, top, left, bottom + fine, chart_ink);
    chart_fill(c->canvas, left - fine, bottom, right, bottom + fine, chart_ink);
}
