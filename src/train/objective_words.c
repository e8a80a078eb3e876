/* objective_words.c - captions as a UNet's inputs.
 *
 * A caption is one window of 77 tokens; what is longer is cut. Where the text encoder is trained, the window's ids go into
 * the graph. Else the states are computed here, once per caption when they are kept on disk. */
#include "train/objective.h"

#include "pipeline/conditioning.h"
#include "pipeline/map.h"
#include "pipeline/model_words.h"
#include "text/chunks.h"
#include "train/mix.h"
#include "train/teach.h"
#include "train/word_captions.h"

#include <stdlib.h>
#include <string.h>

enum { MIX_WORD_CAPTION = MIX_OBJECTIVE + 70 };

/* One window's ids for an encoder, and where its state is pooled (index may be NULL). */
static kiln_status fill_ids(const objective *o, network_kind encoder, const char *caption, int32_t *ids,
                            int32_t *index, int32_t *word_ids, kiln_error *err)
{
    const clip_text_config *config =
        encoder == NETWORK_TEXT_1 ? &o->model->parts->text : &o->model->parts->text_2;
    const tokenizer *t = o->model->tokenizers[encoder];
    if (!t)
        return fail(err, KILN_NOT_FOUND, "%s: no tokenizer was found", o->model->path);
    chunk_options options = chunk_options_of(t);
    token_chunks chunks = {0};
    options.one_window = true;
    options.taught = model_words_taught(o->model->words, encoder);
    if (o->model->pad_id[encoder] >= 0)
        options.pad_id = o->model->pad_id[encoder];
    kiln_status status = chunks_of_prompt(t, caption, &options, &chunks, err);
    for (int i = 0; i < CHUNK_LENGTH && !status; i++) {
        ids[i] = chunks.ids[0][i];
        if (ids[i] >= config->vocabulary)
            status = fail(err, KILN_MISMATCH,
                          "the tokenizer gives the id %d, but the text encoder knows only %d words",
                          (int)ids[i], config->vocabulary);
    }
    if (index && !status)
        *index = clip_pooling_index(config, ids, CHUNK_LENGTH);
    for (int i = 0; i < CHUNK_LENGTH && word_ids && !status; i++) {
        bool taught = chunks.vectors && chunks.vectors[0][i].word >= 0;
        word_ids[i] = taught ? chunks.vectors[0][i].vector : NO_TOKEN;
        ids[i] = taught ? NO_TOKEN : ids[i];
    }
    chunks_free(&chunks);
    return status;
}

/* States [77,width], then the pooled state. */
typedef struct states_request {
    objective *objective;
    const char *caption;
    size_t context, pooled; /* elements */
} states_request;

static kiln_status encode_caption(void *self, void *to, size_t bytes, kiln_error *err)
{
    (void)bytes;
    const states_request *s = self;
    kiln_map *map = NULL;
    shape size = {0};
    kiln_status status =
        conditioning_of_text(s->objective->session, s->caption, s->objective->recipe->clip_skip, &map, err);
    if (status)
        return status;
    memcpy(to, map_find(map, "context", &size), s->context * sizeof(float));
    if (s->pooled)
        memcpy((float *)to + s->context, map_find(map, "pooled", &size), s->pooled * sizeof(float));
    kiln_map_free(map);
    return KILN_OK;
}

static kiln_status fetch_states(objective *o, states_request *request, float *to, kiln_error *err)
{
    size_t bytes = (request->context + request->pooled) * sizeof(float);
    cache_key key;
    if (!o->texts)
        return encode_caption(request, to, bytes, err);
    kiln_status status = cache_key_of_text(request->caption, &key, err);
    return status ? status : cache_fetch(o->texts, &key, to, bytes, encode_caption, request, NULL, err);
}

static kiln_status fill_states(objective *o, const objective_batch *b, run *r, kiln_error *err)
{
    float *context = run_input(r, "encoder_hidden_states"), *pooled = run_input(r, "added_text_embeds");
    const unet_config *u = &o->model->parts->unet;
    states_request request = {.objective = o,
                              .context = (size_t)CHUNK_LENGTH * (size_t)u->context_channels,
                              .pooled = pooled ? (size_t)unet_pooled_channels(u, 0) : 0};
    float *states = malloc((request.context + request.pooled) * sizeof *states);
    kiln_status status =
        states ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the captions' states");
    for (int i = 0; i < b->shape.batch && !status; i++) {
        request.caption = b->captions[i];
        status = fetch_states(o, &request, states, err);
        if (status)
            break;
        memcpy(context + (size_t)i * request.context, states, request.context * sizeof(float));
        if (pooled)
            memcpy(pooled + (size_t)i * request.pooled, states + request.context,
                   request.pooled * sizeof(float));
    }
    free(states);
    return status;
}

/* The captions of pictures that a word is learnt from are of its own making; those of its class stay as they are. */
static kiln_status caption_of(const objective *o, const objective_batch *b, int i, char **caption,
                              kiln_error *err)
{
    bool learnt = strcmp(o->recipe->method, teach_words.method) == 0 && !b->samples[i].of_class;
    uint64_t bits = mix(b->samples[i].noise_seed, MIX_WORD_CAPTION, 0, 0);
    *caption = learnt ? word_caption(o->recipe, b->captions[i], bits) : strdup(b->captions[i]);
    return *caption ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a caption");
}

/* One caption as ids, for the graph that text encoders lie in. */
static kiln_status fill_sample(const objective *o, const objective_batch *b, int i, run *r, kiln_error *err)
{
    int32_t *ids = run_input(r, "ids"), *ids_2 = run_input(r, "text_encoder_2.ids"),
            *index_2 = run_input(r, "text_encoder_2.pooling_index"), *words = run_input(r, TEACH_WORD_IDS);
    size_t first = (size_t)i * CHUNK_LENGTH;
    char *caption;
    kiln_status status = caption_of(o, b, i, &caption, err);
    if (words)
        words += first;
    if (!status)
        status = fill_ids(o, NETWORK_TEXT_1, caption, ids + first, NULL, words, err);
    if (!status && ids_2)
        status = fill_ids(o, NETWORK_TEXT_2, caption, ids_2 + first, index_2 + i, words, err);
    free(caption);
    return status;
}

kiln_status objective_fill_words(objective *o, const objective_batch *b, run *r, kiln_error *err)
{
    float *times = run_input(r, "added_time_ids");
    const float size[6] = {(float)b->shape.height_px, (float)b->shape.width_px, 0, 0,
                           (float)b->shape.height_px, (float)b->shape.width_px};
    for (int i = 0; times && i < b->shape.batch; i++)
        memcpy(times + 6 * i, size, sizeof size);
    int32_t *ids = run_input(r, "ids");
    kiln_status status = KILN_OK;
    for (int i = 0; ids && i < b->shape.batch && !status; i++)
        status = fill_sample(o, b, i, r, err);
    if (ids || status)
        return status;
    if (o->worded)
        return fill_states(o, b, r, err);
    float *context = run_input(r, "encoder_hidden_states");
    memset(context, 0,
           (size_t)b->shape.batch * (size_t)o->model->parts->unet.context_channels * sizeof *context);
    return KILN_OK;
}
