/* outpaint_fill.c - what a window of an outpainting starts from where nothing is known. */
#include "pipeline/outpaint_parts.h"

#include "diffusion/noise.h"
#include "image/fill.h"
#include "image/soften.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The part of the window that is known as a rectangle. */
static fill_box known_box(const outpaint_start *s)
{
    int right = s->around.x + s->around.width, bottom = s->around.y + s->around.height;
    int x = s->around.x > s->window.x ? s->around.x : s->window.x,
        y = s->around.y > s->window.y ? s->around.y : s->window.y;
    int to_x = right < s->window.x + s->window.width ? right : s->window.x + s->window.width,
        to_y = bottom < s->window.y + s->window.height ? bottom : s->window.y + s->window.height;
    return (fill_box){x - s->window.x, y - s->window.y, to_x - x, to_y - y};
}

/* 1 where nothing is known, also beyond the window in the padding of the drawing. */
static void unknown_mask(const outpaint_start *s, const inpainting *p, float *out)
{
    for (int y = 0; y < p->region.height; y++)
        for (int x = 0; x < p->region.width; x++) {
            bool inside = x < s->window.width && y < s->window.height;
            out[(size_t)y * (size_t)p->region.width + (size_t)x] =
                !inside || *known_at(s->outpainting, s->window.x + x, s->window.y + y) == KNOWN_NOT;
        }
}

/* The edge goes over into the noise as far as the feather: a hard seam would be drawn as an edge. */
static kiln_status fill_noise(const outpaint_start *s, const inpainting *p, const float *unknown,
                              float *start, kiln_error *err)
{
    const kiln_outpaint_options *o = s->outpainting->options;
    int width = p->region.width, height = p->region.height;
    size_t pixels = (size_t)width * (size_t)height;
    float *noise = malloc(pixels * 3 * sizeof *noise), *soft = malloc(pixels * sizeof *soft),
          *normal = malloc(pixels * FILL_NOISES * sizeof *normal);
    noise_source *source = malloc(sizeof *source);
    kiln_status status = noise && soft && normal && source
                             ? KILN_OK
                             : fail(err, KILN_NO_MEMORY, "out of memory to fill a picture with noise");
    if (status == KILN_OK) {
        memcpy(noise, p->original, pixels * 3 * sizeof *noise);
        memcpy(soft, unknown, pixels * sizeof *soft);
        noise_init(source, NOISE_TORCH, s->seed);
        noise_fill(source, normal, pixels * FILL_NOISES);
        status = fill_spectrum(noise, unknown, width, height, o->variation, normal, err);
    }
    if (status == KILN_OK)
        status = soften(soft, width, height, 1, o->feather / 2.0, err);
    for (size_t i = 0; status == KILN_OK && i < pixels; i++) {
        float t = unknown[i] > 0 ? fminf(fmaxf(2 * soft[i] - 1, 0), 1) : 0;
        for (size_t c = 0; c < 3; c++)
            start[i * 3 + c] += t * (noise[i * 3 + c] - start[i * 3 + c]);
    }
    free(noise);
    free(soft);
    free(normal);
    free(source);
    return status;
}

kiln_status outpaint_fill(const void *self, const inpainting *p, float *start, kiln_error *err)
{
    const outpaint_start *s = self;
    const char *fill = s->outpainting->options->fill;
    int width = p->region.width, height = p->region.height;
    size_t pixels = (size_t)width * (size_t)height;
    float *unknown = calloc(pixels, sizeof *unknown);
    fill_box box = known_box(s);
    if (!unknown)
        return fail(err, KILN_NO_MEMORY, "out of memory to fill a picture");
    unknown_mask(s, p, unknown);
    kiln_status status = KILN_OK;
    if (strcmp(fill, "blurred") == 0 || box.width < 1 || box.height < 1)
        status = fill_blurred(start, unknown, width, height, err);
    else if (strcmp(fill, "mirror") == 0)
        fill_mirror(start, width, height, box);
    else
        fill_edge(start, width, height, box);
    /* What is drawn already but not in the rectangle stays. */
    for (size_t i = 0; status == KILN_OK && i < pixels; i++)
        if (unknown[i] <= 0)
            memcpy(start + i * 3, p->original + i * 3, 3 * sizeof *start);
    if (status == KILN_OK && strcmp(fill, "noise") == 0)
        status = fill_noise(s, p, unknown, start, err);
    free(unknown);
    return status;
}
