/* hires.c - see hires.h. */
#include "pipeline/hires.h"

#include "image/image_tensor.h"
#include "pipeline/image_api.h"
#include "pipeline/latent_resize.h"
#include "pipeline/recipe.h"
#include "pipeline/upscale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool hires_wanted(const kiln_draw_options *o)
{
    return o->hires_scale != 0 || o->hires_width || o->hires_height;
}

static kiln_status check(const kiln_draw_options *o, kiln_error *err)
{
    bool sized = o->hires_width || o->hires_height;
    kiln_status status = sized ? KILN_OK : request_check_number("hires_scale", o->hires_scale, 1, 16, err);
    if (status == KILN_OK && sized)
        status = request_check_number("hires_width", o->hires_width, 1, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK && sized)
        status = request_check_number("hires_height", o->hires_height, 1, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK)
        status = request_check_number("hires_steps", o->hires_steps, 0, 1000, err);
    if (status == KILN_OK)
        status = request_check_number("hires_strength", o->hires_strength, 0, 1, err);
    if (status == KILN_OK && o->init)
        status = fail(err, KILN_BAD_ARGUMENT,
                      "a second pass follows a drawing from noise, not one from a picture");
    return status;
}

/* So many steps are run, whatever the strength: the schedule is longer by as much (A1111's rule for the second pass). */
static void choose_steps(const sampler_plan *first, kiln_draw_options *draw)
{
    int wanted = draw->hires_steps ? draw->hires_steps : draw->steps;
    double strength = fmin(draw->hires_strength, 0.999);
    int all = strength > 0 ? (int)(wanted / strength) : wanted;
    all = all > first->schedule->count ? first->schedule->count : all;
    draw->steps = all;
    /* The named samplers run one step more than the strength's share. */
    draw->strength = (wanted + (first->folder_view ? 0.5 : -0.5)) / all;
    draw->strength = fmin(fmax(draw->strength, 0), 1);
}

static int rounded_down(double side, int step)
{
    int whole = (int)(side / step) * step;
    return whole < step ? step : whole;
}

static kiln_upscale_options upscale_options_of(const hires *h)
{
    kiln_upscale_options o = kiln_upscale_defaults();
    o.width = h->draw.width;
    o.height = h->draw.height;
    o.memory_limit = h->options->memory_limit;
    o.progress = h->options->progress;
    o.user = h->options->user;
    return o;
}

/* The upscaler runs while the first pass's networks stay, and keeps its weights. */
static kiln_status plan_enlarging(hires *h, const request *first, kiln_error *err)
{
    kiln_upscale_options o = upscale_options_of(h);
    upscale_job job;
    const image form = {.width = first->width, .height = first->height, .channels = 3, .bits = 8};
    int64_t pixels = (int64_t)h->draw.width * h->draw.height * 3 * (int64_t)sizeof(float);
    kiln_status status = upscale_resolve(h->upscaler, &form, &o, first->memory.weights + pixels, &job, err);
    if (status == KILN_OK)
        h->enlarging = job.work.memory;
    return status;
}

/* From the first pass to what the second is asked for. */
static kiln_status describe(hires *h, kiln_session *s, const request *first, kiln_error *err)
{
    const kiln_draw_options *o = first->options;
    int step = kiln_model_size_step(s->model);
    *h = (hires){.options = o, .draw = *o, .work.session = s};
    kiln_status status = check(o, err);
    if (status != KILN_OK)
        return status;
    bool sized = o->hires_width || o->hires_height;
    h->draw.width = rounded_down(sized ? o->hires_width : fmin(first->width * o->hires_scale, 1e6), step);
    h->draw.height = rounded_down(sized ? o->hires_height : fmin(first->height * o->hires_scale, 1e6), step);
    choose_steps(first->sampler, &h->draw);
    if (latent_resize_known(o->hires_upscaler ? o->hires_upscaler : "Latent"))
        return KILN_OK;
    status = upscaler_open_beside(s->model, o->hires_upscaler, &h->upscaler, err);
    return status == KILN_OK ? plan_enlarging(h, first, err) : status;
}

kiln_status hires_open(hires *h, const work *first, kiln_error *err)
{
    kiln_status status = describe(h, first->session, &first->request, err);
    request_kind kind = {.picture = true, .beside = h->enlarging.weights};
    return status == KILN_OK ? work_open(&h->work, first->session, &h->draw, kind, err) : status;
}

