/* outpaint.c - kiln_outpaint: a canvas around the picture, window after window drawn into what is not known.
 *
 * The canvas has the picture's form. `known` says of every pixel of it: not known, drawn, or the picture's own; the last are
 * never under a window's mask, the first always, and drawn ones near these as far as the feather goes, so that windows
 * blend into each other. */
#include "pipeline/outpaint.h"

#include "image/fill.h"
#include "image/soften.h"
#include "pipeline/image_api.h"
#include "pipeline/inpaint.h"
#include "pipeline/outpaint_parts.h"
#include "pipeline/seeding.h"

#include <kiln/edit.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ the canvas */

static kiln_status grow_canvas(outpainting *p, const image *from, kiln_error *err)
{
    const kiln_outpaint_options *o = p->options;
    kiln_status status =
        image_new(p->plan.width, p->plan.height, from->channels, from->bits, &p->canvas, err);
    if (status != KILN_OK)
        return status;
    p->known = calloc((size_t)p->plan.width * (size_t)p->plan.height, 1);
    if (!p->known)
        return fail(err, KILN_NO_MEMORY, "out of memory for the canvas");
    size_t row = image_row_bytes(from), pixel = (size_t)from->channels * (size_t)(from->bits / 8);
    for (int y = 0; y < from->height; y++) {
        memcpy((unsigned char *)p->canvas->pixels + (size_t)(y + o->up) * image_row_bytes(p->canvas) +
                   (size_t)o->left * pixel,
               (const unsigned char *)from->pixels + (size_t)y * row, row);
        memset(p->known + (size_t)(y + o->up) * (size_t)p->plan.width + (size_t)o->left, KNOWN_PICTURE,
               (size_t)from->width);
    }
    return KILN_OK;
}

static kiln_status window_mask(const outpainting *p, mask_box window, mask **out, kiln_error *err)
{
    kiln_status status = mask_new(window.width, window.height, out, err);
    if (status != KILN_OK)
        return status;
    float *values = (*out)->values;
    size_t width = (size_t)window.width, count = width * (size_t)window.height;
    for (size_t i = 0; i < count; i++)
        values[i] = *known_at(p, window.x + (int)(i % width), window.y + (int)(i / width)) == KNOWN_NOT;
    status = soften(values, window.width, window.height, 1, p->options->feather / 2.0, err);
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        unsigned char k = *known_at(p, window.x + (int)(i % width), window.y + (int)(i / width));
        float near = fminf(2 * values[i], 1);
        values[i] = k == KNOWN_NOT ? 1 : k == KNOWN_DRAWN && near >= 1.0f / 128 ? near : 0;
    }
    return status;
}

static void mark_drawn(outpainting *p, mask_box window)
{
    for (int y = window.y; y < window.y + window.height; y++)
        for (int x = window.x; x < window.x + window.width; x++)
            if (*known_at(p, x, y) == KNOWN_NOT)
                *known_at(p, x, y) = KNOWN_DRAWN;
}

/* ------------------------------------------------------------------------------------ a window */

/* The options of a window's inpainting: its mask is ready. */
static kiln_inpaint_options window_options(const outpainting *p, int index)
{
    const kiln_outpaint_options *o = p->options;
    kiln_inpaint_options w = kiln_inpaint_defaults();
    w.draw = words_options(&p->words, p->index, &o->draw);
    w.draw.batch = 1;
    w.draw.init = NULL;
    seeding_take_picture(&w.draw, p->index);
    seeding_take_part(&w.draw, index);
    w.draw.progress = p->progress;
    w.draw.user = p->progress_self;
    w.match_colour = o->match_colour;
    w.only_masked = true; /* the share of a pixel is its mask */
    w.content = strcmp(o->fill, "latent noise") == 0 ? "latent noise" : "original";
    return w;
}

static int rounded_up(int side, int step)
{
    return (side + step - 1) / step * step;
}

static kiln_status draw_window(outpainting *p, mask_box window, mask_box around, int index, char **text,
                               kiln_error *err)
{
    int step = kiln_model_size_step(p->session->model);
    kiln_inpaint_options o = window_options(p, index);
    region where = {.box = window,
                    .width = rounded_up(window.width, step),
                    .height = rounded_up(window.height, step),
                    .own_scale = true};
    outpaint_start start = {p, window, around, o.draw.seed};
    inpainting one;
    mask *m = NULL;
    kiln_status status = window_mask(p, window, &m, err);
    if (status != KILN_OK) {
        mask_free(m);
        return status;
    }
    status =
        inpaint_open(&one, p->session, &o, p->canvas, m, where, &(inpaint_fill){outpaint_fill, &start}, err);
    if (status == KILN_OK)
        status = inpaint_paint(&one, 0, p->canvas, err);
    if (status == KILN_OK && text)
        status = outpaint_recipe(p, &one.work, text, err);
    inpaint_close(&one);
    mask_free(m);
    if (status == KILN_OK)
        mark_drawn(p, window);
    return status;
}

/* Once around: the canvas and all its windows. *picture is replaced. */
static kiln_status go_round(outpainting *p, image **picture, char **text, kiln_error *err)
{
    outpaint_walk walk;
    mask_box window, around;
    kiln_status status = outpaint_make_plan(p, *picture, err);
    if (status == KILN_OK)
        status = grow_canvas(p, *picture, err);
    outpaint_walk_begin(&walk, &p->plan);
    for (int left = outpaint_walk_count(&p->plan);
         status == KILN_OK && outpaint_walk_next(&walk, &window, &around);) {
        left--;
        status = draw_window(p, window, around, p->windows, left == 0 ? text : NULL, err);
        p->windows++;
    }
    if (status == KILN_OK) {
        image_free(*picture);
        *picture = p->canvas;
        p->canvas = NULL;
    }
    image_free(p->canvas);
    p->canvas = NULL;
    free(p->known);
    p->known = NULL;
    return status;
}

/* ------------------------------------------------------------------------------------ the public call */

static kiln_status draw_one(outpainting *p, int index, kiln_image **out, kiln_error *err)
{
    const image *from = p->options->picture->picture;
    image *picture = NULL;
    char *text = NULL;
    p->index = index;
    p->windows = 0;
    kiln_status status = image_crop(from, 0, 0, from->width, from->height, &picture, err);
    for (int k = 0; status == KILN_OK && k < p->options->repeat; k++) {
        bool last = k + 1 == p->options->repeat;
        status = go_round(p, &picture, last ? &text : NULL, err);
    }
    if (status == KILN_OK) {
        status = kiln_image_wrap(picture, out, err);
        picture = NULL;
    }
    if (status == KILN_OK && text)
        status = kiln_image_set_text(*out, PICTURE_TEXT_PARAMETERS, text, err);
    image_free(picture);
    free(text);
    return status;
}

static kiln_status draw_all(kiln_session *s, const void *options, kiln_image **out, kiln_error *err)
{
    const kiln_outpaint_options *o = options;
    outpainting p = {.session = s, .options = o};
    kiln_status status = outpaint_open(&p, err);
    for (int k = 0; status == KILN_OK && k < o->draw.batch; k++)
        status = draw_one(&p, k, &out[k], err);
    outpaint_close(&p);
    return status;
}

kiln_status kiln_outpaint(kiln_session *s, const kiln_outpaint_options *o, kiln_image **out, kiln_error *err)
{
    return work_paint_batch(s, &o->draw, draw_all, o, out, err);
}
