/* fill.c - see fill.h; the noise is in fill_spectrum.c. */
#include "image/fill.h"

#include "image/soften.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER = 4 }; /* colours times known, and known */

/* A layer over what is below, `times` over. */
static void lay_over(float *below, const float *layer, size_t pixels, int times)
{
    for (int k = 0; k < times; k++)
        for (size_t i = 0; i < pixels; i++) {
            float through = 1 - layer[i * LAYER + 3];
            for (size_t c = 0; c < LAYER; c++)
                below[i * LAYER + c] = layer[i * LAYER + c] + through * below[i * LAYER + c];
        }
}

kiln_status fill_blurred(float *picture, const float *mask, int width, int height, kiln_error *err)
{
    static const struct {
        int sigma, times;
    } layers[] = {{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}};
    size_t pixels = (size_t)width * (size_t)height;
    float *known = malloc(pixels * LAYER * sizeof *known), *layer = malloc(pixels * LAYER * sizeof *layer),
          *sum = calloc(pixels * LAYER, sizeof *sum);
    kiln_status status =
        known && layer && sum ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory to fill a picture");
    for (size_t i = 0; status == KILN_OK && i < pixels; i++) {
        for (size_t c = 0; c < 3; c++)
            known[i * LAYER + c] = picture[i * 3 + c] * (1 - mask[i]);
        known[i * LAYER + 3] = 1 - mask[i];
    }
    for (size_t k = 0; status == KILN_OK && k < sizeof layers / sizeof *layers; k++) {
        memcpy(layer, known, pixels * LAYER * sizeof *layer);
        status = soften(layer, width, height, LAYER, layers[k].sigma, err);
        if (status == KILN_OK)
            lay_over(sum, layer, pixels, layers[k].times);
    }
    for (size_t i = 0; status == KILN_OK && i < pixels; i++)
        for (size_t c = 0; c < 3 && sum[i * LAYER + 3] > 1e-6f; c++)
            picture[i * 3 + c] = sum[i * LAYER + c] / sum[i * LAYER + 3];
    free(known);
    free(layer);
    free(sum);
    return status;
}

/* ------------------------------------------------------------------------------------ going on at the edge */

static int clamped(int i, int start, int length)
{
    return i < start ? start : i >= start + length ? start + length - 1 : i;
}

/* The edge's pixel itself is repeated: the mirror stands on the edge. */
static int reflected(int i, int start, int length)
{
    int period = 2 * length, k = (i - start) % period;
    k = k < 0 ? k + period : k;
    return start + (k < length ? k : period - 1 - k);
}

static void fill_by(float *picture, int width, int height, fill_box b, int (*from)(int, int, int))
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int sy = from(y, b.y, b.height), sx = from(x, b.x, b.width);
            if (sy != y || sx != x)
                memcpy(picture + ((size_t)y * (size_t)width + (size_t)x) * 3,
                       picture + ((size_t)sy * (size_t)width + (size_t)sx) * 3, 3 * sizeof(float));
        }
}

void fill_edge(float *picture, int width, int height, fill_box known)
{
    fill_by(picture, width, height, known, clamped);
}

void fill_mirror(float *picture, int width, int height, fill_box known)
{
    fill_by(picture, width, height, known, reflected);
}
