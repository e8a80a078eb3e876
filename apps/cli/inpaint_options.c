/* inpaint_options.c - see inpaint_options.h. */
#include "inpaint_options.h"

#include "message.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(inpaint_values, member)

const option inpaint_option_table[] = {
    {"mask", 0, OPTION_TEXT, AT(mask), "PICTURE", NULL, 0, 0, NULL,
     "what is white here is drawn anew; as large as the picture"},
    {"select", 0, OPTION_TEXT, AT(rectangle), "X,Y,W,H", NULL, 0, 0, NULL,
     "draw this rectangle anew (pixels from the top left corner)"},
    {"polygon", 0, OPTION_TEXT, AT(polygon), "X,Y,...", NULL, 0, 0, NULL,
     "draw the inside of this polygon anew: at least three points"},
    {"transparent", 0, OPTION_FLAG, AT(transparent), NULL, NULL, 0, 0, NULL,
     "draw what is transparent in the picture"},
    {"colour", 0, OPTION_TEXT, AT(colour), "RRGGBB", NULL, 0, 0, NULL,
     "draw what has this colour anew, or nearly: see --tolerance"},
    {"tolerance", 0, OPTION_INTEGER, AT(tolerance), "N", "16", 0, 255, NULL,
     "how far red, green and blue may each be from --colour"},
    {"invert", 0, OPTION_FLAG, AT(invert), NULL, NULL, 0, 0, NULL, "draw everything else instead"},
    {"mask-grow", 0, OPTION_NUMBER, AT(mask_grow), "PX", "0", -4096, 4096, NULL,
     "move the edge of the mask out by so much, or in"},
    {"mask-blur", 0, OPTION_NUMBER, AT(mask_blur), "PX", "4", 0, 256, NULL, "softness of the mask's edge"},
    {"content", 0, OPTION_CHOICE, AT(content), "WHAT", "original", 0, 0,
     "original|fill|latent noise|latent nothing", "what the drawing starts from under the mask"},
    {"only-masked", 0, OPTION_FLAG, AT(only_masked), NULL, NULL, 0, 0, NULL,
     "draw the masked part alone, at the model's size or --size, and put it back"},
    {"padding", 0, OPTION_INTEGER, AT(padding), "PX", "32", 0, 4096, NULL,
     "surroundings that --only-masked takes in"},
    {"mask-weight", 0, OPTION_NUMBER, AT(mask_weight), "X", "1", 0, 1, NULL,
     "how much of what is masked is hidden from a model made for inpainting"},
    {"keep-colour", 0, OPTION_FLAG, AT(keep_colour), NULL, NULL, 0, 0, NULL,
     "leave differences in colour at the seam as they are"},
    {"soft", 0, OPTION_FLAG, AT(soft), NULL, NULL, 0, 0, NULL,
     "soft inpainting: greys of the mask are strengths; what came out the same is not touched"},
    {"soft-bias", 0, OPTION_NUMBER, AT(soft_bias), "X", "1", 0, 8, NULL, "its schedule bias"},
    {"soft-preservation", 0, OPTION_NUMBER, AT(soft_preservation), "X", "0.5", 0, 8, NULL,
     "its preservation strength"},
    {"soft-contrast", 0, OPTION_NUMBER, AT(soft_contrast), "X", "4", 1, 32, NULL,
     "its transition contrast boost"},
    {"soft-influence", 0, OPTION_NUMBER, AT(soft_influence), "X", "0", 0, 1, NULL, "its mask influence"},
    {"soft-threshold", 0, OPTION_NUMBER, AT(soft_threshold), "X", "0.5", 0, 8, NULL,
     "its difference threshold"},
    {"soft-difference", 0, OPTION_NUMBER, AT(soft_difference), "X", "2", 0, 8, NULL,
     "its difference contrast"},
    {0},
};

inpaint_values inpaint_values_of(const kiln_inpaint_options *o)
{
    return (inpaint_values){
        .draw = draw_values_of(&o->draw),
        .content = o->content,
        .tolerance = 16,
        .padding = o->padding,
        .mask_blur = o->mask_blur,
        .mask_grow = o->mask_grow,
        .mask_weight = o->mask_weight,
        .soft_bias = o->soft_bias,
        .soft_preservation = o->soft_preservation,
        .soft_contrast = o->soft_contrast,
        .soft_influence = o->soft_influence,
        .soft_threshold = o->soft_threshold,
        .soft_difference = o->soft_difference,
        .invert = o->invert,
        .only_masked = o->only_masked,
        .keep_colour = !o->match_colour,
        .soft = o->soft,
    };
}

