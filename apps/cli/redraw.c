/* redraw.c - `kiln redraw`: a picture drawn again at a larger size. */
#include "commands.h"
#include "drawing.h"
#include "message.h"

#include <kiln/edit.h>

#include <stdlib.h>

typedef struct redraw_values {
    draw_values draw; /* first: see drawing_option_table */
    double scale;
    picture_size to;
    const char *upscaler;
    int overlap, noise_level;
} redraw_values;

typedef struct redraw_run {
    redraw_values values;
    kiln_redraw_options options;
    kiln_image *picture;
} redraw_run;

#define AT(member) offsetof(redraw_values, member)

static const option redraw_options[] = {
    {"scale", 0, OPTION_NUMBER, AT(scale), "X", "2; 4 with an x4 upscaler", 0.1, 16, NULL,
     "how many times larger"},
    {"to", 0, OPTION_SIZE, AT(to), "WxH", NULL, 1, 65500, NULL, "the size of the result instead"},
    {"upscaler", 0, OPTION_TEXT, AT(upscaler), "NAME", "lanczos", 0, 0, NULL,
     "what enlarges the picture before: lanczos, bicubic, nearest, or an upscaler's file"},
    {"overlap", 0, OPTION_INTEGER, AT(overlap), "PX", "64", 0, 4096, NULL,
     "what neighbouring tiles share; a tile has the model's size, or --size"},
    {"noise-level", 0, OPTION_INTEGER, AT(noise_level), "N", "20", 0, 1000, NULL,
     "x4 upscaler: how much noise the picture gets, which hides its faults"},
    {0},
};

static void begin(void *self, const kiln_recipe *recipe)
{
    redraw_run *r = self;
    kiln_redraw_options *o = &r->options;
    *o = kiln_redraw_defaults();
    if (recipe)
        kiln_recipe_apply_redraw(recipe, o);
    r->values = (redraw_values){.draw = draw_values_of(&o->draw),
                                .scale = o->scale,
                                .to = {o->width, o->height},
                                .upscaler = o->upscaler,
                                .overlap = o->overlap,
                                .noise_level = o->noise_level};
}

static int check_command_line(const drawing *d, const void *self)
{
    const redraw_run *r = self;
    if (d->arguments.count < 1)
        return complain_usage("which picture? kiln redraw picture.png \"a beach\" --scale 2");
    if (!r->values.draw.prompt && !r->values.draw.condition)
        return complain_usage("what does it show? kiln redraw %s \"a beach\" [options]",
                              d->arguments.plain[0]);
    if (arguments_given(&d->arguments, "batch") && r->values.draw.batch != 1)
        return complain_usage("a picture is drawn again once: --batch has no meaning here");
    return drawing_check(d);
}

static int paint(drawing *d, void *self)
{
    redraw_run *r = self;
    kiln_error err = {0};
    kiln_memory_plan plan;
    kiln_redraw_options *o = &r->options;
    o->picture = r->picture;
    o->scale = r->values.scale;
    o->width = r->values.to.width;
    o->height = r->values.to.height;
    o->upscaler = r->values.upscaler;
    o->overlap = r->values.overlap;
    o->noise_level = r->values.noise_level;
    if (kiln_redraw_plan(d->open.session, o, &plan, &err) != KILN_OK)
        return complain_error(&err);
    int status = drawing_begin(d, &plan);
    if (status)
        return status;
    kiln_status drawn = kiln_redraw(d->open.session, o, &d->pictures[0], &err);
    progress_clear();
    return drawn == KILN_OK ? drawing_finish(d) : complain_error(&err);
}

static int read_inputs(drawing *d, void *self)
{
    redraw_run *r = self;
    kiln_error err = {0};
    if (kiln_image_read(d->arguments.plain[0], &r->picture, &err) != KILN_OK)
        return complain_error(&err);
    return EXIT_OK;
}

static int run(const command *c, int argc, char **argv)
{
    redraw_run r = {0};
    drawing d = {.all = &r.values, .values = &r.values.draw, .options = &r.options.draw};
    drawing_kind kind = {.begin = begin,
                         .prompt_at = 1,
                         .check = check_command_line,
                         .read = read_inputs,
                         .paint = paint,
                         .self = &r};
    int status = drawing_command(&d, &kind, c, argc, argv);
    kiln_image_free(r.picture);
    return status;
}

const command redraw_command = {
    .name = "redraw",
    .summary = "draw a picture again at a larger size",
    .usage = "PICTURE [PROMPT] [options]",
    .about =
        "Enlarges PICTURE, then draws it again tile by tile at a low --strength (0.35), so that detail comes "
        "where there was none. A model of the x4 upscaler's kind enlarges four times by itself.",
    .plain_minimum = 0,
    .plain_maximum = 2,
    .plain_name = "a picture",
    .options = redraw_options,
    .shared = drawing_option_table,
    .more_print = draw_print_names,
    .run = run,
};
