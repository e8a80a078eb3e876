/* clip_options.c - see clip_options.h. */
#include "clip_options.h"

#include "message.h"

#include <stdlib.h>

const char *clip_path(const model_choice *choice)
{
    const char *const names[] = {"KILN_CLIP", "KILN_MODEL"};
    const char *path = choice->model;
    for (size_t i = 0; (!path || !path[0]) && i < sizeof names / sizeof *names; i++)
        path = getenv(names[i]);
    if (path && path[0])
        return path;
    complain("no CLIP model: name one with --model PATH or in the environment variable KILN_CLIP ('kiln pull "
             "openai/clip-vit-large-patch14 models/clip' downloads one)");
    return NULL;
}

int clip_open(const model_choice *choice, const char *path, kiln_clip **out)
{
    kiln_error err = {0};
    *out = NULL;
    if (!path)
        return EXIT_USAGE;
    kiln_model_options options = model_options_of(choice);
    return kiln_clip_open(path, &options, out, &err) == KILN_OK ? EXIT_OK : complain_error(&err);
}

int clip_encode(kiln_clip *clip, const char *argument, bool picture, kiln_map **out)
{
    kiln_error err = {0};
    *out = NULL;
    if (!picture)
        return kiln_clip_encode_text(clip, argument, out, &err) == KILN_OK ? EXIT_OK : complain_error(&err);
    kiln_image *image = NULL;
    kiln_status status = kiln_image_read(argument, &image, &err);
    if (status == KILN_OK)
        status = kiln_clip_encode_image(clip, image, out, &err);
    kiln_image_free(image);
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}
