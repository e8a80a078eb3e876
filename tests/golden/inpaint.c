/* inpaint.c - the start of golden inpaintings, as diffusers' pipeline makes it: see pipeline_case.h.
 *
 * Draws of noise, in order: the picture's VAE sample (an ordinary UNet, or strength below 1), the start, the VAE sample of the
 * masked picture. */
#include "golden/pipeline_case.h"

#include "pipeline/autoencode.h"

#include <stdlib.h>
#include <string.h>

static float *draw_number(const pipeline_case *c, int k, size_t n)
{
    char name[32];
    size_t count = 0;
    snprintf(name, sizeof name, "draw%d", k);
    float *values = case_tensor(c, c->key, name, &count);
    if (values && count != n) {
        free(values);
        values = NULL;
    }
    return values;
}

/* The picture in -1..1 as [H,W,3], with grey where `mask` (may be NULL) says. */
static float *rows_of(const float *image01, const float *mask, size_t pixels)
{
    float *rows = malloc(pixels * 3 * sizeof *rows);
    for (size_t i = 0; rows && i < pixels; i++)
        for (size_t k = 0; k < 3; k++)
            rows[i * 3 + k] = mask && mask[i] >= 0.5f ? 0 : 2 * image01[k * pixels + i] - 1;
    return rows;
}

static void shrink_mask(const float *mask, int width, const drawing *d, float *out)
{
    int f = width / d->width;
    for (int y = 0; y < d->height; y++)
        for (int x = 0; x < d->width; x++)
            out[y * d->width + x] = mask[y * f * width + x * f] >= 0.5f;
}

static kiln_status encode_both(kiln_session *s, const pipeline_case *c, const float *image01,
                               const float *mask, int height, int width, float *const vae_noise[2],
                               const inpaint_held *held, kiln_error *err)
{
    size_t pixels = (size_t)height * (size_t)width;
    float *rows = rows_of(image01, NULL, pixels), *masked = rows_of(image01, mask, pixels);
    kiln_status status = rows && masked ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory");
    if (status == KILN_OK && vae_noise[0])
        status = autoencode_encode(s, rows, height, width, vae_noise[0], held->image, err);
    if (status == KILN_OK && held->extra)
        status = autoencode_encode(s, masked, height, width, vae_noise[1],
                                   held->extra + c->n / (size_t)drawing_channels(s->model), err);
    free(rows);
    free(masked);
    return status;
}

kiln_status case_begin_inpaint(kiln_session *s, const pipeline_case *c, const sampler_plan *steps, int height,
                               int width, drawing *d, inpaint_held *held, float *x, kiln_error *err)
{
    bool told = strncmp(c->key, "inpaint9", 8) == 0, uses_image = steps->first > 0 || !told;
    size_t pixels = 0, count = 0, positions = c->n / (size_t)drawing_channels(s->model);
    float *image01 = case_tensor(c, "inpaint", "image01", &pixels),
          *mask = case_tensor(c, "inpaint", "mask", &count);
    float *vae_noise[2] = {uses_image ? draw_number(c, 0, c->n) : NULL,
                           draw_number(c, uses_image ? 2 : 1, c->n)};
    *held = (inpaint_held){.mask = malloc(positions * sizeof(float)),
                           .image = malloc(c->n * sizeof(float)),
                           .noise = draw_number(c, uses_image ? 1 : 0, c->n),
                           .extra = told ? malloc((c->n + positions) * sizeof(float)) : NULL};
    bool good = image01 && mask && held->mask && held->image && held->noise && vae_noise[1] &&
                (!uses_image || vae_noise[0]) && count == (size_t)height * (size_t)width &&
                pixels == 3 * count;
    kiln_status status = good ? KILN_OK : fail(err, KILN_BAD_FORMAT, "tensors of the case are missing");
    if (status == KILN_OK) {
        shrink_mask(mask, width, d, held->mask);
        status = encode_both(s, c, image01, mask, height, width, vae_noise, held, err);
    }
    if (status == KILN_OK) {
        sampler_start(steps, held->noise, steps->first > 0 ? held->image : NULL, x, c->n);
        held->repaint = (repaint){.way = REPAINT_NOISED,
                                  .mask = held->mask,
                                  .image = held->image,
                                  .noise = held->noise,
                                  .positions = positions,
                                  .channels = drawing_channels(s->model)};
        d->repaint = told ? NULL : &held->repaint;
        if (told)
            memcpy(held->extra, held->mask, positions * sizeof(float));
        d->extra = held->extra;
        d->extra_channels = told ? drawing_channels(s->model) + 1 : 0;
    }
    free(image01);
    free(mask);
    free(vae_noise[0]);
    free(vae_noise[1]);
    return status;
}

void inpaint_held_free(inpaint_held *held)
{
    free(held->mask);
    free(held->image);
    free(held->noise);
    free(held->extra);
}
