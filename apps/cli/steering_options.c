/* steering_options.c - see steering_options.h. */
#include "steering_options.h"

#include "message.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SPEC_NUMBERS = 3, SPEC_TEXT = 4096 };

/* A value such as net.safetensors:edges.png:0.8:0:0.5, taken apart. */
typedef struct spec {
    char text[SPEC_TEXT];
    const char *file, *picture; /* in text */
    double number[SPEC_NUMBERS];
} spec;

static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Numbers are taken from the end, as many as there are. */
static void take_numbers(spec *s)
{
    double found[SPEC_NUMBERS];
    int count = 0;
    while (count < SPEC_NUMBERS) {
        char *colon = strrchr(s->text, ':');
        if (!colon || is_there(s->text) || !value_number(colon + 1, -1e6, 1e6, &found[count]))
            break;
        *colon = '\0';
        count++;
    }
    for (int i = 0; i < count; i++)
        s->number[i] = found[count - 1 - i];
}

/* A path may hold colons: the file is the shortest beginning that exists. */
static void split(spec *s)
{
    char *first = strchr(s->text, ':');
    s->file = s->text;
    s->picture = NULL;
    for (char *colon = first; colon; colon = strchr(colon + 1, ':')) {
        *colon = '\0';
        bool found = is_there(s->text);
        if (found || !strchr(colon + 1, ':')) {
            if (!found) {
                *colon = ':';
                colon = first;
                *colon = '\0';
            }
            s->picture = colon + 1;
            return;
        }
        *colon = ':';
    }
}

static int read_spec(const char *value, const char *name, bool with_file, double strength, spec *s)
{
    *s = (spec){.number = {strength, 0, 1}};
    if (strlen(value) >= sizeof s->text)
        return complain_usage("--%s: the value is too long", name);
    memcpy(s->text, value, strlen(value) + 1);
    take_numbers(s);
    s->picture = s->text;
    if (with_file)
        split(s);
    if (!s->picture || !s->picture[0])
        return complain_usage("option --%s expects %sPICTURE[:STRENGTH[:START[:END]]], found '%s'", name,
                              with_file ? "FILE:" : "", value);
    return EXIT_OK;
}

static int read_picture(steering_inputs *in, const char *path, kiln_image **out)
{
    kiln_error err = {0};
    if (kiln_image_read(path, out, &err) != KILN_OK)
        return complain_error(&err);
    in->pictures[in->picture_count++] = *out;
    return EXIT_OK;
}

/* ------------------------------------------------------------------------------ controls */

/* The edges take the picture's place. */
static int find_edges(steering_inputs *in, kiln_image **picture)
{
    kiln_error err = {0};
    kiln_image *edges = NULL;
    if (kiln_canny(*picture, NULL, &edges, &err) != KILN_OK)
        return complain_error(&err);
    kiln_image_free(*picture);
    *picture = in->pictures[in->picture_count - 1] = edges;
    return EXIT_OK;
}

static int open_control(const steering_values *v, const model_choice *choice, const char *value, bool canny,
                        steering_inputs *in)
{
    kiln_error err = {0};
    spec s;
    int place = in->control_count;
    if (place == KILN_MAX_CONTROLS)
        return complain_usage("a drawing takes %d controls at most", KILN_MAX_CONTROLS);
    int status = read_spec(value, canny ? "control-canny" : "control", true, 1, &s);
    if (status)
        return status;
    kiln_image *picture = NULL;
    status = read_picture(in, s.picture, &picture);
    if (status == EXIT_OK && canny)
        status = find_edges(in, &picture);
    if (status)
        return status;
    if (kiln_controlnet_open(s.file, choice->hints, &in->nets[place], &err) != KILN_OK)
        return complain_error(&err);
    in->controls[in->control_count++] = (kiln_control){.net = in->nets[place],
                                                       .picture = picture,
                                                       .strength = s.number[0],
                                                       .start = s.number[1],
                                                       .end = s.number[2],
                                                       .guess = v->guess,
                                                       .module = canny ? "canny" : NULL};
    return EXIT_OK;
}

/* ------------------------------------------------------------------------------ image prompts */

