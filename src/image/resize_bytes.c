/* resize_bytes.c - resampling of 8-bit pictures, bit for bit as PIL does it, because people compare.
 *
 * Weights are integers of 22 fractional bits; each of the two passes rounds and clamps to bytes. A picture
 * with alpha is premultiplied before and divided after. */
#include "image/resize_taps.h"

#include <stdlib.h>

enum { FRACTION_BITS = 22 };

/* The weights of `t` as integers, rounded half away from zero; NULL when memory is short. */
static int32_t *integer_weights(const taps *t, int positions)
{
    size_t count = (size_t)positions * t->room;
    int32_t *weights = calloc(count, sizeof *weights);
    for (size_t i = 0; weights && i < count; i++) {
        double w = t->weights[i] * (double)(1 << FRACTION_BITS);
        weights[i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    return weights;
}

static uint8_t byte_of(int64_t sum)
{
    sum = (sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One pass over `lines` lines. Along a line, positions are `step` bytes apart, and `channels` samples
 * wide; lines are `from_line` and `to_line` bytes apart. */
typedef struct pass {
    const uint8_t *from;
    uint8_t *to;
    size_t lines, from_line, to_line, step, channels;
    int from_count, to_count;
} pass;

static void run_pass(const pass *p, const taps *t, const int32_t *weights)
{
    for (size_t line = 0; line < p->lines; line++) {
        for (size_t i = 0; i < (size_t)p->to_count; i++) {
            const int32_t *w = weights + i * t->room;
            const uint8_t *from = p->from + line * p->from_line + (size_t)t->first[i] * p->step;
            uint8_t *to = p->to + line * p->to_line + i * p->step;
            for (size_t c = 0; c < p->channels; c++) {
                int64_t sum = 0;
                for (size_t k = 0; k < (size_t)t->count[i]; k++)
                    sum += (int64_t)w[k] * from[k * p->step + c];
                to[c] = byte_of(sum);
            }
        }
    }
}

static bool resample(const pass *p, resize_filter filter)
{
    taps t = {0};
    int32_t *weights =
        taps_init(&t, p->from_count, p->to_count, filter) ? integer_weights(&t, p->to_count) : NULL;
    if (weights)
        run_pass(p, &t, weights);
    free(weights);
    taps_fini(&t);
    return weights != NULL;
}

static bool resample_both_ways(const image *from, image *to, resize_filter filter)
{
    size_t channels = (size_t)from->channels, width = (size_t)to->width * channels;
    uint8_t *between = calloc((size_t)from->height, width);
    pass across = {from->pixels,
                   between,
                   (size_t)from->height,
                   (size_t)from->width * channels,
                   width,
                   channels,
                   channels,
                   from->width,
                   to->width};
    /* A row is one wide position of the vertical pass: all of its samples have the same weights. */
    pass down = {between, to->pixels, 1, 0, 0, width, width, from->height, to->height};
    bool good = between && resample(&across, filter) && resample(&down, filter);
    free(between);
    return good;
}

static void premultiply(image *picture)
{
    size_t channels = (size_t)picture->channels;
    uint8_t *p = picture->pixels, *end = p + image_bytes(picture);
    for (; p < end; p += channels)
        for (size_t c = 0; c + 1 < channels; c++)
            p[c] = (uint8_t)((p[c] * p[channels - 1] + 127) / 255);
}

static void unpremultiply(image *picture)
{
    size_t channels = (size_t)picture->channels;
    uint8_t *p = picture->pixels, *end = p + image_bytes(picture);
    for (; p < end; p += channels) {
        int alpha = p[channels - 1];
        for (size_t c = 0; alpha != 0 && alpha != 255 && c + 1 < channels; c++)
            p[c] = (uint8_t)(p[c] >= alpha ? 255 : 255 * p[c] / alpha);
    }
}

kiln_status resize_bytes(const image *from, image *to, resize_filter filter, kiln_error *err)
{
    image *copy = NULL;
    bool same = from->width == to->width && from->height == to->height,
         weighted = image_has_alpha(from) && !same;
    if (weighted) {
        kiln_status status = image_crop(from, 0, 0, from->width, from->height, &copy, err);
        if (status != KILN_OK)
            return status;
        premultiply(copy);
    }
    bool good = resample_both_ways(weighted ? copy : from, to, filter);
    if (good && weighted)
        unpremultiply(to);
    image_free(copy);
    return good ? KILN_OK
                : fail(err, KILN_NO_MEMORY, "not enough memory to resize %d x %d to %d x %d", from->width,
                       from->height, to->width, to->height);
}
