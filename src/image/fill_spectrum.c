/* fill_spectrum.c - noise like a picture: see fill_spectrum in fill.h. */
#include "image/fill.h"

#include "image/fourier.h"
#include "image/soften.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything one call holds. Planes are [rows, columns], powers of two that hold the picture. */
typedef struct spectrum {
    int width, height, columns, rows;
    wave *known, *noise;
    float *window;        /* [height, width]: 1 well inside the known part, falling to 0 towards its edges */
    const float *normal;  /* [FILL_NOISES, height * width] */
    float *shaped;        /* [height, width] */
    float *sample, *rank; /* values to sort */
} spectrum;

/* Fade the known part out, so that its border is no edge in the spectrum: half a Gaussian, from the mask blurred. */
static kiln_status make_window(spectrum *s, const float *mask, kiln_error *err)
{
    size_t pixels = (size_t)s->width * (size_t)s->height;
    memcpy(s->window, mask, pixels * sizeof *mask);
    int side = s->width < s->height ? s->width : s->height;
    kiln_status status = soften(s->window, s->width, s->height, 1, side / 16.0, err);
    for (size_t i = 0; status == KILN_OK && i < pixels; i++) {
        float w = 1 - 2 * s->window[i];
        s->window[i] = mask[i] > 0 || w < 0 ? 0 : w * w * (3 - 2 * w);
    }
    return status;
}

static double weighted_mean(const spectrum *s, const float *picture, int channel)
{
    double sum = 0, weight = 1e-12;
    for (size_t i = 0; i < (size_t)s->width * (size_t)s->height; i++) {
        sum += (double)picture[i * 3 + (size_t)channel] * (double)s->window[i];
        weight += (double)s->window[i];
    }
    return sum / weight;
}

/* One colour of the noise, in `shaped`: the known part's amplitudes with random phases. */
static kiln_status shape_noise(spectrum *s, const float *picture, int channel, float variation,
                               kiln_error *err)
{
    size_t count = (size_t)s->columns * (size_t)s->rows;
    memset(s->known, 0, count * sizeof *s->known);
    memset(s->noise, 0, count * sizeof *s->noise);
    float mean = (float)weighted_mean(s, picture, channel);
    const float *shared = s->normal,
                *own = s->normal + (size_t)(1 + channel) * (size_t)s->width * (size_t)s->height;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            size_t i = (size_t)y * (size_t)s->width + (size_t)x,
                   k = (size_t)y * (size_t)s->columns + (size_t)x;
            s->known[k].re = (picture[i * 3 + (size_t)channel] - mean) * s->window[i];
            s->noise[k].re = (1 - variation) * shared[i] + variation * own[i];
        }
    kiln_status status = fourier_plane(s->known, s->columns, s->rows, 0, err);
    if (status == KILN_OK)
        status = fourier_plane(s->noise, s->columns, s->rows, 0, err);
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        float amplitude = hypotf(s->known[i].re, s->known[i].im),
              length = hypotf(s->noise[i].re, s->noise[i].im) + 1e-12f;
        s->noise[i] = (wave){s->noise[i].re / length * amplitude, s->noise[i].im / length * amplitude};
    }
    if (status == KILN_OK)
        status = fourier_plane(s->noise, s->columns, s->rows, 1, err);
    for (int y = 0; status == KILN_OK && y < s->height; y++)
        for (int x = 0; x < s->width; x++)
            s->shaped[(size_t)y * (size_t)s->width + (size_t)x] =
                s->noise[(size_t)y * (size_t)s->columns + (size_t)x].re;
    return status;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The quantile of each unknown pixel's noise among all of them becomes the known colour of that quantile. */
static void match_colours(spectrum *s, const float *mask, float *picture, int channel)
{
    size_t pixels = (size_t)s->width * (size_t)s->height, known = 0, unknown = 0;
    for (size_t i = 0; i < pixels; i++)
        if (mask[i] > 0)
            s->rank[unknown++] = s->shaped[i];
        else
            s->sample[known++] = picture[i * 3 + (size_t)channel];
    if (!known || !unknown)
        return;
    qsort(s->sample, known, sizeof *s->sample, by_value);
    qsort(s->rank, unknown, sizeof *s->rank, by_value);
    for (size_t i = 0; i < pixels; i++) {
        if (!(mask[i] > 0))
            continue;
        size_t low = 0, high = unknown;
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (s->rank[middle] <= s->shaped[i])
                low = middle;
            else
                high = middle;
        }
        double at = unknown > 1 ? (double)low / (double)(unknown - 1) * (double)(known - 1) : 0;
        size_t k = (size_t)at;
        float part = (float)(at - (double)k), next = s->sample[k + 1 < known ? k + 1 : k];
        picture[i * 3 + (size_t)channel] +=
            mask[i] * (s->sample[k] + part * (next - s->sample[k]) - picture[i * 3 + (size_t)channel]);
    }
}

static kiln_status open_spectrum(spectrum *s, int width, int height, const float *noise, kiln_error *err)
{
    size_t pixels = (size_t)width * (size_t)height;
    *s = (spectrum){.width = width, .height = height, .normal = noise};
    s->columns = fourier_size(width);
    s->rows = fourier_size(height);
    size_t count = (size_t)s->columns * (size_t)s->rows;
    s->known = malloc(count * sizeof *s->known);
    s->noise = calloc(count, sizeof *s->noise);
    s->window = malloc(pixels * sizeof *s->window);
    s->shaped = calloc(pixels, sizeof *s->shaped);
    s->sample = calloc(pixels, sizeof *s->sample);
    s->rank = calloc(pixels, sizeof *s->rank);
    if (!s->known || !s->noise || !s->window || !s->shaped || !s->sample || !s->rank)
        return fail(err, KILN_NO_MEMORY, "out of memory to fill a picture with noise");
    return KILN_OK;
}

static void close_spectrum(spectrum *s)
{
    free(s->known);
    free(s->noise);
    free(s->window);
    free(s->shaped);
    free(s->sample);
    free(s->rank);
    free(s);
}

kiln_status fill_spectrum(float *picture, const float *mask, int width, int height, double variation,
                          const float *noise, kiln_error *err)
{
    spectrum *s = malloc(sizeof *s);
    if (!s)
        return fail(err, KILN_NO_MEMORY, "out of memory to fill a picture with noise");
    kiln_status status = open_spectrum(s, width, height, noise, err);
    if (status == KILN_OK)
        status = make_window(s, mask, err);
    for (int c = 0; status == KILN_OK && c < 3; c++) {
        status = shape_noise(s, picture, c, (float)variation, err);
        if (status == KILN_OK)
            match_colours(s, mask, picture, c);
    }
    close_spectrum(s);
    return status;
}
