/* draw.c - `kiln draw`: pictures from a prompt. */
#include "commands.h"
#include "drawing.h"
#include "enlarging.h"
#include "message.h"

#include <string.h>

typedef struct draw_run {
    draw_values values;
    kiln_draw_options options;
    kiln_image *init;
    enlarging enlarging;
} draw_run;

static void begin(void *self, const kiln_recipe *recipe)
{
    draw_run *r = self;
    r->options = kiln_draw_defaults();
    if (recipe)
        kiln_recipe_apply(recipe, &r->options);
    r->values = draw_values_of(&r->options);
}

static int check_command_line(const drawing *d, const void *self)
{
    (void)self;
    const draw_values *v = d->values;
    if (!v->prompt && !v->condition)
        return complain_usage("what to draw? kiln draw \"a lighthouse at dusk\" [options]");
    if (arguments_given(&d->arguments, "strength") && !v->init)
        return complain_usage("--strength says how far to leave the picture of --init, and there is none");
    if (arguments_given(&d->arguments, "upscaler") && v->upscale == 0)
        return complain_usage("--upscaler says what --upscale enlarges with, and that is not given");
    return drawing_check(d);
}

static int read_inputs(drawing *d, void *self)
{
    (void)d;
    draw_run *r = self;
    kiln_error err = {0};
    if (r->values.init && kiln_image_read(r->values.init, &r->init, &err) != KILN_OK)
        return complain_error(&err);
    return EXIT_OK;
}

static int paint(drawing *d, void *self)
{
    draw_run *r = self;
    kiln_error err = {0};
    kiln_memory_plan plan;
    d->options->init = r->init;
    if (kiln_draw_plan(d->open.session, d->options, &plan, &err) != KILN_OK)
        return complain_error(&err);
    int status = enlarging_open(&r->enlarging, &r->values, d->options, d->open.model, &plan);
    if (status == EXIT_OK)
        status = drawing_begin(d, &plan);
    if (status)
        return status;
    kiln_status drawn = kiln_draw(d->open.session, d->options, d->pictures, &err);
    progress_clear();
    if (drawn != KILN_OK)
        return complain_error(&err);
    int evaluations = kiln_session_evaluations(d->open.session);
    if (evaluations != d->options->steps * d->options->batch && !d->values->quiet)
        fprintf(stderr, "kiln: %d evaluations of the model\n", evaluations);
    status = enlarging_do(&r->enlarging, d->pictures, d->options->batch);
    return status ? status : drawing_finish(d);
}

static int run(const command *c, int argc, char **argv)
{
    draw_run r = {0};
    drawing d = {.all = &r.values, .values = &r.values, .options = &r.options};
    drawing_kind kind = {.begin = begin,
                         .expects_picture = "name it with --init",
                         .check = check_command_line,
                         .read = read_inputs,
                         .paint = paint,
                         .self = &r};
    int status = drawing_command(&d, &kind, c, argc, argv);
    enlarging_close(&r.enlarging);
    kiln_image_free(r.init);
    return status;
}

const command draw_command = {
    .name = "draw",
    .summary = "draw pictures from a prompt",
    .usage = "PROMPT [options]",
    .about = "Draws PROMPT with the model and writes the picture, with its recipe inside.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a prompt",
    .options = draw_option_table,
    .shared = drawing_option_table,
    .more_print = draw_print_names,
    .run = run,
};
