/* draw.c - `kiln draw`: pictures from a prompt. */
#include "commands.h"
#include "drawing.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"

#include <string.h>

typedef struct draw_run {
    draw_values values;
    kiln_draw_options options;
    kiln_image *init;
} draw_run;

static void begin(void *self, const kiln_recipe *recipe)
{
    draw_run *r = self;
    r->options = kiln_draw_defaults();
    if (recipe)
        kiln_recipe_apply(recipe, &r->options);
    r->values = draw_values_of(&r->options);
}

static int check_command_line(const drawing *d)
{
    const draw_values *v = d->values;
    if (!v->prompt && !v->condition)
        return complain_usage("what to draw? kiln draw \"a lighthouse at dusk\" [options]");
    if (arguments_given(&d->arguments, "strength") && !v->init)
        return complain_usage("--strength says how far to leave the picture of --init, and there is none");
    return drawing_check(d);
}

static int draw(drawing *d)
{
    kiln_error err = {0};
    kiln_memory_plan plan;
    if (kiln_draw_plan(d->open.session, d->options, &plan, &err) != KILN_OK)
        return complain_error(&err);
    drawing_print_plan(d, &plan);
    int status = drawing_begin_trace(d);
    if (status == EXIT_OK)
        status = drawing_make_room(d);
    if (status)
        return status;
    kiln_status drawn = kiln_draw(d->open.session, d->options, d->pictures, &err);
    progress_clear();
    return drawn == KILN_OK ? drawing_finish(d) : complain_error(&err);
}

static int run(const command *c, int argc, char **argv)
{
    kiln_error err = {0};
    draw_run r = {0};
    drawing d = {.all = &r.values, .values = &r.values, .options = &r.options};
    drawing_kind kind = {.begin = begin, .expects_picture = "name it with --init", .self = &r};
    int status = drawing_read_command_line(&d, &kind, c, argc, argv);
    if (status == EXIT_OK && d.arguments.help) {
        help_command(c);
        drawing_release(&d);
        return EXIT_OK;
    }
    interrupt_watch(NULL);
    if (status == EXIT_OK)
        status = check_command_line(&d);
    if (status == EXIT_OK)
        status = drawing_check_outputs(&d);
    if (status == EXIT_OK && r.values.init && kiln_image_read(r.values.init, &r.init, &err) != KILN_OK)
        status = complain_error(&err);
    if (status == EXIT_OK)
        status = drawing_read_maps(&d);
    if (status == EXIT_OK)
        status = drawing_open(&d);
    r.options.init = r.init;
    if (status == EXIT_OK)
        status = draw(&d);
    drawing_release(&d);
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
