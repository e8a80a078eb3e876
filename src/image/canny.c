/* canny.c - see canny.h. */
#include "image/canny.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a pixel. */
enum { NO_EDGE, CANDIDATE, EDGE };

/* Magnitudes and marks have a frame of one pixel, so that every pixel has neighbours. */
typedef struct edges {
    const image *from;
    int width, height, channels;
    int stride;       /* width + 2 */
    int16_t *dx, *dy; /* [height, width] */
    int *magnitude;   /* [height + 2, stride] */
    uint8_t *marks;   /* likewise */
    int32_t *stack;   /* places of edges whose neighbours are not looked at yet */
    int64_t stack_size;
} edges;

static int inside(int i, int count)
{
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

static int sample(const edges *e, int x, int y, int c)
{
    const uint8_t *bytes = e->from->pixels;
    size_t place = (size_t)inside(y, e->height) * (size_t)e->width + (size_t)inside(x, e->width);
    return bytes[place * (size_t)e->channels + (size_t)c];
}

static void gradient(const edges *e, int x, int y, int c, int *dx, int *dy)
{
    int a = sample(e, x - 1, y - 1, c), b = sample(e, x, y - 1, c), d = sample(e, x + 1, y - 1, c);
    int l = sample(e, x - 1, y, c), r = sample(e, x + 1, y, c);
    int f = sample(e, x - 1, y + 1, c), g = sample(e, x, y + 1, c), h = sample(e, x + 1, y + 1, c);
    *dx = d + 2 * r + h - a - 2 * l - f;
    *dy = f + 2 * g + h - a - 2 * b - d;
}

static int64_t framed(const edges *e, int x, int y)
{
    return (int64_t)(y + 1) * e->stride + x + 1;
}

static void find_gradients(const edges *e)
{
    for (int y = 0; y < e->height; y++)
        for (int x = 0; x < e->width; x++) {
            int best = -1, best_dx = 0, best_dy = 0;
            for (int c = 0; c < e->channels; c++) {
                int dx, dy;
                gradient(e, x, y, c, &dx, &dy);
                if (abs(dx) + abs(dy) > best) {
                    best = abs(dx) + abs(dy);
                    best_dx = dx;
                    best_dy = dy;
                }
            }
            size_t place = (size_t)y * (size_t)e->width + (size_t)x;
            e->dx[place] = (int16_t)best_dx;
            e->dy[place] = (int16_t)best_dy;
            e->magnitude[framed(e, x, y)] = best;
        }
}

/* Whether the magnitude is largest across the edge. tan(22.5 degrees) is 13573 / 2^15; ties are broken as OpenCV does. */
static bool is_crest(const edges *e, int64_t at, int dx, int dy)
{
    const int *m = e->magnitude + at;
    int64_t x = abs(dx), y = (int64_t)abs(dy) << 15, flat = x * 13573, steep = flat + (x << 16);
    if (y < flat)
        return m[0] > m[-1] && m[0] >= m[1];
    if (y > steep)
        return m[0] > m[-e->stride] && m[0] >= m[e->stride];
    int side = (dx < 0) != (dy < 0) ? -1 : 1;
    return m[0] > m[-e->stride - side] && m[0] > m[e->stride + side];
}

static void push(edges *e, int64_t at)
{
    e->marks[at] = EDGE;
    e->stack[e->stack_size++] = (int32_t)at;
}

static void mark_crests(edges *e, int low, int high)
{
    for (int y = 0; y < e->height; y++)
        for (int x = 0; x < e->width; x++) {
            size_t place = (size_t)y * (size_t)e->width + (size_t)x;
            int64_t at = framed(e, x, y);
            if (e->magnitude[at] <= low || !is_crest(e, at, e->dx[place], e->dy[place]))
                continue;
            if (e->magnitude[at] > high)
                push(e, at);
            else
                e->marks[at] = CANDIDATE;
        }
}

/* Candidates that touch an edge are edges. */
static void follow(edges *e)
{
    while (e->stack_size) {
        int64_t at = e->stack[--e->stack_size];
        for (int y = -1; y <= 1; y++)
            for (int x = -1; x <= 1; x++)
                if (e->marks[at + y * e->stride + x] == CANDIDATE)
                    push(e, at + y * e->stride + x);
    }
}

static bool take_memory(edges *e)
{
    size_t pixels = (size_t)e->width * (size_t)e->height, all = (size_t)e->stride * (size_t)(e->height + 2);
    e->dx = malloc(pixels * sizeof *e->dx);
    e->dy = malloc(pixels * sizeof *e->dy);
    e->magnitude = calloc(all, sizeof *e->magnitude);
    e->marks = calloc(all, 1);
    e->stack = malloc(pixels * sizeof *e->stack);
    return e->dx && e->dy && e->magnitude && e->marks && e->stack;
}

static kiln_status find_edges(const image *from, const canny_options *o, image **out, kiln_error *err)
{
    edges e = {.from = from,
               .width = from->width,
               .height = from->height,
               .channels = from->channels,
               .stride = from->width + 2};
    int low = (int)floor(o->low < o->high ? o->low : o->high),
        high = (int)floor(o->low < o->high ? o->high : o->low);
    kiln_status status = take_memory(&e) ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for edges");
    if (status == KILN_OK)
        status = image_new(from->width, from->height, 1, 8, out, err);
    if (status == KILN_OK) {
        uint8_t *to = (*out)->pixels;
        find_gradients(&e);
        mark_crests(&e, low, high);
        follow(&e);
        for (int y = 0; y < e.height; y++)
            for (int x = 0; x < e.width; x++)
                *to++ = e.marks[framed(&e, x, y)] == EDGE ? 255 : 0;
    }
    free(e.dx);
    free(e.dy);
    free(e.magnitude);
    free(e.marks);
    free(e.stack);
    return status;
}

/* ------------------------------------------------------------------------------------ Gauss */

/* One direction: `count` samples `step` apart. */
static void blur_line(const float *from, float *to, int count, int64_t step, const float *weights, int reach)
{
    for (int i = 0; i < count; i++) {
        float sum = 0;
        for (int k = -reach; k <= reach; k++)
            sum += weights[abs(k)] * from[inside(i + k, count) * step];
        to[i * step] = sum;
    }
}

static void fill_weights(float *weights, int reach, double deviation)
{
    double sum = 0;
    for (int k = -reach; k <= reach; k++)
        sum += exp(-0.5 * k * k / (deviation * deviation));
    for (int k = 0; k <= reach; k++)
        weights[k] = (float)(exp(-0.5 * k * k / (deviation * deviation)) / sum);
}

static kiln_status blur(image *picture, double deviation, kiln_error *err)
{
    int reach = (int)ceil(3 * deviation), width = picture->width, height = picture->height,
        c = picture->channels;
    size_t count = (size_t)width * (size_t)height * (size_t)c;
    float *weights = calloc((size_t)reach + 1, sizeof *weights), *a = calloc(count, sizeof *a),
          *b = calloc(count, sizeof *b);
    uint8_t *bytes = picture->pixels;
    if (!weights || !a || !b) {
        free(weights);
        free(a);
        free(b);
        return fail(err, KILN_NO_MEMORY, "out of memory for a blurred picture");
    }
    fill_weights(weights, reach, deviation);
    for (size_t i = 0; i < count; i++)
        a[i] = bytes[i];
    for (int64_t y = 0; y < height; y++)
        for (int k = 0; k < c; k++)
            blur_line(a + y * width * c + k, b + y * width * c + k, width, c, weights, reach);
    for (int64_t x = 0; x < (int64_t)width * c; x++)
        blur_line(b + x, a + x, height, (int64_t)width * c, weights, reach);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)lrintf(a[i] < 0 ? 0 : a[i] > 255 ? 255 : a[i]);
    free(weights);
    free(a);
    free(b);
    return KILN_OK;
}

kiln_status canny_edges(const image *from, const canny_options *o, image **out, kiln_error *err)
{
    *out = NULL;
    if (!(o->low >= 0 && o->low <= 2040 && o->high >= 0 && o->high <= 2040))
        return fail(err, KILN_BAD_ARGUMENT, "the thresholds of edges are 0 to 2040, not %g and %g", o->low,
                    o->high);
    if (!(o->blur >= 0 && o->blur <= 64))
        return fail(err, KILN_BAD_ARGUMENT, "the blur before edges is 0 to 64 pixels, not %g", o->blur);
    image *bytes = NULL;
    kiln_status status = image_to_bytes(from, from->channels < 3 ? 1 : 3, &bytes, err);
    if (status == KILN_OK && o->blur > 0)
        status = blur(bytes, o->blur, err);
    if (status == KILN_OK)
        status = find_edges(bytes, o, out, err);
    image_free(bytes);
    return status;
}
