/* upscale.c - `kiln upscale`: a picture larger (or restored, or another size) by a trained network or a filter. */
#include "commands.h"
#include "enlarging.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "model_options.h"
#include "output.h"
#include "progress.h"

#include <kiln/upscale.h>

#include <stdlib.h>
#include <string.h>

typedef struct upscale_values {
    model_choice model;
    const char *output, *filter;
    double scale;
    picture_size size;
    int tile, overlap, quality;
    int64_t memory;
    bool quiet, plan;
} upscale_values;

static const option upscale_options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(upscale_values, output), "FILE", "PICTURE-upscaled.png", 0, 0, NULL,
     "where to write: .png, .jpg or .webp"},
    {"model", 'm', OPTION_TEXT, offsetof(upscale_values, model.model), "MODEL",
     "$KILN_UPSCALER or upscale-2x", 0, 0, NULL,
     "a file with a network (.pth, .safetensors), or lanczos, bicubic or nearest; upscale-2x comes with "
     "Kiln"},
    {"scale", 's', OPTION_NUMBER, offsetof(upscale_values, scale), "N", "the network's own", 0.01, 64, NULL,
     "times; passes are repeated until it is reached, and a filter shrinks what is too large"},
    {"size", 0, OPTION_SIZE, offsetof(upscale_values, size), "WxH", NULL, 1, 65500, NULL,
     "the size of the result, instead of --scale"},
    {"filter", 0, OPTION_CHOICE, offsetof(upscale_values, filter), "NAME", "lanczos", 0, 0,
     "lanczos|bicubic|bilinear|box|nearest", "for the last step to a size that the network does not give"},
    {"tile", 0, OPTION_INTEGER, offsetof(upscale_values, tile), "N", "by memory", -1, 65500, NULL,
     "side of the tiles in px of PICTURE; -1 never tiles"},
    {"overlap", 0, OPTION_INTEGER, offsetof(upscale_values, overlap), "N", "by the network", -1, 1024, NULL,
     "px that neighbouring tiles share"},
    {"memory", 0, OPTION_BYTES, offsetof(upscale_values, memory), "BYTES", "what is free", 0, 0, NULL,
     "never use more than this (4G, 512M)"},
    {"precision", 0, OPTION_CHOICE, offsetof(upscale_values, model.precision), "P", "auto", 0, 0,
     "auto|f32|bf16", "arithmetic; auto takes bf16 where the processor has it"},
    {"threads", 0, OPTION_INTEGER, offsetof(upscale_values, model.threads), "N", "one per core", 0, 1024,
     NULL, "processor threads; the picture is the same with any number"},
    {"quality", 0, OPTION_INTEGER, offsetof(upscale_values, quality), "N", "95 or 90", 1, 100, NULL,
     "of a JPEG or WebP"},
    {"plan", 0, OPTION_FLAG, offsetof(upscale_values, plan), NULL, NULL, 0, 0, NULL,
     "say what it would do and take of memory, and stop"},
    {"quiet", 'q', OPTION_FLAG, offsetof(upscale_values, quiet), NULL, NULL, 0, 0, NULL, "no progress"},
    {0},
};

/* "cat.jpg" -> "cat-upscaled.png"; free() it. */
static char *standard_output(const char *picture)
{
    const char *slash = strrchr(picture, '/'), *dot = strrchr(picture, '.');
    if (!dot || (slash && dot < slash))
        dot = picture + strlen(picture);
    size_t size = strlen(picture) + 16;
    char *name = malloc(size);
    if (name)
        snprintf(name, size, "%.*s-upscaled.png", (int)(dot - picture), picture);
    return name;
}

static int show_plan(kiln_upscaler *upscaler, const kiln_image *picture, const kiln_upscale_options *options)
{
    kiln_error err = {0};
    kiln_upscale_work work;
    if (kiln_upscale_plan(upscaler, picture, options, &work, &err) != KILN_OK)
        return complain_error(&err);
    printf("%s (%s): %dx%d -> %dx%d\n", kiln_upscaler_name(upscaler), kiln_upscaler_kind(upscaler),
           kiln_image_width(picture), kiln_image_height(picture), work.width, work.height);
    if (work.passes)
        printf("passes %d, tiles %lld of %dx%d\n", work.passes, (long long)work.tiles, work.tile_width,
               work.tile_height);
    printf("weights %s, activations %s, peak %s\n", bytes_text(work.memory.weights),
           bytes_text(work.memory.activations), bytes_text(work.memory.peak));
    return EXIT_OK;
}

static int enlarge(kiln_upscaler *upscaler, const char *path, const char *output, const upscale_values *v)
{
    kiln_error err = {0};
    kiln_image *picture = NULL, *larger = NULL;
    progress_view view = {.quiet = v->quiet};
    kiln_upscale_options options = kiln_upscale_defaults();
    options.scale = v->scale;
    options.width = v->size.width;
    options.height = v->size.height;
    options.tile = v->tile;
    options.overlap = v->overlap;
    options.filter = v->filter;
    options.memory_limit = v->memory;
    options.progress = progress_show;
    options.user = &view;
    if (kiln_image_read(path, &picture, &err) != KILN_OK)
        return complain_error(&err);
    if (v->plan) {
        int status = show_plan(upscaler, picture, &options);
        kiln_image_free(picture);
        return status;
    }
    kiln_status status = kiln_upscale(upscaler, picture, &options, &larger, &err);
    kiln_image_free(picture);
    progress_clear();
    if (status == KILN_OK)
        status = kiln_image_write(output, larger, v->quality, &err);
    if (status == KILN_OK)
        printf("%s: %dx%d\n", output, kiln_image_width(larger), kiln_image_height(larger));
    kiln_image_free(larger);
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}

static int open_and_enlarge(const char *model, const char *path, const char *output, const upscale_values *v)
{
    kiln_error err = {0};
    kiln_upscaler *upscaler = NULL;
    kiln_model_options options = model_options_of(&v->model);
    if (kiln_upscaler_open(model, &options, &upscaler, &err) != KILN_OK)
        return complain_error(&err);
    interrupt_watch_upscaler(upscaler);
    int status = enlarge(upscaler, path, output, v);
    interrupt_watch_upscaler(NULL);
    kiln_upscaler_close(upscaler);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    upscale_values values = {.overlap = -1};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    const char *model = upscaler_name(values.model.model);
    char *output = values.output ? strdup(values.output) : standard_output(found.plain[0]);
    if (!output) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    status = values.plan ? EXIT_OK : output_check_pictures(output, 1);
    if (status == EXIT_OK)
        status = open_and_enlarge(model, found.plain[0], output, &values);
    free(output);
    return status;
}

const command upscale_command = {
    .name = "upscale",
    .summary = "enlarge or restore a picture by a network or a filter",
    .usage = "PICTURE [options]",
    .about = "MODEL is a file with an ESRGAN, Real-ESRGAN, SRVGGNetCompact, SPAN, RealPLKSR, SwinIR or DAT "
             "network, "
             "which is told from its tensors, or the name of a filter. Bit depth, channels, transparency and "
             "texts of "
             "PICTURE are kept.",
    .plain_minimum = 1,
    .plain_maximum = 1,
    .plain_name = "a picture",
    .options = upscale_options,
    .run = run,
};
