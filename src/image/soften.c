/* soften.c - see soften.h. */
#include "image/soften.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES = 3 };

/* A box of 2 reach + 1 whole pixels and two partial ones. */
typedef struct box {
    int reach;
    double whole, partial; /* weights */
} box;

static box box_of(double sigma)
{
    double length = sqrt(12 * sigma * sigma / PASSES + 1), radius = (length - 1) / 2;
    int reach = (int)radius;
    /* The partial weight that makes the box's variance sigma^2 / PASSES exactly. */
    double n = 2.0 * reach + 1, e = reach + 1.0, variance = sigma * sigma / PASSES,
           own = reach * (reach + 1.0) * n / 3;
    double share = (variance * n - own) / (2 * (e * e - variance));
    double whole = 1 / (n + 2 * share);
    return (box){reach, whole, share * whole};
}

static float at(const float *line, int i, int n)
{
    return line[i < 0 ? 0 : i >= n ? n - 1 : i];
}

static void box_line(const float *in, float *out, int n, const box *b)
{
    double sum = 0;
    for (int i = -b->reach; i <= b->reach; i++)
        sum += (double)at(in, i, n);
    for (int i = 0; i < n; i++) {
        double ends = (double)at(in, i - b->reach - 1, n) + (double)at(in, i + b->reach + 1, n);
        out[i] = (float)(sum * b->whole + ends * b->partial);
        sum += (double)at(in, i + b->reach + 1, n) - (double)at(in, i - b->reach, n);
    }
}

/* One line of one channel: `step` floats from pixel to pixel. */
static void soften_line(float *line, size_t step, int n, const box *b, float *a, float *c)
{
    for (int i = 0; i < n; i++)
        a[i] = line[(size_t)i * step];
    for (int pass = 0; pass < PASSES; pass++) {
        box_line(a, c, n, b);
        float *other = a;
        a = c;
        c = other;
    }
    for (int i = 0; i < n; i++)
        line[(size_t)i * step] = a[i];
}

kiln_status soften(float *values, int width, int height, int channels, double sigma, kiln_error *err)
{
    if (!(sigma > 0))
        return KILN_OK;
    size_t longest = (size_t)(width > height ? width : height), depth = (size_t)channels;
    float *a = calloc(longest, sizeof *a), *c = calloc(longest, sizeof *c);
    box b = box_of(sigma);
    bool good = a && c;
    for (size_t y = 0; good && y < (size_t)height; y++)
        for (size_t k = 0; k < depth; k++)
            soften_line(values + y * (size_t)width * depth + k, depth, width, &b, a, c);
    for (size_t x = 0; good && x < (size_t)width; x++)
        for (size_t k = 0; k < depth; k++)
            soften_line(values + x * depth + k, (size_t)width * depth, height, &b, a, c);
    free(a);
    free(c);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory to blur a picture");
}
