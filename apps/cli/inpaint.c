/* inpaint.c - `kiln inpaint`: a part of a picture drawn anew. */
#include "commands.h"
#include "drawing.h"
#include "inpaint_options.h"
#include "message.h"

typedef struct inpaint_run {
    inpaint_values values;
    kiln_inpaint_options options;
    kiln_image *picture, *mask;
} inpaint_run;

static void begin(void *self, const kiln_recipe *recipe)
{
    inpaint_run *r = self;
    r->options = kiln_inpaint_defaults();
    if (recipe)
        kiln_recipe_apply_inpaint(recipe, &r->options);
    r->values = inpaint_values_of(&r->options);
}

static int check_command_line(const drawing *d, const void *self)
{
    const inpaint_run *r = self;
    if (d->arguments.count < 1)
        return complain_usage("which picture? kiln inpaint picture.png --mask mask.png \"a red door\"");
    if (!r->values.draw.prompt && !r->values.draw.condition)
        return complain_usage("what to draw there? kiln inpaint %s \"a red door\" [options]",
                              d->arguments.plain[0]);
    int status = inpaint_check_selection(&r->values);
    return status ? status : drawing_check(d);
}

static int read_inputs(drawing *d, void *self)
{
    inpaint_run *r = self;
    kiln_error err = {0};
    if (kiln_image_read(d->arguments.plain[0], &r->picture, &err) != KILN_OK)
        return complain_error(&err);
    return inpaint_read_mask(&r->values, r->picture, &r->mask);
}

static int paint(drawing *d, void *self)
{
    inpaint_run *r = self;
    kiln_error err = {0};
    kiln_memory_plan plan;
    inpaint_values_apply(&r->values, &r->options);
    r->options.picture = r->picture;
    r->options.mask = r->mask;
    if (kiln_inpaint_plan(d->open.session, &r->options, &plan, &err) != KILN_OK)
        return complain_error(&err);
    int status = drawing_begin(d, &plan);
    if (status)
        return status;
    kiln_status drawn = kiln_inpaint(d->open.session, &r->options, d->pictures, &err);
    progress_clear();
    return drawn == KILN_OK ? drawing_finish(d) : complain_error(&err);
}

static int run(const command *c, int argc, char **argv)
{
    inpaint_run r = {0};
    drawing d = {.all = &r.values, .values = &r.values.draw, .options = &r.options.draw};
    drawing_kind kind = {.begin = begin,
                         .prompt_at = 1,
                         .check = check_command_line,
                         .read = read_inputs,
                         .paint = paint,
                         .self = &r};
    int status = drawing_command(&d, &kind, c, argc, argv);
    kiln_image_free(r.picture);
    kiln_image_free(r.mask);
    return status;
}

const command inpaint_command = {
    .name = "inpaint",
    .summary = "draw a part of a picture anew",
    .usage = "PICTURE [PROMPT] --mask MASK [options]",
    .about = "Draws what is white in MASK anew, as PROMPT says. Every pixel outside of the mask and its soft "
             "edge keeps its exact value; bit depth and transparency stay.",
    .plain_minimum = 0,
    .plain_maximum = 2,
    .plain_name = "a picture",
    .options = inpaint_option_table,
    .shared = drawing_option_table,
    .more_print = draw_print_names,
    .run = run,
};
