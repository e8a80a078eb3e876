/* composite.c - see composite.h. */
#include "image/composite.h"

#include "image/soften.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float read_sample(const image *picture, size_t i)
{
    return picture->bits == 8 ? (float)((const uint8_t *)picture->pixels)[i] / 255.0f
                              : (float)((const uint16_t *)picture->pixels)[i] / 65535.0f;
}

static void write_sample(image *picture, size_t i, float v)
{
    v = v < 0 ? 0 : v > 1 ? 1 : v;
    if (picture->bits == 8)
        ((uint8_t *)picture->pixels)[i] = (uint8_t)lrintf(v * 255.0f);
    else
        ((uint16_t *)picture->pixels)[i] = (uint16_t)lrintf(v * 65535.0f);
}

/* The drawn colour of a channel, 0..1. */
static float drawn_sample(const image *picture, const float *rgb, size_t c)
{
    float v = picture->channels >= 3 ? rgb[c] : 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
    v = v / 2 + 0.5f;
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static void mix(image *picture, size_t pixel, const float *rgb, float share)
{
    size_t channels = (size_t)picture->channels, first = pixel * channels;
    bool has_alpha = image_has_alpha(picture);
    size_t colours = has_alpha ? channels - 1 : channels;
    float alpha = has_alpha ? read_sample(picture, first + colours) : 1;
    float result = alpha * (1 - share) + share;
    for (size_t c = 0; c < colours; c++) {
        float there = read_sample(picture, first + c), drawn = drawn_sample(picture, rgb, c);
        write_sample(picture, first + c, (there * alpha * (1 - share) + drawn * share) / result);
    }
    if (has_alpha && alpha < 1)
        write_sample(picture, first + colours, result);
}

void composite(image *picture, place p, const float *drawn, const float *share)
{
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++) {
            size_t i = (size_t)y * (size_t)p.width + (size_t)x;
            float s = share[i] < 1 ? share[i] : 1;
            if (s > 0)
                mix(picture, (size_t)(p.y + y) * (size_t)picture->width + (size_t)(p.x + x), drawn + i * 3,
                    s);
        }
}

void composite_colours(image *picture, const float *drawn)
{
    size_t channels = (size_t)picture->channels, colours = channels - (image_has_alpha(picture) ? 1 : 0);
    for (size_t i = 0; i < (size_t)picture->width * (size_t)picture->height; i++)
        for (size_t c = 0; c < colours; c++)
            write_sample(picture, i * channels + c, drawn_sample(picture, drawn + i * 3, c));
}

enum { FIELD = 4 }; /* a difference of three colours, and how much is known */

static kiln_status match_at(float *drawn, const float *original, const float *kept, float *field, int width,
                            int height, double sigma, kiln_error *err)
{
    size_t pixels = (size_t)width * (size_t)height;
    for (size_t i = 0; i < pixels; i++) {
        for (size_t c = 0; c < 3; c++) {
            float v = fminf(fmaxf(drawn[i * 3 + c], -1), 1);
            field[i * FIELD + c] = kept[i] * (original[i * 3 + c] - v);
        }
        field[i * FIELD + 3] = kept[i];
    }
    kiln_status status = soften(field, width, height, FIELD, sigma, err);
    for (size_t i = 0; status == KILN_OK && i < pixels; i++) {
        float known = field[i * FIELD + 3];
        if (known < 1e-4f)
            continue;
        /* At a straight seam one half is known: all of the difference counts up to there. */
        float strength = fminf(2 * known, 1) / known;
        for (size_t c = 0; c < 3; c++)
            drawn[i * 3 + c] += strength * field[i * FIELD + c];
    }
    return status;
}

kiln_status match_seam(float *drawn, const float *original, const float *kept, int width, int height,
                       double sigma, kiln_error *err)
{
    float *field = malloc((size_t)width * (size_t)height * FIELD * sizeof *field);
    if (!field)
        return fail(err, KILN_NO_MEMORY, "out of memory to match colours");
    /* A wide mean on one side of the seam misses a slope there: a narrow one takes the rest. */
    kiln_status status = match_at(drawn, original, kept, field, width, height, sigma, err);
    if (status == KILN_OK)
        status = match_at(drawn, original, kept, field, width, height, sigma / 4, err);
    free(field);
    return status;
}
