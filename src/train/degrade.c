/* degrade.c - see degrade.h. */
#include "train/degrade.h"

#include "diffusion/noise.h"
#include "image/gaussian.h"
#include "image/picture_file.h"
#include "image/resize.h"
#include "train/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIX_DEGRADE = MIX_OBJECTIVE + 70, BEST_JPEG = 95, WIDEST_KERNEL = 64 };

/* What is drawn for a picture, by name, so that none moves another. */
typedef enum draw_kind {
    DRAW_BLUR,
    DRAW_FILTER,
    DRAW_SIZE,
    DRAW_NOISE,
    DRAW_GREY,
    DRAW_JPEG,
    DRAW_QUALITY
} draw_kind;

static double drawn(uint64_t bits, int round, draw_kind what)
{
    return mix_unit(mix(bits, MIX_DEGRADE, (uint64_t)round, (uint64_t)what));
}

/* A picture in 0..1; its numbers are owned. */
typedef struct sheet {
    float *numbers;
    int width, height;
} sheet;

static size_t sheet_count(const sheet *s)
{
    return (size_t)s->width * (size_t)s->height * 3;
}

static kiln_status blur(const sheet *s, double deviation, kiln_error *err)
{
    int reach = (int)ceil(3 * deviation);
    if (deviation < 0.05)
        return KILN_OK;
    const gaussian g = {.sigma = deviation, .reach = reach > WIDEST_KERNEL ? WIDEST_KERNEL : reach};
    return gaussian_blur(&g, s->numbers, s->width, s->height, 3, err);
}

static kiln_status resample(sheet *s, int width, int height, resize_filter filter, kiln_error *err)
{
    sheet next = {calloc((size_t)width * (size_t)height * 3, sizeof(float)), width, height};
    kiln_status status = next.numbers ? resize_floats(s->numbers, s->width, s->height, 3, next.numbers, width,
                                                      height, filter, err)
                                      : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    if (status != KILN_OK) {
        free(next.numbers);
        return status;
    }
    free(s->numbers);
    *s = next;
    return KILN_OK;
}

/* The same for all channels where it is grey. */
static kiln_status add_noise(sheet *s, double deviation, bool grey, uint64_t bits, kiln_error *err)
{
    noise_source source;
    size_t count = sheet_count(s) / (grey ? 3 : 1);
    if (deviation <= 0)
        return KILN_OK;
    float *noise = malloc(count * sizeof *noise);
    if (!noise)
        return fail(err, KILN_NO_MEMORY, "out of memory for noise");
    noise_init(&source, NOISE_PHILOX, bits);
    noise_fill(&source, noise, count);
    for (size_t i = 0; i < sheet_count(s); i++)
        s->numbers[i] += (float)(deviation / 255) * noise[grey ? i / 3 : i];
    free(noise);
    return KILN_OK;
}

static void to_steps(sheet *s)
{
    for (size_t i = 0; i < sheet_count(s); i++)
        s->numbers[i] = rintf(fminf(fmaxf(s->numbers[i], 0), 1) * 255) / 255;
}

/* Through a file in memory and back. */
static kiln_status squeeze(sheet *s, int quality, kiln_error *err)
{
    image *picture = NULL, *back = NULL;
    unsigned char *bytes = NULL;
    size_t size = 0;
    kiln_status status = image_new(s->width, s->height, 3, 8, &picture, err);
    for (size_t i = 0; status == KILN_OK && i < sheet_count(s); i++)
        ((uint8_t *)picture->pixels)[i] = (uint8_t)lrintf(fminf(fmaxf(s->numbers[i], 0), 1) * 255);
    if (status == KILN_OK)
        status = image_write_memory(IMAGE_FORMAT_JPEG, picture, NULL,
                                    &(image_write_options){.quality = quality}, &bytes, &size, err);
    if (status == KILN_OK)
        status = image_read_memory(bytes, size, "a degraded picture", 0, &back, NULL, err);
    if (status == KILN_OK && (back->channels != 3 || back->width != s->width || back->height != s->height))
        status = fail(err, KILN_INTERNAL, "a JPEG came back in another form");
    for (size_t i = 0; status == KILN_OK && i < sheet_count(s); i++)
        s->numbers[i] = ((const uint8_t *)back->pixels)[i] / 255.0f;
    free(bytes);
    image_free(picture);
    image_free(back);
    return status;
}

/* Blur, resampling, noise and JPEG, once. */
static kiln_status pass(const degradation *d, sheet *s, int width, int height, uint64_t bits, int round,
                        kiln_error *err)
{
    static const resize_filter filters[] = {RESIZE_BICUBIC, RESIZE_BILINEAR, RESIZE_BOX};
    bool plain = d->blur <= 0 && d->noise <= 0 && d->jpeg <= 0;
    int which = plain ? 0 : (int)(3 * drawn(bits, round, DRAW_FILTER));
    kiln_status status = blur(s, d->blur * drawn(bits, round, DRAW_BLUR), err);
    if (status == KILN_OK)
        status = resample(s, width, height, filters[which], err);
    if (status == KILN_OK)
        status = add_noise(s, d->noise * drawn(bits, round, DRAW_NOISE), drawn(bits, round, DRAW_GREY) < 0.5,
                           mix(bits, MIX_DEGRADE + 1, (uint64_t)round, 0), err);
    if (status == KILN_OK && d->jpeg > 0 && drawn(bits, round, DRAW_JPEG) < 0.5) {
        int low = d->jpeg < BEST_JPEG ? d->jpeg : BEST_JPEG;
        status = squeeze(s, low + (int)((BEST_JPEG + 1 - low) * drawn(bits, round, DRAW_QUALITY)), err);
    }
    return status;
}

kiln_status degrade(const degradation *d, const float *large, int width, int height, uint64_t bits,
                    float *small, kiln_error *err)
{
    sheet s = {calloc((size_t)width * (size_t)height * 3, sizeof(float)), width, height};
    int w = width / d->scale, h = height / d->scale;
    kiln_status status = s.numbers ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    for (size_t i = 0; status == KILN_OK && i < sheet_count(&s); i++)
        s.numbers[i] = large[i] * 0.5f + 0.5f;
    if (status == KILN_OK && d->second_order) {
        double between = 1 + (d->scale - 1) * drawn(bits, 1, DRAW_SIZE);
        status = pass(d, &s, (int)(w * between), (int)(h * between), bits, 1, err);
    }
    if (status == KILN_OK)
        status = pass(d, &s, w, h, bits, 0, err);
    if (status == KILN_OK) {
        to_steps(&s);
        memcpy(small, s.numbers, sheet_count(&s) * sizeof *small);
    }
    free(s.numbers);
    return status;
}
