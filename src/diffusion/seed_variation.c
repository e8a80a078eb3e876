/* seed_variation.c - see seed_variation.h. */
#include "diffusion/seed_variation.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* One column of one channel: `height` numbers, `width` apart. */
typedef struct column {
    float *noise;
    const float *other;
    int height, width;
} column;

static column column_at(float *noise, const float *other, noise_shape s, int channel, int x)
{
    size_t begin = (size_t)channel * (size_t)s.height * (size_t)s.width + (size_t)x;
    return (column){noise + begin, other + begin, s.height, s.width};
}

static double cosine(const column *c)
{
    double dot = 0, of_noise = 0, of_other = 0;
    for (int y = 0; y < c->height; y++) {
        double a = (double)c->noise[(size_t)y * (size_t)c->width],
               b = (double)c->other[(size_t)y * (size_t)c->width];
        dot += a * b;
        of_noise += a * a;
        of_other += b * b;
    }
    double length = sqrt(of_noise * of_other);
    return length > 0 ? fmin(fmax(dot / length, -1), 1) : 1;
}

static void mix(const column *c, double of_noise, double of_other)
{
    for (int y = 0; y < c->height; y++) {
        size_t i = (size_t)y * (size_t)c->width;
        c->noise[i] = (float)(of_noise * (double)c->noise[i] + of_other * (double)c->other[i]);
    }
}

static void mix_on_arc(const column *c, double strength)
{
    double angle = acos(cosine(c)), sine = sin(angle);
    /* Parallel columns have no arc, and either end is the whole way. */
    if (sine < 1e-9)
        mix(c, 1 - strength, strength);
    else
        mix(c, sin((1 - strength) * angle) / sine, sin(strength * angle) / sine);
}

void noise_vary(float *noise, const float *other, noise_shape s, double strength)
{
    double total = 0;
    for (int k = 0; k < s.channels; k++)
        for (int x = 0; x < s.width; x++) {
            column c = column_at(noise, other, s, k, x);
            total += cosine(&c);
        }
    bool parallel = total > 0.9995 * s.channels * s.width;
    for (int k = 0; k < s.channels; k++)
        for (int x = 0; x < s.width; x++) {
            column c = column_at(noise, other, s, k, x);
            if (parallel)
                mix(&c, strength, 1 - strength);
            else
                mix_on_arc(&c, strength);
        }
}

/* Where a length lies within another, both cut to what they share. */
typedef struct overlap {
    int from, to, length;
} overlap;

static overlap overlap_of(int from, int to)
{
    int shift = (to - from) >= 0 ? (to - from) / 2 : -((from - to + 1) / 2);
    return shift >= 0 ? (overlap){0, shift, from} : (overlap){-shift, 0, from + 2 * shift};
}

void noise_place(const float *small, noise_shape from, float *canvas, noise_shape to)
{
    overlap x = overlap_of(from.width, to.width), y = overlap_of(from.height, to.height);
    for (int c = 0; c < to.channels; c++)
        for (int i = 0; i < y.length; i++) {
            size_t at = ((size_t)c * (size_t)from.height + (size_t)(y.from + i)) * (size_t)from.width +
                        (size_t)x.from;
            size_t put =
                ((size_t)c * (size_t)to.height + (size_t)(y.to + i)) * (size_t)to.width + (size_t)x.to;
            memcpy(canvas + put, small + at, (size_t)x.length * sizeof *canvas);
        }
}
