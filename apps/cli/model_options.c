/* model_options.c - see model_options.h. */
#include "model_options.h"

#include "cache.h"
#include "interrupt.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

const char *model_path(const model_choice *choice)
{
    const char *path = choice->model ? choice->model : getenv("KILN_MODEL");
    if (path && path[0])
        return path;
    complain("no model: name one with --model PATH or in the environment variable KILN_MODEL "
             "('kiln pull stable-diffusion-v1-5/stable-diffusion-v1-5 models/sd15' downloads one)");
    return NULL;
}

static kiln_precision precision_of(const char *name)
{
    if (name && strcmp(name, "f32") == 0)
        return KILN_PRECISION_F32;
    return name && strcmp(name, "bf16") == 0 ? KILN_PRECISION_BF16 : KILN_PRECISION_AUTO;
}

kiln_words model_words_of(const model_choice *choice)
{
    return (kiln_words){
        .folder = choice->words_folder, .files = choice->words.items, .count = choice->words.count};
}

kiln_model_options model_options_of(const model_choice *choice)
{
    kiln_model_options options = kiln_model_defaults();
    options.vae = choice->vae;
    options.tokenizer = choice->tokenizer;
    options.hints = choice->hints;
    options.preview = choice->preview_decoder;
    options.threads = choice->threads;
    options.words = model_words_of(choice);
    options.precision = precision_of(choice->precision);
    if (getenv("KILN_DATA"))
        options.data_directory = getenv("KILN_DATA");
    return options;
}

int model_open(const model_choice *choice, open_model *out)
{
    kiln_error err = {0};
    *out = (open_model){0};
    const char *path = model_path(choice);
    if (!path)
        return EXIT_USAGE;
    char cache[4096];
    kiln_model_options options = model_options_of(choice);
    options.hash_cache = cache_hashes(cache, sizeof cache);
    if (kiln_model_open(path, &options, &out->model, &err) != KILN_OK ||
        kiln_session_new(out->model, &out->session, &err) != KILN_OK) {
        model_close(out);
        return complain_error(&err);
    }
    interrupt_watch(out->session);
    return EXIT_OK;
}

void model_close(open_model *open)
{
    interrupt_watch(NULL);
    kiln_session_free(open->session);
    (void)kiln_model_close(open->model);
    *open = (open_model){0};
}