static int open_encoder(const steering_values *v, const model_choice *choice, steering_inputs *in)
{
    kiln_error err = {0};
    const char *encoder = v->encoder ? v->encoder : model_path(choice);
    kiln_model_options options = model_options_of(choice);
    if (!encoder)
        return EXIT_USAGE;
    if (kiln_clip_open(encoder, &options, &in->encoder, &err) != KILN_OK) {
        if (v->encoder)
            return complain_error(&err);
        complain("%s holds no CLIP vision encoder: name one with --image-encoder", encoder);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int open_adapter(const steering_values *v, steering_inputs *in)
{
    kiln_error err = {0};
    if (kiln_image_adapter_open(v->adapter, in->encoder, &in->adapter, &err) != KILN_OK)
        return complain_error(&err);
    return EXIT_OK;
}

static int open_image_prompt(const char *value, steering_inputs *in)
{
    spec s;
    kiln_image *picture = NULL;
    if (in->image_prompt_count == KILN_MAX_IMAGE_PROMPTS)
        return complain_usage("a drawing takes %d image prompts at most", KILN_MAX_IMAGE_PROMPTS);
    int status = read_spec(value, "image-prompt", false, 0.6, &s);
    if (status == EXIT_OK)
        status = read_picture(in, s.picture, &picture);
    if (status)
        return status;
    in->image_prompts[in->image_prompt_count++] = (kiln_image_prompt){.adapter = in->adapter,
                                                                      .picture = picture,
                                                                      .strength = s.number[0],
                                                                      .start = s.number[1],
                                                                      .end = s.number[2]};
    return EXIT_OK;
}

/* ------------------------------------------------------------------------------ all */

static int open_variation(const char *value, steering_inputs *in)
{
    spec s;
    kiln_image *picture = NULL;
    int status = read_spec(value, "vary", false, 0, &s);
    if (status == EXIT_OK && (s.number[0] < 0 || s.number[0] > 999 || s.number[0] != (int)s.number[0]))
        status =
            complain_usage("--vary: the noise level is a whole number from 0 to 999, not %g", s.number[0]);
    if (status == EXIT_OK)
        status = read_picture(in, s.picture, &picture);
    if (status == EXIT_OK)
        in->variation =
            (kiln_variation){.encoder = in->encoder, .picture = picture, .noise_level = (int)s.number[0]};
    return status;
}

bool steering_given(const steering_values *v)
{
    return v->control.count || v->canny.count || v->image_prompts.count || v->vary;
}

int steering_open(const steering_values *v, const model_choice *choice, steering_inputs *out)
{
    int status = EXIT_OK;
    for (int i = 0; status == EXIT_OK && i < v->control.count; i++)
        status = open_control(v, choice, v->control.items[i], false, out);
    for (int i = 0; status == EXIT_OK && i < v->canny.count; i++)
        status = open_control(v, choice, v->canny.items[i], true, out);
    if (status == EXIT_OK && v->image_prompts.count && !v->adapter)
        return complain_usage("--image-prompt takes an IP-Adapter: name its file with --image-prompt-model");
    if (status == EXIT_OK && (v->image_prompts.count || v->vary))
        status = open_encoder(v, choice, out);
    if (status == EXIT_OK && v->image_prompts.count)
        status = open_adapter(v, out);
    if (status == EXIT_OK && v->vary)
        status = open_variation(v->vary, out);
    for (int i = 0; status == EXIT_OK && i < v->image_prompts.count; i++)
        status = open_image_prompt(v->image_prompts.items[i], out);
    if (status == EXIT_OK && !v->image_prompts.count && (v->adapter || (v->encoder && !v->vary)))
        status = complain_usage(
            "--image-prompt-model and --image-encoder are for --image-prompt, and there is none");
    if (status == EXIT_OK && v->guess && !out->control_count)
        status = complain_usage("--control-guess is for --control, and there is none");
    return status;
}

void steering_give(const steering_inputs *in, kiln_draw_options *o)
{
    o->controls = in->controls;
    o->control_count = in->control_count;
    o->image_prompts = in->image_prompts;
    o->image_prompt_count = in->image_prompt_count;
    o->variation = in->variation.picture ? &in->variation : NULL;
}

void steering_close(steering_inputs *in)
{
    kiln_image_adapter_close(in->adapter);
    kiln_clip_close(in->encoder);
    for (int i = 0; i < KILN_MAX_CONTROLS; i++)
        kiln_controlnet_close(in->nets[i]);
    for (int i = 0; i < in->picture_count; i++)
        kiln_image_free(in->pictures[i]);
    *in = (steering_inputs){0};
}