kiln_status hires_plan(kiln_session *s, const request *first, kiln_memory_plan *joined, kiln_error *err)
{
    hires h;
    request r = {0};
    kiln_status status = describe(&h, s, first, err);
    if (status == KILN_OK)
        status = request_resolve(s, &h.draw, (request_kind){.picture = true, .beside = h.enlarging.weights},
                                 &r, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &r, err);
    const kiln_memory_plan *const all[] = {&r.memory, &h.enlarging};
    for (int i = 0; status == KILN_OK && i < 2; i++) {
        joined->peak = all[i]->peak > joined->peak ? all[i]->peak : joined->peak;
        joined->activations =
            all[i]->activations > joined->activations ? all[i]->activations : joined->activations;
    }
    joined->weights += h.enlarging.weights;
    request_fini(&r);
    hires_close(&h);
    return status;
}

kiln_status hires_prepare(hires *h, const work *first, kiln_error *err)
{
    /* Words that change do so over the second pass's own steps; the others are encoded already. */
    h->work.store = first->store;
    size_t pixels = (size_t)h->work.request.width * (size_t)h->work.request.height * 3;
    float *room = malloc((h->upscaler ? pixels : h->work.n) * sizeof *room);
    if (!room)
        return fail(err, KILN_NO_MEMORY, "out of memory for the second pass");
    if (h->upscaler)
        h->work.source.picture = h->pixels = room;
    else
        h->work.source.latents = h->latents = room;
    return work_prepare(&h->work, err);
}

/* The first pass's picture, enlarged. */
static kiln_status enlarge(hires *h, work *first, const float *x, kiln_error *err)
{
    int width = first->request.width, height = first->request.height;
    float *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    image *picture = NULL;
    kiln_image *small = NULL, *large = NULL;
    kiln_upscale_options o = upscale_options_of(h);
    kiln_status status = pixels ? work_decode(first, x, pixels, err)
                                : fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    if (status == KILN_OK)
        status = image_from_tensor(pixels, width, height, 3, 8, &picture, err);
    if (status == KILN_OK)
        status = kiln_image_wrap(picture, &small, err);
    if (status == KILN_OK)
        status = kiln_upscale(h->upscaler, small, &o, &large, err);
    if (status == KILN_OK)
        image_to_tensor(large->picture, h->pixels);
    kiln_image_free(small);
    kiln_image_free(large);
    free(pixels);
    return status;
}

kiln_status hires_draw(hires *h, work *first, int index, const float *x, float *y, kiln_error *err)
{
    const drawing *from = &first->drawing, *to = &h->work.drawing;
    const char *name = h->options->hires_upscaler ? h->options->hires_upscaler : "Latent";
    kiln_status status = h->upscaler
                             ? enlarge(h, first, x, err)
                             : latent_resize(name, x, drawing_channels(first->session->model), from->height,
                                             from->width, h->latents, to->height, to->width, err);
    return status == KILN_OK ? work_latents(&h->work, index, y, err) : status;
}

void hires_close(hires *h)
{
    work_close(&h->work);
    kiln_upscaler_close(h->upscaler);
    free(h->latents);
    free(h->pixels);
}

/* ------------------------------------------------------------------------------------ the recipe */

void hires_add_fields(const void *options, struct infotext *t)
{
    const kiln_draw_options *o = options;
    char size[32];
    recipe_set_real(t, "Denoising strength", o->hires_strength);
    snprintf(size, sizeof size, "%dx%d", o->hires_width, o->hires_height);
    if (o->hires_width || o->hires_height)
        (void)!infotext_set(t, "Hires resize", size, NULL);
    else
        recipe_set_real(t, "Hires upscale", o->hires_scale);
    if (o->hires_steps)
        recipe_set_real(t, "Hires steps", o->hires_steps);
    (void)!infotext_set(t, "Hires upscaler", o->hires_upscaler ? o->hires_upscaler : "Latent", NULL);
}

void hires_read_fields(const kiln_recipe *r, kiln_draw_options *o)
{
    const char *size = kiln_recipe_field(r, "Hires resize"), *name = kiln_recipe_field(r, "Hires upscaler");
    double scale = 0, steps = 0;
    recipe_get_real(r, "Hires upscale", &scale);
    recipe_get_real(r, "Hires steps", &steps);
    int width = 0, height = 0;
    if (size && sscanf(size, "%6dx%6d", &width, &height) != 2) /* NOLINT(cert-err34-c): at most six digits */
        width = height = 0;
    if (!(scale > 0) && !width)
        return;
    o->hires_scale = width ? 0 : scale;
    o->hires_width = width;
    o->hires_height = height;
    o->hires_steps = steps > 0 && steps < 1e6 ? (int)steps : 0;
    o->hires_upscaler = name ? name : "Latent";
    recipe_get_real(r, "Denoising strength", &o->hires_strength);
}
