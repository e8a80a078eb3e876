/* redraw_open.c - a redrawing's options checked, its sizes chosen, its recipe written and read. */
#include "pipeline/redraw.h"

#include "base/arena.h"
#include "pipeline/autoencode.h"
#include "pipeline/image_api.h"
#include "pipeline/recipe.h"
#include "weights/small_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

kiln_redraw_options kiln_redraw_defaults(void)
{
    kiln_redraw_options o = {
        .draw = kiln_draw_defaults(), .upscaler = "lanczos", .overlap = 64, .noise_level = 20};
    o.draw.strength = 0.35;
    return o;
}

static kiln_status check(const redrawing *r, kiln_error *err)
{
    const kiln_redraw_options *o = r->options;
    if (!o->picture)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to draw again");
    kiln_status status = request_check_batch(&o->draw, err);
    if (status == KILN_OK && o->draw.batch != 1)
        status =
            fail(err, KILN_BAD_ARGUMENT, "a picture is drawn again once: batch is 1, not %d", o->draw.batch);
    if (status == KILN_OK && o->scale != 0)
        status = request_check_number("scale", o->scale, 0.1, 16, err);
    if (status == KILN_OK)
        status = request_check_number("overlap", o->overlap, 0, 4096, err);
    if (status == KILN_OK && r->factor > 1)
        status = request_check_number("noise_level", o->noise_level, 0,
                                      r->session->model->parts->unet.class_count - 1, err);
    return status;
}

static kiln_status choose_size(redrawing *r, kiln_error *err)
{
    const kiln_redraw_options *o = r->options;
    int width = kiln_image_width(o->picture), height = kiln_image_height(o->picture);
    double scale = o->scale != 0 ? o->scale : r->factor > 1 ? r->factor : 2;
    bool sized = o->width || o->height;
    double to_width = sized ? o->width : rint(width * scale),
           to_height = sized ? o->height : rint(height * scale);
    kiln_status status = request_check_number("width", to_width, 1, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK)
        status = request_check_number("height", to_height, 1, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK && r->factor > 1)
        status = request_check_number("four times the picture's width", 4.0 * width, 4, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK && r->factor > 1)
        status =
            request_check_number("four times the picture's height", 4.0 * height, 4, IMAGE_MAX_SIDE, err);
    if (status != KILN_OK)
        return status;
    r->to_width = (int)to_width;
    r->to_height = (int)to_height;
    r->width = r->factor > 1 ? width * r->factor : r->to_width;
    r->height = r->factor > 1 ? height * r->factor : r->to_height;
    if ((int64_t)r->width * r->height > IMAGE_MAX_PIXELS ||
        (int64_t)r->to_width * r->to_height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "a picture of %dx%d is too large", r->width, r->height);
    return KILN_OK;
}

static kiln_status choose_tiles(redrawing *r, kiln_error *err)
{
    const kiln_draw_options *o = &r->options->draw;
    int own_width, own_height, step = kiln_model_size_step(r->session->model);
    kiln_model_size(r->session->model, &own_width, &own_height);
    r->tile_width = o->width ? o->width : own_width;
    r->tile_height = o->height ? o->height : own_height;
    if (r->tile_width < step || r->tile_height < step || r->tile_width % step || r->tile_height % step)
        return fail(err, KILN_BAD_ARGUMENT, "a tile's sides are multiples of %d, not %dx%d", step,
                    r->tile_width, r->tile_height);
    int least = r->tile_width < r->tile_height ? r->tile_width : r->tile_height;
    r->overlap = r->options->overlap < least / 2 ? r->options->overlap : least / 2;
    return KILN_OK;
}

/* The noise of the small picture is that of low_res_scheduler, whose levels are those of the published model where the folder
 * does not say. */
static kiln_status read_low_alpha(redrawing *r, kiln_error *err)
{
    char path[4200];
    const char *text = NULL;
    size_t size = 0;
    arena memory = {0};
    schedule_config config;
    schedule *levels = NULL;
    schedule_config_defaults(&config, "DDPMScheduler");
    config.beta_schedule = BETA_SCALED_LINEAR;
    snprintf(path, sizeof path, "%.4000s/low_res_scheduler/scheduler_config.json", r->session->model->path);
    bool read = small_file_read(path, &memory, &text, &size, NULL) == KILN_OK;
    kiln_status status = read ? schedule_config_read(&config, text, size, NULL, path, err) : KILN_OK;
    arena_fini(&memory);
    if (status != KILN_OK)
        return status;
    status = schedule_new(&levels, &config, err);
    if (read)
        schedule_config_fini(&config);
    if (status == KILN_OK)
        r->low_alpha = schedule_alpha_bar(levels, r->options->noise_level, 1);
    schedule_free(levels);
    return status;
}

kiln_status redraw_open(redrawing *r, kiln_error *err)
{
    bool x4 = r->session->model->parts->family == FAMILY_X4_UPSCALER;
    r->factor = x4 ? autoencode_factor(r->session->model) : 1;
    kiln_status status = check(r, err);
    if (status == KILN_OK)
        status = choose_size(r, err);
    if (status == KILN_OK)
        status = choose_tiles(r, err);
    if (status == KILN_OK && x4)
        status = read_low_alpha(r, err);
    const char *name = r->factor > 1 || !r->options->upscaler ? "lanczos" : r->options->upscaler;
    return status == KILN_OK ? upscaler_open_beside(r->session->model, name, &r->upscaler, err) : status;
}

