/* outpaint.c - `kiln outpaint`: a picture that goes on beyond its edges. */
#include "commands.h"
#include "drawing.h"
#include "message.h"
#include "values.h"

#include <kiln/edit.h>

#include <stdlib.h>
#include <string.h>

typedef struct outpaint_values {
    draw_values draw; /* first: see drawing_option_table */
    int left, right, up, down, feather, step, repeat;
    const char *to, *anchor, *fill;
    double variation;
    bool keep_colour;
} outpaint_values;

typedef struct outpaint_run {
    outpaint_values values;
    kiln_outpaint_options options;
    kiln_image *picture;
} outpaint_run;

#define AT(member) offsetof(outpaint_values, member)

static const option outpaint_options[] = {
    {"left", 0, OPTION_INTEGER, AT(left), "PX", "0", 0, 65500, NULL, "how far to go on to the left"},
    {"right", 0, OPTION_INTEGER, AT(right), "PX", "0", 0, 65500, NULL, "how far to the right"},
    {"up", 0, OPTION_INTEGER, AT(up), "PX", "0", 0, 65500, NULL, "how far upwards"},
    {"down", 0, OPTION_INTEGER, AT(down), "PX", "0", 0, 65500, NULL, "how far downwards"},
    {"to", 0, OPTION_TEXT, AT(to), "W:H|WxH", NULL, 0, 0, NULL,
     "go on until the picture has these proportions (16:9), or this size in pixels (1024x768)"},
    {"anchor", 0, OPTION_CHOICE, AT(anchor), "PLACE", "center", 0, 0,
     "center|left|right|top|bottom|top-left|top-right|bottom-left|bottom-right",
     "where the picture stays with --to"},
    {"fill", 0, OPTION_CHOICE, AT(fill), "WHAT", "noise", 0, 0, "edge|mirror|blurred|noise|latent noise",
     "what the drawing starts from: noise has the picture's spectrum and colours"},
    {"variation", 0, OPTION_NUMBER, AT(variation), "X", "0.05", 0, 1, NULL,
     "variation of colour in that noise"},
    {"feather", 0, OPTION_INTEGER, AT(feather), "PX", "32", 0, 1024, NULL,
     "how softly overlapping windows and the fill begin"},
    {"step", 0, OPTION_INTEGER, AT(step), "PX", "half a window", 0, 65500, NULL,
     "how far a strip goes at most; a window has the model's size, or --size"},
    {"steps-out", 0, OPTION_INTEGER, AT(repeat), "N", "1", 1, 1000, NULL,
     "do all that so often, each time around what was drawn"},
    {"keep-colour", 0, OPTION_FLAG, AT(keep_colour), NULL, NULL, 0, 0, NULL,
     "leave differences in colour at the seam as they are"},
    {0},
};

static void begin(void *self, const kiln_recipe *recipe)
{
    outpaint_run *r = self;
    kiln_outpaint_options *o = &r->options;
    *o = kiln_outpaint_defaults();
    if (recipe)
        kiln_recipe_apply_outpaint(recipe, o);
    r->values = (outpaint_values){.draw = draw_values_of(&o->draw),
                                  .left = o->left,
                                  .right = o->right,
                                  .up = o->up,
                                  .down = o->down,
                                  .feather = o->feather,
                                  .step = o->step,
                                  .repeat = o->repeat,
                                  .fill = o->fill,
                                  .variation = o->variation,
                                  .keep_colour = !o->match_colour};
}

/* "16:9", or "1024x768". */
static bool read_target(const char *text, int *width, int *height, bool *proportions)
{
    picture_size size;
    const char *colon = strchr(text, ':');
    *proportions = colon != NULL;
    *width = *height = 0;
    if (!colon) {
        bool good = value_size(text, 1, 65500, &size);
        if (good) {
            *width = size.width;
            *height = size.height;
        }
        return good;
    }
    char first[16];
    long long w, h;
    if (colon - text >= (long)sizeof first)
        return false;
    memcpy(first, text, (size_t)(colon - text));
    first[colon - text] = '\0';
    if (!value_integer(first, 1, 10000, &w) || !value_integer(colon + 1, 1, 10000, &h))
        return false;
    *width = (int)w;
    *height = (int)h;
    return true;
}

