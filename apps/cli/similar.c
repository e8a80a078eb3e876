/* similar.c - `kiln similar`: how alike pictures are, or which of several texts fits a picture, by a CLIP model. */
#include "clip_options.h"
#include "commands.h"
#include "help.h"
#include "input_kind.h"
#include "message.h"
#include "model_options.h"

#include <math.h>
#include <stdio.h>

typedef struct similar_values {
    model_choice model;
} similar_values;

static const option similar_options[] = {
    {"model", 'm', OPTION_TEXT, offsetof(similar_values, model.model), "PATH", "$KILN_CLIP", 0, 0, NULL,
     "the CLIP model: a folder, or a file; texts need one with both halves"},
    {"tokenizer", 0, OPTION_TEXT, offsetof(similar_values, model.tokenizer), "DIR", "the model's own", 0, 0,
     NULL, "folder with vocab.json and merges.txt"},
    {"hints", 0, OPTION_TEXT, offsetof(similar_values, model.hints), "FILE", NULL, 0, 0, NULL,
     "JSON file with what an odd model file does not tell"},
    {"precision", 0, OPTION_CHOICE, offsetof(similar_values, model.precision), "P", "auto", 0, 0,
     "auto|f32|bf16", "arithmetic; auto takes bf16 where the processor has it"},
    {"threads", 0, OPTION_INTEGER, offsetof(similar_values, model.threads), "N", "one per core", 0, 1024,
     NULL, "processor threads"},
    {0},
};

/* The share of each cosine after the model's own softmax, in place. */
static void softmax(double *x, int count, double scale)
{
    double largest = -1, sum = 0;
    for (int i = 0; i < count; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < count; i++)
        sum += x[i] = exp(scale * (x[i] - largest));
    for (int i = 0; i < count; i++)
        x[i] /= sum;
}

/* The first argument against each of the others. */
static int compare(const kiln_clip *clip, kiln_map *const *maps, const arguments *found, const bool *picture)
{
    double cosine[ARGUMENTS_MAX], share[ARGUMENTS_MAX];
    int texts = 0;
    kiln_error err = {0};
    for (int i = 1; i < found->count; i++) {
        if (kiln_clip_cosine(maps[0], maps[i], &cosine[i], &err) != KILN_OK)
            return complain_error(&err);
        if (!picture[i])
            share[texts++] = cosine[i];
    }
    softmax(share, texts, kiln_clip_scale(clip));
    for (int i = 1, t = 0; i < found->count; i++) {
        printf("%.6f", cosine[i]);
        if (texts > 1 && !picture[i])
            printf("  %5.1f%%", 100 * share[t++]);
        printf("  %s\n", found->plain[i]);
    }
    return EXIT_OK;
}

static int similar(const similar_values *v, const arguments *found, const bool *picture)
{
    kiln_clip *clip = NULL;
    kiln_map *maps[ARGUMENTS_MAX] = {NULL};
    int status = clip_open(&v->model, clip_path(&v->model), &clip);
    for (int i = 0; status == EXIT_OK && i < found->count; i++)
        status = clip_encode(clip, found->plain[i], picture[i], &maps[i]);
    if (status == EXIT_OK)
        status = compare(clip, maps, found, picture);
    for (int i = 0; i < found->count; i++)
        kiln_map_free(maps[i]);
    kiln_clip_close(clip);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    similar_values values = {0};
    arguments found;
    bool picture[ARGUMENTS_MAX] = {false};
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    for (int i = 0; i < found.count; i++) {
        input_kind kind = input_kind_of(found.plain[i]);
        if (kind == INPUT_MISSING || kind == INPUT_LATENTS) {
            complain(kind == INPUT_MISSING ? "%s: no such file" : "%s: neither a picture nor a text",
                     found.plain[i]);
            return EXIT_FAILED;
        }
        picture[i] = kind == INPUT_PICTURE;
    }
    if (!picture[0])
        return complain_usage("the first of what is compared must be a picture: kiln similar %s", c->usage);
    return similar(&values, &found, picture);
}

const command similar_command = {
    .name = "similar",
    .summary = "how alike pictures are, or which text fits one",
    .usage = "PICTURE PICTURE|TEXT [PICTURE|TEXT ...] --model CLIP",
    .about = "Prints the cosine of the first picture's CLIP vector with that of each other argument: 1 is "
             "the same. "
             "With several texts, the share that each has by the model's own softmax too.",
    .plain_minimum = 2,
    .plain_maximum = ARGUMENTS_MAX,
    .plain_name = "a picture, and pictures or texts to compare it with",
    .options = similar_options,
    .run = run,
};
