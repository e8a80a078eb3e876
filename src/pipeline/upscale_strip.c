/* upscale_strip.c - see upscale_strip.h. */
#include "pipeline/upscale_strip.h"

#include <math.h>

static int round_up(int n, int unit)
{
    return (n + unit - 1) / unit * unit;
}

static int common_multiple(int a, int b)
{
    int x = a, y = b;
    while (y) {
        int rest = x % y;
        x = y;
        y = rest;
    }
    int multiple = x ? a / x * b : 0;
    return multiple > 0 ? multiple : 1;
}

upscale_strip upscale_strip_of(int picture, int multiple, int align, int tile, int overlap, int scale)
{
    int unit = common_multiple(multiple, align);
    upscale_strip s = {
        .length = round_up(picture, multiple > 0 ? multiple : 1), .count = 1, .unit = unit, .scale = scale};
    s.size = s.length;
    if (tile <= 0 || tile >= s.length)
        return s;
    int smallest = round_up(overlap + STRIP_ROOM, unit), length = round_up(picture, unit);
    int size = round_up(tile > smallest ? tile : smallest, unit);
    if (size >= length)
        return s;
    int step = (size - overlap) / unit, rest = (length - size) / unit;
    s.length = length;
    s.count = (rest + step - 1) / step + 1;
    s.size = size;
    return s;
}

int upscale_strip_start(const upscale_strip *s, int k)
{
    int64_t rest = (s->length - s->size) / s->unit;
    return s->count == 1 ? 0 : (int)(k * rest / (s->count - 1)) * s->unit;
}

/* The ramp between tiles k and k+1, in pixels of the larger picture. */
static void ramp(const upscale_strip *s, int k, double *first, double *width)
{
    int start = upscale_strip_start(s, k + 1), end = upscale_strip_start(s, k) + s->size;
    double half = fmin(STRIP_RAMP, (end - start) / 2.0) / 2;
    *first = ((start + end) / 2.0 - half) * s->scale;
    *width = 2 * half * s->scale;
}

/* How much tile k counts against tile k+1. */
static float against_next(const upscale_strip *s, int k, int pixel)
{
    double first, width, middle = pixel + 0.5;
    ramp(s, k, &first, &width);
    if (middle <= first || width <= 0)
        return middle <= first ? 1 : 0;
    return middle >= first + width ? 0 : (float)((first + width - middle) / width);
}

void upscale_strip_zone(const upscale_strip *s, int k, int *first, int *end)
{
    double from, width;
    *first = 0;
    *end = s->length * s->scale;
    if (k > 0) {
        ramp(s, k - 1, &from, &width);
        *first = (int)floor(from);
    }
    if (k + 1 < s->count) {
        ramp(s, k, &from, &width);
        *end = (int)ceil(from + width);
    }
}

float upscale_strip_weight(const upscale_strip *s, int k, int pixel)
{
    float before = k > 0 ? 1 - against_next(s, k - 1, pixel) : 1;
    float after = k + 1 < s->count ? against_next(s, k, pixel) : 1;
    return before * after;
}
