/* resize_taps.c - see resize_taps.h. */
#include "image/resize_taps.h"

#include <math.h>
#include <stdlib.h>

static double box_filter(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double triangle_filter(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double cubic_filter(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static double sinc(double x)
{
    const double pi = 3.14159265358979323846;
    return x == 0.0 ? 1.0 : sin(pi * x) / (pi * x);
}

static double lanczos_filter(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct {
    double (*weight)(double);
    double support;
} filters[] = {
    [RESIZE_BOX] = {box_filter, 0.5},
    [RESIZE_BILINEAR] = {triangle_filter, 1.0},
    [RESIZE_BICUBIC] = {cubic_filter, 2.0},
    [RESIZE_LANCZOS] = {lanczos_filter, 3.0},
};

void taps_fini(taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weights);
    *t = (taps){0};
}

/* The weights of one target position; PIL's rounding of the window's edges. */
static void fill_taps(taps *t, int target, int from, double scale, resize_filter filter)
{
    double stretch = scale > 1.0 ? scale : 1.0, support = filters[filter].support * stretch;
    double center = (target + 0.5) * scale, shrink = 1.0 / stretch, sum = 0.0;
    int first = (int)(center - support + 0.5), last = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    last = last > from ? from : last;
    double *weights = t->weights + (size_t)target * t->room;
    for (int i = first; i < last; i++)
        sum += weights[i - first] = filters[filter].weight((i - center + 0.5) * shrink);
    for (int i = first; i < last && sum != 0.0; i++)
        weights[i - first] /= sum;
    t->first[target] = first;
    t->count[target] = last - first;
}

bool taps_init(taps *t, int from, int to, resize_filter filter)
{
    double scale = (double)from / to;
    bool nearest = filter == RESIZE_NEAREST;
    t->room = nearest ? 1 : (size_t)ceil(filters[filter].support * (scale > 1.0 ? scale : 1.0)) * 2 + 1;
    t->first = calloc((size_t)to, sizeof *t->first);
    t->count = calloc((size_t)to, sizeof *t->count);
    t->weights = calloc((size_t)to, t->room * sizeof *t->weights);
    if (!t->first || !t->count || !t->weights)
        return false;
    double center = 0.5 * scale; /* for nearest: summed up as PIL does, whose drift decides the ties */
    for (int i = 0; i < to; i++) {
        if (nearest) {
            int at = (int)center;
            t->first[i] = at < from ? at : from - 1;
            t->count[i] = 1;
            t->weights[i] = 1.0;
        } else {
            fill_taps(t, i, from, scale, filter);
        }
        center += scale;
    }
    return true;
}
