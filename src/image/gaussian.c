/* gaussian.c - see gaussian.h. */
#include "image/gaussian.h"

#include <math.h>
#include <stdlib.h>

static int clamped(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static int mirrored(int i, int n)
{
    if (n == 1)
        return 0;
    int period = 2 * (n - 1);
    i %= period;
    i = i < 0 ? i + period : i;
    return i < n ? i : period - i;
}

/* One line of one channel, `step` floats from pixel to pixel. `line` has room for n and reach on both sides. */
static void blur_line(const gaussian *g, const double *taps, float *values, size_t step, int n, double *line)
{
    int reach = g->reach;
    for (int i = -reach; i < n + reach; i++)
        line[i + reach] =
            (double)values[(size_t)(g->edge == GAUSSIAN_MIRROR ? mirrored(i, n) : clamped(i, n)) * step];
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k <= 2 * reach; k++)
            sum += taps[k] * line[i + k];
        values[(size_t)i * step] = (float)(g->bytes ? rint(sum * 255) / 255 : sum);
    }
}

static void fill_taps(const gaussian *g, double *taps)
{
    double sum = 0;
    for (int k = -g->reach; k <= g->reach; k++)
        sum += taps[k + g->reach] = exp(-0.5 * k * k / (g->sigma * g->sigma));
    for (int k = 0; k <= 2 * g->reach; k++)
        taps[k] /= sum;
}

kiln_status gaussian_blur(const gaussian *g, float *values, int width, int height, int channels,
                          kiln_error *err)
{
    if (!(g->sigma > 0) || g->reach < 1)
        return KILN_OK;
    size_t longest = (size_t)(width > height ? width : height), depth = (size_t)channels,
           row = (size_t)width * depth, sides = 2 * (size_t)g->reach;
    double *taps = calloc(sides + 1, sizeof *taps), *line = calloc(longest + sides, sizeof *line);
    bool good = taps && line;
    if (good)
        fill_taps(g, taps);
    for (size_t y = 0; good && y < (size_t)height; y++)
        for (size_t c = 0; c < depth; c++)
            blur_line(g, taps, values + y * row + c, depth, width, line);
    for (size_t i = 0; good && i < row; i++)
        blur_line(g, taps, values + i, row, height, line);
    free(taps);
    free(line);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory to blur a picture");
}
