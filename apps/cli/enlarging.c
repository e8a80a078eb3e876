/* enlarging.c - see enlarging.h. */
#include "enlarging.h"

#include "interrupt.h"
#include "message.h"

#include <stdlib.h>

const char *upscaler_name(const char *given)
{
    const char *usual = getenv("KILN_UPSCALER");
    if (given)
        return given;
    return usual && usual[0] ? usual : KILN_BUNDLED_UPSCALER;
}

/* The size of a drawing, but for the rounding of a second pass. */
static void drawn_size(const kiln_draw_options *o, const kiln_model *model, int *width, int *height)
{
    kiln_model_size(model, width, height);
    *width = o->width ? o->width : *width;
    *height = o->height ? o->height : *height;
    if (o->hires_scale > 1) {
        *width = (int)(*width * o->hires_scale);
        *height = (int)(*height * o->hires_scale);
    }
    *width = o->hires_width ? o->hires_width : *width;
    *height = o->hires_height ? o->hires_height : *height;
}

static int check_size(const enlarging *e, const kiln_draw_options *draw, const kiln_model *model,
                      const kiln_memory_plan *drawn)
{
    kiln_upscale_options options = e->options;
    if (options.memory_limit)
        options.memory_limit =
            options.memory_limit > drawn->weights ? options.memory_limit - drawn->weights : 1;
    kiln_error err = {0};
    kiln_image *blank = NULL;
    kiln_upscale_work work;
    int width, height;
    drawn_size(draw, model, &width, &height);
    kiln_status status = kiln_image_new(width, height, 3, 8, NULL, &blank, &err);
    if (status == KILN_OK)
        status = kiln_upscale_plan(e->upscaler, blank, &options, &work, &err);
    kiln_image_free(blank);
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}

int enlarging_open(enlarging *e, const draw_values *v, const kiln_draw_options *draw, const kiln_model *model,
                   const kiln_memory_plan *drawn)
{
    kiln_error err = {0};
    *e = (enlarging){.options = kiln_upscale_defaults()};
    if (v->upscale == 0)
        return EXIT_OK;
    e->options.scale = v->upscale;
    e->options.memory_limit = v->memory;
    e->options.progress = draw->progress;
    e->options.user = draw->user;
    kiln_model_options how = model_options_of(&v->model);
    if (kiln_upscaler_open(upscaler_name(v->upscaler), &how, &e->upscaler, &err) != KILN_OK)
        return complain_error(&err);
    return check_size(e, draw, model, drawn);
}

int enlarging_do(enlarging *e, kiln_image **pictures, int count)
{
    kiln_error err = {0};
    kiln_status status = KILN_OK;
    if (!e->upscaler)
        return EXIT_OK;
    interrupt_watch_upscaler(e->upscaler);
    for (int k = 0; status == KILN_OK && k < count; k++) {
        kiln_image *larger = NULL;
        status = kiln_upscale(e->upscaler, pictures[k], &e->options, &larger, &err);
        if (status == KILN_OK) {
            kiln_image_free(pictures[k]);
            pictures[k] = larger;
        }
    }
    interrupt_watch_upscaler(NULL);
    progress_clear();
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}

void enlarging_close(enlarging *e)
{
    kiln_upscaler_close(e->upscaler);
    *e = (enlarging){0};
}
