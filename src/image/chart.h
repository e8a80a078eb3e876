/* chart.h - what every plot is made of: a frame with two scales, their ticks, lines and dots.
 *
 * Lines are drawn at CHART_FINE times the size and averaged down (chart_finish), which smooths their edges; letters come
 * on top at the final size. Places on the canvas are in its fine pixels, the frame in final ones. */
#ifndef KILN_IMAGE_CHART_H
#define KILN_IMAGE_CHART_H

#include "image/image.h"

#include <stddef.h>

enum { CHART_FINE = 2, CHART_TICKS = 64, CHART_NUMBER = 32 };

typedef unsigned char chart_colour[3];
extern const chart_colour chart_paper, chart_ink, chart_rule;

typedef struct chart_axis {
    double least, most; /* of the value, or of its decimal logarithm */
    bool logarithmic;
} chart_axis;

typedef struct chart {
    image *canvas;
    int left, top, width, height; /* of the frame's inside, px */
    chart_axis x, y;
} chart;

/* A canvas of paper for a picture of that size; the other members are the caller's. chart_finish gives the picture, 8-bit RGB,
 * and takes the canvas away, after a failure too. */
kiln_status chart_begin(chart *, int width, int height, kiln_error *err) KILN_CHECKED;
kiln_status chart_finish(chart *, image **out, kiln_error *err) KILN_CHECKED;

/* Where a value lies on the canvas; what is off the scale lies at its end. */
double chart_x(const chart *, double value);
double chart_y(const chart *, double value);

void chart_dot(const chart *, double x, double y, double radius, const chart_colour);
void chart_stroke(const chart *, double x0, double y0, double x1, double y1, double radius,
                  const chart_colour);
void chart_fill(image *on, int x0, int y0, int x1, int y1, const chart_colour);

/* Values to mark, about `wanted` of them at most: of a logarithmic axis 1, 2 and 5 of each decade (of many decades the ones,
 * of few more); else round numbers, `whole` ones where it is said. Gives how many. */
int chart_ticks(const chart_axis *, int wanted, bool whole, double ticks[CHART_TICKS]);
/* Rules at the ticks, and the two lines of the axes. */
void chart_frame(const chart *, const double *x_ticks, int x_count, const double *y_ticks, int y_count);
/* A number of a scale: "0.05", "20k", "3M". */
void chart_number(double value, char text[CHART_NUMBER]);

#endif
