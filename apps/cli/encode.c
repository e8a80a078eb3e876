/* encode.c - `kiln encode`: a text or a picture to what it means to the model (a file of tensors), and latents back
 * to a picture. What the argument is decides: a picture, a file of latents, or else a text. */
#include "clip_options.h"
#include "commands.h"
#include "help.h"
#include "input_kind.h"
#include "interrupt.h"
#include "message.h"
#include "model_options.h"
#include "output.h"
#include "template_options.h"

#include <stdlib.h>

typedef struct encode_values {
    model_choice model;
    const char *output, *text;
    const char *emphasis;
    int clip_skip;
    template_values templates;
    seed_choice seed;
} encode_values;

static const option encode_options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(encode_values, output), "FILE", NULL, 0, 0, NULL,
     "where to write: .safetensors for a text or a picture, .png .jpg or .webp for latents"},
    MODEL_OPTIONS(encode_values),
    {"text", 't', OPTION_TEXT, offsetof(encode_values, text), "TEXT", NULL, 0, 0, NULL,
     "a text, even one that looks like a file's name"},
    {"clip-skip", 0, OPTION_INTEGER, offsetof(encode_values, clip_skip), "N", "1", 1, 12, NULL,
     "which layer of the text encoder counts, from the last"},
    {"emphasis", 0, OPTION_CHOICE, offsetof(encode_values, emphasis), "HOW", "Original", 0, 0,
     "Original|No norm|ComfyUI|Ignore|None", "how the weights of (words:1.3) act"},
    TEMPLATE_OPTIONS(encode_values),
    {"seed", 'S', OPTION_SEED, offsetof(encode_values, seed), "N", "random", 0, 0, NULL,
     "chooses what wildcards become"},
    {0},
};

static int save_map(kiln_status status, kiln_map *map, const char *path, kiln_error *err)
{
    if (status == KILN_OK)
        status = kiln_map_save(map, path, err);
    for (int i = 0; status == KILN_OK && i < kiln_map_count(map); i++) {
        const char *name;
        const int64_t *shape;
        int rank;
        (void)kiln_map_tensor(map, i, &name, &rank, &shape);
        printf("%s: %s [", path, name);
        for (int r = 0; r < rank; r++)
            printf("%s%lld", r ? ", " : "", (long long)shape[r]);
        printf("]\n");
    }
    kiln_map_free(map);
    return status == KILN_OK ? EXIT_OK : complain_error(err);
}

static int encode_text(kiln_session *session, const char *text, const encode_values *v)
{
    kiln_error err = {0};
    kiln_map *map = NULL;
    char *filled = NULL;
    int stopped = template_prompt(&v->templates, model_path(&v->model), text, &v->seed, &filled);
    if (stopped)
        return stopped;
    kiln_status status = kiln_encode_text(session, filled, v->clip_skip, v->emphasis, &map, &err);
    free(filled);
    return save_map(status, map, v->output, &err);
}

static int encode_picture(kiln_session *session, const char *path, const encode_values *v)
{
    kiln_error err = {0};
    kiln_image *picture = NULL;
    kiln_map *map = NULL;
    if (kiln_image_read(path, &picture, &err) != KILN_OK)
        return complain_error(&err);
    kiln_status status = kiln_encode_image(session, picture, &map, &err);
    kiln_image_free(picture);
    return save_map(status, map, v->output, &err);
}

/* With a CLIP model: the vector that texts and pictures share, and of a picture its hidden states. */
static int encode_by_clip(const char *argument, bool picture, const encode_values *v)
{
    kiln_error err = {0};
    kiln_clip *clip = NULL;
    kiln_map *map = NULL;
    int status = clip_open(&v->model, model_path(&v->model), &clip);
    if (status == EXIT_OK)
        status = clip_encode(clip, argument, picture, &map);
    kiln_clip_close(clip);
    return status == EXIT_OK ? save_map(KILN_OK, map, v->output, &err) : status;
}

static int decode(kiln_session *session, const char *path, const encode_values *v)
{
    kiln_error err = {0};
    kiln_map *map = NULL;
    kiln_image *picture = NULL;
    if (kiln_map_load(path, &map, &err) != KILN_OK)
        return complain_error(&err);
    kiln_status status = kiln_decode_latents(session, map, &picture, &err);
    kiln_map_free(map);
    if (status == KILN_OK)
        status = kiln_image_write(v->output, picture, 0, &err);
    if (status == KILN_OK)
        printf("%s: %dx%d\n", v->output, kiln_image_width(picture), kiln_image_height(picture));
    kiln_image_free(picture);
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}

static int encode(const char *argument, input_kind kind, const encode_values *v)
{
    open_model open;
    int status = kind == INPUT_LATENTS ? output_check_pictures(v->output, 1)
                                       : output_check_file(v->output, ".safetensors");
    const char *path = model_path(&v->model);
    if (status == EXIT_OK && !path)
        return EXIT_USAGE;
    if (status == EXIT_OK && kind != INPUT_LATENTS && kiln_clip_is_whole(path))
        return encode_by_clip(argument, kind == INPUT_PICTURE, v);
    if (status == EXIT_OK)
        status = model_open(&v->model, &open);
    if (status)
        return status;
    if (kind == INPUT_TEXT)
        status = encode_text(open.session, argument, v);
    else if (kind == INPUT_PICTURE)
        status = encode_picture(open.session, argument, v);
    else
        status = decode(open.session, argument, v);
    model_close(&open);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    encode_values values = {.clip_skip = 1, .seed.random = true};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    if ((found.count == 1) == (values.text != NULL))
        return complain_usage("'kiln encode' expects a text, a picture or a file of latents: kiln encode %s",
                              c->usage);
    if (!values.output)
        return complain_usage("where to write? -o FILE.safetensors, or -o PICTURE for latents");
    const char *argument = values.text ? values.text : found.plain[0];
    input_kind kind = values.text ? INPUT_TEXT : input_kind_of(argument);
    if (kind == INPUT_MISSING) {
        complain("%s: no such file (--text encodes the words themselves)", argument);
        return EXIT_FAILED;
    }
    interrupt_watch(NULL);
    return encode(argument, kind, &values);
}

const command encode_command = {
    .name = "encode",
    .summary = "text or picture to tensors, latents to a picture",
    .usage = "TEXT|PICTURE|LATENTS -o FILE [options]",
    .about =
        "A text gives conditioning, for 'kiln draw --cond'. A picture gives latents. A .safetensors "
        "file of latents gives the picture back. With a CLIP model a picture or a text gives its vector.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a text, a picture or a file of latents",
    .options = encode_options,
    .run = run,
};