static int check_command_line(const drawing *d, const void *self)
{
    const outpaint_run *r = self;
    const outpaint_values *v = &r->values;
    int width, height;
    bool proportions, sides = v->left || v->right || v->up || v->down;
    if (d->arguments.count < 1)
        return complain_usage("which picture? kiln outpaint picture.png --right 128 \"a beach\"");
    if (!v->draw.prompt && !v->draw.condition)
        return complain_usage("what to draw there? kiln outpaint %s \"a beach\" [options]",
                              d->arguments.plain[0]);
    if (v->to && !read_target(v->to, &width, &height, &proportions))
        return complain_usage("--to expects proportions such as 16:9 or a size such as 1024x768, found '%s'",
                              v->to);
    if (!v->to && !sides)
        return complain_usage("where to go on? --left, --right, --up, --down or --to say it");
    if (!v->to && v->anchor)
        return complain_usage("--anchor says where the picture stays with --to, and there is none");
    return drawing_check(d);
}

/* The sides, from --to where it is given; a side given as well is added to what --to asks for. */
static int apply_values(outpaint_run *r)
{
    const outpaint_values *v = &r->values;
    kiln_outpaint_options *o = &r->options;
    kiln_error err = {0};
    o->left = v->left;
    o->right = v->right;
    o->up = v->up;
    o->down = v->down;
    o->fill = v->fill;
    o->variation = v->variation;
    o->feather = v->feather;
    o->step = v->step;
    o->repeat = v->repeat;
    o->match_colour = !v->keep_colour;
    o->picture = r->picture;
    if (!v->to)
        return EXIT_OK;
    int to_width, to_height;
    bool proportions;
    int width = kiln_image_width(r->picture) + v->left + v->right,
        height = kiln_image_height(r->picture) + v->up + v->down;
    if (!read_target(v->to, &to_width, &to_height, &proportions))
        return EXIT_FAILED; /* refused before */
    if (kiln_outpaint_to(o, width, height, to_width, to_height, proportions, v->anchor, &err) != KILN_OK)
        return complain_error(&err);
    o->left += v->left;
    o->right += v->right;
    o->up += v->up;
    o->down += v->down;
    if (o->left || o->right || o->up || o->down)
        return EXIT_OK;
    return complain_usage("the picture is %dx%d already: there is nothing to add for --to %s", width, height,
                          v->to);
}

static int paint(drawing *d, void *self)
{
    outpaint_run *r = self;
    kiln_error err = {0};
    kiln_memory_plan plan;
    if (kiln_outpaint_plan(d->open.session, &r->options, &plan, &err) != KILN_OK)
        return complain_error(&err);
    int status = drawing_begin(d, &plan);
    if (status)
        return status;
    kiln_status drawn = kiln_outpaint(d->open.session, &r->options, d->pictures, &err);
    progress_clear();
    return drawn == KILN_OK ? drawing_finish(d) : complain_error(&err);
}

static int read_inputs(drawing *d, void *self)
{
    outpaint_run *r = self;
    kiln_error err = {0};
    if (kiln_image_read(d->arguments.plain[0], &r->picture, &err) != KILN_OK)
        return complain_error(&err);
    return apply_values(r);
}

static int run(const command *c, int argc, char **argv)
{
    outpaint_run r = {0};
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

const command outpaint_command = {
    .name = "outpaint",
    .summary = "go on beyond the edges of a picture",
    .usage = "PICTURE [PROMPT] --right PX [options]",
    .about =
        "Draws what lies beyond the edges of PICTURE, as PROMPT says. Every pixel of the picture keeps its "
        "exact value. Large distances are gone in strips of overlapping windows.",
    .plain_minimum = 0,
    .plain_maximum = 2,
    .plain_name = "a picture",
    .options = outpaint_options,
    .shared = drawing_option_table,
    .more_print = draw_print_names,
    .run = run,
};
