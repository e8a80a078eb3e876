/* plot.h - curves over a number, on plain or logarithmic scales, as a picture.
 *
 *     const double steps[] = {5, 10, 20}, error[] = {0.4, 0.1, 0.03};
 *     kiln_plot_curve curve = {.name = "Heun", .x = steps, .y = error, .count = 3};
 *     kiln_plot p = {.title = "error", .x_logarithmic = true, .y_logarithmic = true, .curves = &curve, .count = 1};
 *     kiln_plot_draw(&p, &picture, &err);
 *
 * Part of libkiln; see kiln.h for errors and ownership. */
#ifndef KILN_PLOT_H
#define KILN_PLOT_H

#include <kiln/kiln.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kiln_plot_line { KILN_PLOT_SOLID, KILN_PLOT_DASHED, KILN_PLOT_DOTTED } kiln_plot_line;

/* Points are joined in their order. Those that are no finite numbers, or not positive on a logarithmic scale, are left
 * out. Colours and the shapes of the dots are chosen so that curves of one line differ, also to colour-blind eyes. */
typedef struct kiln_plot_curve {
    const char *name; /* UTF-8, shown beside the curve's end */
    const double *x, *y;
    int count;
    kiln_plot_line line;
} kiln_plot_curve;

typedef struct kiln_plot {
    const char *title, *subtitle, *x_label, *y_label; /* NULL: none */
    bool x_logarithmic, y_logarithmic;
    const kiln_plot_curve *curves;
    int count; /* 1..64 */
    /* A level that is marked across the plot, and what it says; 0: none. */
    double level;
    const char *level_label;
    double y_most; /* the scale ends there, and curves beyond it run along its end; 0: where the points end */
    int width, height; /* px, 400..4096; 0: 1200 x 800 */
    const char
        *font; /* a font's file; NULL: the first of the usual sans-serif fonts of a Linux system, or dots */
} kiln_plot;

/* RGB, 8 bit, without texts. KILN_BAD_ARGUMENT when no curve has a point to draw. */
KILN_API KILN_CHECKED kiln_status kiln_plot_draw(const kiln_plot *, kiln_image **out, kiln_error *);

#ifdef __cplusplus
}
#endif
#endif
