/* fourier.c - see fourier.h. */
#include "image/fourier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int fourier_size(int n)
{
    int size = 1;
    while (size < n)
        size *= 2;
    return size;
}

/* e^(-2 pi i k / n), k < n/2. */
static void fill_roots(wave *roots, int n, int back)
{
    const double turn = 6.283185307179586 * (back ? 1 : -1) / n;
    for (int k = 0; k < n / 2; k++)
        roots[k] = (wave){(float)cos(turn * k), (float)sin(turn * k)};
}

static void reorder(wave *line, int n)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            wave t = line[i];
            line[i] = line[j];
            line[j] = t;
        }
    }
}

static void transform_line(wave *line, int n, const wave *roots)
{
    reorder(line, n);
    for (int half = 1; half < n; half *= 2)
        for (int start = 0; start < n; start += 2 * half)
            for (int k = 0; k < half; k++) {
                wave w = roots[(size_t)k * (size_t)(n / (2 * half))], *a = &line[start + k], *b = a + half;
                wave t = {w.re * b->re - w.im * b->im, w.re * b->im + w.im * b->re};
                *b = (wave){a->re - t.re, a->im - t.im};
                *a = (wave){a->re + t.re, a->im + t.im};
            }
}

kiln_status fourier_plane(wave *plane, int width, int height, int back, kiln_error *err)
{
    int longest = width > height ? width : height;
    wave *roots = calloc((size_t)longest, sizeof *roots), *line = calloc((size_t)longest, sizeof *line);
    if (!roots || !line) {
        free(roots);
        free(line);
        return fail(err, KILN_NO_MEMORY, "out of memory for a Fourier transform");
    }
    fill_roots(roots, width, back);
    for (int y = 0; y < height; y++)
        transform_line(plane + (size_t)y * (size_t)width, width, roots);
    fill_roots(roots, height, back);
    float scale = back ? 1 / ((float)width * (float)height) : 1;
    for (int x = 0; x < width; x++) {
        for (int y = 0; y < height; y++)
            line[y] = plane[(size_t)y * (size_t)width + (size_t)x];
        transform_line(line, height, roots);
        for (int y = 0; y < height; y++)
            plane[(size_t)y * (size_t)width + (size_t)x] = (wave){line[y].re * scale, line[y].im * scale};
    }
    free(roots);
    free(line);
    return KILN_OK;
}
