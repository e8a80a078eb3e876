/* preprocess.c - `kiln preprocess`: a picture as a ControlNet takes it. */
#include "commands.h"
#include "help.h"
#include "message.h"
#include "output.h"

#include <kiln/vision.h>

#include <string.h>

typedef struct preprocess_values {
    const char *output;
    double low, high, blur;
} preprocess_values;

static const option preprocess_options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(preprocess_values, output), "FILE", "out.png", 0, 0, NULL,
     "picture to write: .png, .jpg or .webp"},
    {"low", 0, OPTION_NUMBER, offsetof(preprocess_values, low), "X", "100", 0, 2040, NULL,
     "canny: an edge goes on while the gradient is above this"},
    {"high", 0, OPTION_NUMBER, offsetof(preprocess_values, high), "X", "200", 0, 2040, NULL,
     "canny: an edge begins where the gradient is above this"},
    {"blur", 0, OPTION_NUMBER, offsetof(preprocess_values, blur), "PX", "0", 0, 64, NULL,
     "canny: Gauss filter of this deviation before; 0: none, as OpenCV's Canny"},
    {0},
};

static int find_edges(const char *path, const preprocess_values *v)
{
    kiln_error err = {0};
    kiln_image *from = NULL, *edges = NULL;
    kiln_canny_options o = {.low = v->low, .high = v->high, .blur = v->blur};
    int status = output_check_pictures(v->output, 1);
    if (status)
        return status;
    kiln_status found = kiln_image_read(path, &from, &err);
    if (found == KILN_OK)
        found = kiln_canny(from, &o, &edges, &err);
    if (found == KILN_OK)
        found = kiln_image_write(v->output, edges, 0, &err);
    if (found == KILN_OK)
        printf("%s: %dx%d\n", v->output, kiln_image_width(edges), kiln_image_height(edges));
    kiln_image_free(from);
    kiln_image_free(edges);
    return found == KILN_OK ? EXIT_OK : complain_error(&err);
}

static int run(const command *c, int argc, char **argv)
{
    kiln_canny_options o = kiln_canny_defaults();
    preprocess_values values = {.output = "out.png", .low = o.low, .high = o.high, .blur = o.blur};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    if (strcmp(found.plain[0], "canny") != 0)
        return complain_usage("'%s' is no way to prepare a picture; there is: canny", found.plain[0]);
    return find_edges(found.plain[1], &values);
}

const command preprocess_command = {
    .name = "preprocess",
    .summary = "a picture as a ControlNet takes it (canny)",
    .usage = "canny PICTURE [-o FILE] [options]",
    .about =
        "canny: white edges on black, pixel for pixel those of OpenCV's Canny (aperture 3, L1 gradient).",
    .plain_minimum = 2,
    .plain_maximum = 2,
    .plain_name = "'canny' and a picture",
    .options = preprocess_options,
    .run = run,
};