void redraw_close(redrawing *r)
{
    kiln_upscaler_close(r->upscaler);
    control_part_free(&r->controls);
    words_close(&r->words);
    free(r->sum);
    free(r->weight);
}

kiln_upscale_options redraw_enlarging(const redrawing *r)
{
    kiln_upscale_options o = kiln_upscale_defaults();
    o.width = r->width;
    o.height = r->height;
    o.memory_limit = r->options->draw.memory_limit;
    o.progress = r->options->draw.progress;
    o.user = r->options->draw.user;
    return o;
}

kiln_status redraw_low(const redrawing *r, const region *where, const float *tile, float **out,
                       kiln_error *err)
{
    (void)r;
    int64_t positions = (int64_t)where->width * where->height;
    *out = malloc((size_t)positions * 3 * sizeof **out);
    if (!*out)
        return fail(err, KILN_NO_MEMORY, "out of memory for a part of the picture");
    channels_first(tile, 3, positions, *out);
    return KILN_OK;
}

/* Of the largest tile. */
static kiln_status resolve(const redrawing *r, int64_t beside, kiln_draw_options *draw, request *q,
                           kiln_error *err)
{
    *draw = r->options->draw;
    draw->width = r->tile_width;
    draw->height = r->tile_height;
    request_kind kind = {.picture = r->factor == 1, .low = r->factor > 1, .beside = beside};
    return request_resolve(r->session, draw, kind, q, err);
}

/* What is there besides a tile: the result, the sums, and control pictures of its size. */
static int64_t bytes_beside(const redrawing *r)
{
    const image *form = r->options->picture->picture;
    int64_t pixels = (int64_t)r->width * r->height;
    int64_t per_pixel = 4 * (int64_t)sizeof(float) + (int64_t)form->channels * (form->bits / 8) +
                        (int64_t)r->options->draw.control_count * 3;
    return pixels * per_pixel;
}

/* First the picture is enlarged, then the tiles are drawn. */
kiln_status redraw_plan(redrawing *r, kiln_memory_plan *out, kiln_error *err)
{
    request q = {0};
    kiln_draw_options draw;
    kiln_upscale_options enlarging = redraw_enlarging(r);
    kiln_upscale_work first = {0};
    kiln_status status = kiln_upscale_plan(r->upscaler, r->options->picture, &enlarging, &first, err);
    if (status == KILN_OK)
        status = resolve(r, bytes_beside(r), &draw, &q, err);
    if (status == KILN_OK)
        status = request_plan_memory(r->session, &q, err);
    *out = q.memory;
    request_fini(&q);
    if (first.memory.peak > out->peak)
        out->peak = first.memory.peak;
    return status;
}

kiln_status kiln_redraw_plan(kiln_session *s, const kiln_redraw_options *o, kiln_memory_plan *out,
                             kiln_error *err)
{
    *out = (kiln_memory_plan){0};
    session_begin(s);
    redrawing r = {.session = s, .options = o};
    kiln_status status = redraw_open(&r, err);
    if (status == KILN_OK)
        status = redraw_plan(&r, out, err);
    redraw_close(&r);
    return status;
}

/* ------------------------------------------------------------------------------------ the recipe */

static void add_fields(const void *self, struct infotext *t)
{
    const redrawing *r = self;
    const kiln_redraw_options *o = r->options;
    char size[32];
    snprintf(size, sizeof size, "%dx%d", r->to_width, r->to_height);
    (void)!infotext_set(t, "SD upscale size", size, NULL);
    recipe_set_real(t, "SD upscale overlap", o->overlap);
    if (r->factor > 1)
        recipe_set_real(t, "Noise level", o->noise_level);
    else
        (void)!infotext_set(t, "SD upscale upscaler", o->upscaler ? o->upscaler : "lanczos", NULL);
}

kiln_status redraw_recipe(const redrawing *r, char **text, kiln_error *err)
{
    work w = {.session = r->session};
    kiln_draw_options draw;
    kiln_status status = resolve(r, 0, &draw, &w.request, err);
    w.request.add_fields = add_fields;
    w.request.add_self = r;
    if (status == KILN_OK)
        status = work_wait_for_hash(&w, err);
    *text = status == KILN_OK ? request_infotext(r->session, &w.request, 0) : NULL;
    request_fini(&w.request);
    return status != KILN_OK || *text ? status
                                      : fail(err, KILN_NO_MEMORY, "out of memory for the picture's text");
}

void kiln_recipe_apply_redraw(const kiln_recipe *r, kiln_redraw_options *o)
{
    kiln_recipe_apply(r, &o->draw);
    const char *size = kiln_recipe_field(r, "SD upscale size"),
               *upscaler = kiln_recipe_field(r, "SD upscale upscaler");
    double overlap = o->overlap, level = o->noise_level;
    int width = 0, height = 0;
    recipe_get_real(r, "SD upscale overlap", &overlap);
    recipe_get_real(r, "Noise level", &level);
    if (size &&
        sscanf(size, "%6dx%6d", &width, &height) == 2) { /* NOLINT(cert-err34-c): at most six digits */
        o->width = width;
        o->height = height;
    }
    o->overlap = overlap >= 0 && overlap <= 4096 ? (int)overlap : o->overlap;
    o->noise_level = level >= 0 && level <= 100000 ? (int)level : o->noise_level;
    o->upscaler = upscaler ? upscaler : o->upscaler;
}