void inpaint_values_apply(const inpaint_values *v, kiln_inpaint_options *o)
{
    o->content = v->content;
    o->padding = v->padding;
    o->mask_blur = v->mask_blur;
    o->mask_grow = v->mask_grow;
    o->mask_weight = v->mask_weight;
    o->soft_bias = v->soft_bias;
    o->soft_preservation = v->soft_preservation;
    o->soft_contrast = v->soft_contrast;
    o->soft_influence = v->soft_influence;
    o->soft_threshold = v->soft_threshold;
    o->soft_difference = v->soft_difference;
    o->invert = v->invert;
    o->only_masked = v->only_masked;
    o->match_colour = !v->keep_colour;
    o->soft = v->soft;
}

/* ------------------------------------------------------------------------------------ selections */

enum { MAX_POINTS = 1000 };

static int read_rectangle(const char *text, kiln_selection *s)
{
    double n[4];
    int count = 0;
    bool good = value_numbers(text, n, 4, &count) && count == 4 && n[2] >= 1 && n[3] >= 1;
    for (int i = 0; good && i < 4; i++)
        good = n[i] >= -1e6 && n[i] <= 1e6;
    if (!good)
        return complain_usage("--select expects X,Y,W,H in pixels (64,32,128,128, say), found '%s'", text);
    s->x = (int)n[0];
    s->y = (int)n[1];
    s->width = (int)n[2];
    s->height = (int)n[3];
    return EXIT_OK;
}

static int read_polygon(const char *text, kiln_point *points, kiln_selection *s)
{
    double *n = malloc(2 * MAX_POINTS * sizeof *n);
    int count = 0, status = EXIT_OK;
    if (!n) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    if (!value_numbers(text, n, 2 * MAX_POINTS, &count) || count < 6 || count % 2)
        status = complain_usage("--polygon expects X,Y,X,Y,X,Y and so on, 3 to %d points, found '%s'",
                                MAX_POINTS, text);
    for (int i = 0; status == EXIT_OK && i < count / 2; i++)
        points[i] = (kiln_point){n[2 * i], n[2 * i + 1]};
    free(n);
    s->points = points;
    s->point_count = count / 2;
    return status;
}

static int read_colour(const char *text, kiln_selection *s)
{
    const char *digits = text[0] == '#' ? text + 1 : text;
    if (strlen(digits) != 6 || strspn(digits, "0123456789abcdefABCDEF") != 6)
        return complain_usage("--colour expects RRGGBB, six hexadecimal digits (00ff00 is green), found '%s'",
                              text);
    unsigned long colour = strtoul(digits, NULL, 16);
    s->by_colour = true;
    for (int i = 0; i < 3; i++)
        s->colour[i] = (uint8_t)(colour >> (16 - 8 * i));
    return EXIT_OK;
}

/* `points` has room for MAX_POINTS. */
static int read_selection(const inpaint_values *v, kiln_point *points, kiln_selection *s)
{
    *s = (kiln_selection){.transparent = v->transparent, .tolerance = v->tolerance};
    int status = v->rectangle ? read_rectangle(v->rectangle, s) : EXIT_OK;
    if (status == EXIT_OK && v->polygon)
        status = read_polygon(v->polygon, points, s);
    if (status == EXIT_OK && v->colour)
        status = read_colour(v->colour, s);
    return status;
}

int inpaint_check_selection(const inpaint_values *v)
{
    bool selected = v->rectangle || v->polygon || v->colour || v->transparent;
    if (!v->mask && !selected)
        return complain_usage(
            "what is to be drawn anew? --mask, --select, --polygon, --colour or --transparent "
            "say it");
    if (v->mask && selected)
        return complain_usage("--mask and a selection are two answers to one question: give one of them");
    kiln_point *points = malloc(MAX_POINTS * sizeof *points);
    kiln_selection s;
    int status = points ? read_selection(v, points, &s) : EXIT_FAILED;
    free(points);
    return status;
}

int inpaint_read_mask(const inpaint_values *v, const kiln_image *picture, kiln_image **mask)
{
    kiln_error err = {0};
    if (v->mask)
        return kiln_image_read(v->mask, mask, &err) == KILN_OK ? EXIT_OK : complain_error(&err);
    kiln_point *points = malloc(MAX_POINTS * sizeof *points);
    kiln_selection s;
    int status = points ? read_selection(v, points, &s) : EXIT_FAILED;
    if (status == EXIT_OK && kiln_select(picture, &s, mask, &err) != KILN_OK)
        status = complain_error(&err);
    free(points);
    return status;
}
