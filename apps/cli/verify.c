/* verify.c - `kiln verify`: draw a picture again from the recipe inside it, and compare every pixel. */
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "model_options.h"
#include "progress.h"
#include "recipe.h"
#include "steering_options.h"

#include <stdlib.h>

typedef struct verify_values {
    model_choice model;
    const char *init;
    bool quiet;
    steering_values steering;
} verify_values;

static const option verify_options[] = {
    MODEL_OPTIONS(verify_values),
    {"init", 'i', OPTION_TEXT, offsetof(verify_values, init), "PICTURE", NULL, 0, 0, NULL,
     "the picture that it was drawn from, if any"},
    STEERING_OPTIONS(verify_values),
    {"quiet", 'q', OPTION_FLAG, offsetof(verify_values, quiet), NULL, NULL, 0, 0, NULL, "no progress"},
    {0},
};

/* How two pictures of one form differ. */
typedef struct difference {
    int64_t pixels, total;
    int largest; /* in steps of 1/255, or of 1/65535 for 16 bits */
} difference;

static int sample(const kiln_image *image, int64_t i)
{
    const void *pixels = kiln_image_pixels(image);
    return kiln_image_bits(image) == 16 ? ((const uint16_t *)pixels)[i] : ((const uint8_t *)pixels)[i];
}

static difference compare(const kiln_image *a, const kiln_image *b)
{
    int channels = kiln_image_channels(a);
    difference d = {.total = (int64_t)kiln_image_width(a) * kiln_image_height(a)};
    for (int64_t i = 0; i < d.total; i++) {
        int most = 0;
        for (int c = 0; c < channels; c++) {
            int delta = abs(sample(a, i * channels + c) - sample(b, i * channels + c));
            most = delta > most ? delta : most;
        }
        d.pixels += most > 0;
        d.largest = most > d.largest ? most : d.largest;
    }
    return d;
}

static int judge(const char *path, const kiln_image *there, const kiln_image *drawn)
{
    if (kiln_image_width(there) != kiln_image_width(drawn) ||
        kiln_image_height(there) != kiln_image_height(drawn) ||
        kiln_image_channels(there) != kiln_image_channels(drawn) ||
        kiln_image_bits(there) != kiln_image_bits(drawn)) {
        const char *after = kiln_image_text(there, "postprocessing");
        printf("%s: different: it is %dx%d with %d channels, its recipe gives %dx%d with %d%s%s\n", path,
               kiln_image_width(there), kiln_image_height(there), kiln_image_channels(there),
               kiln_image_width(drawn), kiln_image_height(drawn), kiln_image_channels(drawn),
               after ? "; afterwards: " : "", after ? after : "");
        return EXIT_FAILED;
    }
    difference d = compare(there, drawn);
    if (d.pixels == 0) {
        printf("%s: identical, %lld pixels\n", path, (long long)d.total);
        return EXIT_OK;
    }
    printf("%s: different: %lld of %lld pixels, the largest difference is %d of %d\n", path,
           (long long)d.pixels, (long long)d.total, d.largest, kiln_image_bits(there) == 16 ? 65535 : 255);
    return EXIT_FAILED;
}

static int redraw(const verify_values *v, const kiln_recipe *recipe, const kiln_image *init, kiln_image **out)
{
    kiln_error err = {0};
    open_model open;
    model_choice choice = v->model;
    if (!choice.precision)
        choice.precision = recipe_precision(recipe);
    progress_view view = {.quiet = v->quiet};
    steering_inputs steering = {0};
    int status = steering_open(&v->steering, &choice, &steering);
    if (status == EXIT_OK)
        status = model_open(&choice, &open);
    if (status) {
        steering_close(&steering);
        return status;
    }
    kiln_draw_options options = kiln_draw_defaults();
    kiln_recipe_apply(recipe, &options);
    options.batch = 1;
    options.init = init;
    steering_give(&steering, &options);
    options.progress = progress_show;
    options.user = &view;
    if (kiln_draw(open.session, &options, out, &err) != KILN_OK)
        status = complain_error(&err);
    progress_clear();
    model_close(&open);
    steering_close(&steering);
    return status;
}

static int verify(const char *path, const verify_values *v)
{
    kiln_error err = {0};
    kiln_recipe *recipe = NULL;
    kiln_image *there = NULL, *init = NULL, *drawn = NULL;
    int status = recipe_read(path, &recipe, &there);
    if (status)
        return status;
    if (recipe_command(recipe))
        status = recipe_check_command(recipe, path, "draw");
    else if (!v->init && recipe_needs_picture(recipe))
        status = complain_usage(
            "%s was drawn from another picture, which it does not carry: name it with --init", path);
    else if (recipe_is_steered(recipe) && !steering_given(&v->steering))
        status = complain_usage(
            "%s was steered by pictures that it does not carry: name them with --control or --image-prompt",
            path);
    else if (!kiln_recipe_field(recipe, "Seed"))
        status = complain_usage("%s: its recipe names no seed", path);
    else if (v->init && kiln_image_read(v->init, &init, &err) != KILN_OK)
        status = complain_error(&err);
    if (status == EXIT_OK)
        status = redraw(v, recipe, init, &drawn);
    if (status == EXIT_OK) {
        recipe_warn_of_rest(recipe, path);
        recipe_compare_models(recipe, path, drawn);
        status = judge(path, there, drawn);
    }
    kiln_image_free(drawn);
    kiln_image_free(init);
    kiln_image_free(there);
    kiln_recipe_free(recipe);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    verify_values values = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    interrupt_watch(NULL);
    return verify(found.plain[0], &values);
}

const command verify_command = {
    .name = "verify",
    .summary = "draw a picture again from its recipe and compare every pixel",
    .usage = "PICTURE [options]",
    .about = "Exit status 0: identical. 1: different, with how many pixels and the largest difference.\n"
             "A JPEG or lossy WebP has other pixels than what was drawn, so it is always different.",
    .plain_minimum = 1,
    .plain_maximum = 1,
    .plain_name = "a picture",
    .options = verify_options,
    .run = run,
};
