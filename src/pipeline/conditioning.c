/* conditioning.c - see conditioning.h. */
#include "pipeline/conditioning.h"

#include "pipeline/loras.h"
#include "pipeline/map.h"
#include "pipeline/model_words.h"
#include "text/chunks.h"
#include "text/extra_networks.h"
#include "text/prompt_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* More than the longest text that the tokenizer takes ever needs. */
enum { MAX_WINDOWS = 2048 };

static const char *const emphasis_names[] = {
    [EMPHASIS_ORIGINAL] = "Original", [EMPHASIS_NO_NORM] = "No norm", [EMPHASIS_COMFYUI] = "ComfyUI",
    [EMPHASIS_IGNORE] = "Ignore",     [EMPHASIS_NONE] = "None",
};

kiln_status emphasis_of_name(const char *name, emphasis *out, kiln_error *err)
{
    *out = EMPHASIS_ORIGINAL;
    for (emphasis e = EMPHASIS_ORIGINAL; name && e <= EMPHASIS_NONE; e++)
        if (strcasecmp(name, emphasis_names[e]) == 0) {
            *out = e;
            return KILN_OK;
        }
    return name ? fail(err, KILN_BAD_ARGUMENT,
                       "emphasis is Original, No norm, ComfyUI, Ignore or None, not '%s'", name)
                : KILN_OK;
}

/* One encoder's part of a prompt. */
typedef struct encoding {
    network_kind kind;
    const clip_text_config *config;
    token_chunks chunks;
    unsigned outputs;
    int skip;
    const char *output; /* the plan's output that becomes context */
    emphasis emphasis;
    /* Where the emphasis measures weights from it: the states of a window without words, [CHUNK_LENGTH, width]; owned. The
     * chunks then have such a window behind the last that counts. */
    float *empty;
} encoding;

static const clip_text_config *encoder_config(const kiln_model *m, network_kind kind)
{
    return kind == NETWORK_TEXT_1 ? &m->parts->text : &m->parts->text_2;
}

static int encoders_of(const kiln_model *m, encoding e[2], const conditioning_text *text)
{
    int count = 0;
    bool two = model_has(m, NETWORK_TEXT_2);
    for (network_kind k = NETWORK_TEXT_1; k <= NETWORK_TEXT_2; k++) {
        if (!model_has(m, k))
            continue;
        encoding *x = &e[count++];
        *x = (encoding){.kind = k, .config = encoder_config(m, k), .emphasis = text->emphasis};
        /* SDXL looks at the penultimate layer whatever the user says. */
        x->skip = two ? 2 : text->clip_skip;
        x->outputs = two ? CLIP_HIDDEN_RAW : CLIP_HIDDEN_LN;
        x->output = two ? "hidden_raw" : "hidden_ln";
        if (k == NETWORK_TEXT_2)
            x->outputs |= CLIP_TEXT_EMBEDS;
    }
    return count;
}

static kiln_status cut(const kiln_session *s, encoding *e, int count, const conditioning_text *text,
                       kiln_error *err)
{
    const kiln_model *m = s->model;
    const model_words *words = session_words(s);
    int longest = text->windows > 1 ? text->windows : 1;
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < count; i++) {
        const tokenizer *t = m->tokenizers[e[i].kind];
        if (e[i].skip < 1 || e[i].skip > e[i].config->layers)
            return fail(err, KILN_BAD_ARGUMENT, "clip_skip is 1 to %d for this text encoder, not %d",
                        e[i].config->layers, e[i].skip);
        if (!t)
            return fail(err, KILN_NOT_FOUND,
                        "%s: no tokenizer was found; give one with --tokenizer DIR (a folder with vocab.json "
                        "and merges.txt)",
                        m->path);
        chunk_options o = chunk_options_of(t);
        o.pad_id = m->pad_id[e[i].kind] >= 0 ? m->pad_id[e[i].kind] : o.pad_id;
        o.taught = model_words_taught(words, e[i].kind);
        status = chunks_of_pieces(t, text->pieces, &o, &e[i].chunks, err);
        if (status == KILN_OK)
            status = model_words_check(words, &e[i].chunks, err);
        if (status == KILN_OK && e[i].chunks.count > longest)
            longest = e[i].chunks.count;
    }
    for (int i = 0; status == KILN_OK && i < count; i++) {
        chunk_options o = chunk_options_of(m->tokenizers[e[i].kind]);
        o.pad_id = m->pad_id[e[i].kind] >= 0 ? m->pad_id[e[i].kind] : o.pad_id;
        bool more = e[i].emphasis == EMPHASIS_COMFYUI && e[i].chunks.weights;
        status = chunks_extend(m->tokenizers[e[i].kind], &e[i].chunks, longest + more, &o, err);
        if (status == KILN_OK)
            e[i].chunks.count = longest;
    }
    return status;
}

static double mean_of(const float *rows, int row, int width)
{
    double sum = 0;
    for (int t = 0; t < CHUNK_LENGTH; t++)
        for (int i = 0; i < width; i++)
            sum += (double)rows[(size_t)t * (size_t)row + (size_t)i];
    return sum / ((double)CHUNK_LENGTH * width);
}

static void scale_row(float *row, int width, float factor)
{
    for (int i = 0; i < width; i++)
        row[i] *= factor;
}

static void interpolate(float *row, const float *empty, int width, float weight)
{
    for (int i = 0; weight != 1 && i < width; i++)
        row[i] = (row[i] - empty[i]) * weight + empty[i];
}

/* Weigh the states of a window: every position by its own; and then, in the original way, all of them so that their mean
 * is what it was. */
static void emphasize(const encoding *e, int w, float *context, int row)
{
    int width = e->config->width;
    if (!e->chunks.weights || e->emphasis == EMPHASIS_IGNORE || e->emphasis == EMPHASIS_NONE)
        return;
    if (e->emphasis == EMPHASIS_COMFYUI) {
        for (int t = 0; t < CHUNK_LENGTH; t++)
            interpolate(context + (size_t)t * (size_t)row, e->empty + (size_t)t * (size_t)width, width,
                        e->chunks.weights[w][t]);
        return;
    }
    double before = mean_of(context, row, width);
    for (int t = 0; t < CHUNK_LENGTH; t++)
        scale_row(context + (size_t)t * (size_t)row, width, e->chunks.weights[w][t]);
    double after = mean_of(context, row, width);
    if (e->emphasis == EMPHASIS_NO_NORM || after == 0 || !isfinite(before / after))
        return;
    for (int t = 0; t < CHUNK_LENGTH; t++)
        scale_row(context + (size_t)t * (size_t)row, width, (float)(before / after));
}

/* Run the encoder over window `w`; copies the hidden states to `context` (rows of `row` floats). */
static kiln_status run_window(kiln_session *s, const encoding *e, const plan *p, run *r, int w,
                              float *context, int row, kiln_error *err)
{
    const int32_t *ids = e->chunks.ids[w];
    for (int i = 0; i < CHUNK_LENGTH; i++)
        if (ids[i] >= e->config->vocabulary)
            return fail(err, KILN_MISMATCH,
                        "the tokenizer gives the id %d, but the text encoder knows only %d words",
                        (int)ids[i], e->config->vocabulary);
    memcpy(run_input(r, "ids"), ids, sizeof e->chunks.ids[w]);
    if (e->chunks.vectors)
        model_words_fill(session_words(s), e->kind, e->chunks.vectors[w], e->config->width,
                         run_input(r, "ids"), run_input(r, "word_vectors"));
    int32_t *index = run_input(r, "pooling_index");
    if (index)
        *index = clip_pooling_index(e->config, ids, CHUNK_LENGTH);
    kiln_status status = session_run(s, p, r, err);
    const float *hidden = run_output(r, e->output);
    for (int t = 0; status == KILN_OK && t < CHUNK_LENGTH; t++)
        memcpy(context + (size_t)t * (size_t)row, hidden + (size_t)t * (size_t)e->config->width,
               (size_t)e->config->width * sizeof(float));
    return status;
}

/* The same with the weights; and from the first window the pooled state, on which they do not act. */
static kiln_status encode_window(kiln_session *s, const encoding *e, const plan *p, run *r, int w,
                                 float *context, int row, float *pooled, kiln_error *err)
{
    kiln_status status = run_window(s, e, p, r, w, context, row, err);
    if (status != KILN_OK)
        return status;
    const float *embeds = run_output(r, "text_embeds");
    emphasize(e, w, context, row);
    if (embeds && w == 0)
        memcpy(pooled, embeds, (size_t)e->config->projection_channels * sizeof(float));
    return KILN_OK;
}

static kiln_status encode_empty(kiln_session *s, encoding *e, const plan *p, run *r, kiln_error *err)
{
    if (e->emphasis != EMPHASIS_COMFYUI || !e->chunks.weights)
        return KILN_OK;
    e->empty = malloc((size_t)CHUNK_LENGTH * (size_t)e->config->width * sizeof *e->empty);
    if (!e->empty)
        return fail(err, KILN_NO_MEMORY, "out of memory for the conditioning");
    return run_window(s, e, p, r, e->chunks.count, e->empty, e->config->width, err);
}

static kiln_status encode_all(kiln_session *s, encoding *e, float *context, int row, float *pooled,
                              kiln_error *err)
{
    network_shape size = {.batch = 1,
                          .tokens = CHUNK_LENGTH,
                          .outputs = e->outputs,
                          .skip = e->skip,
                          .word_vectors = e->chunks.vectors != NULL};
    const plan *p = NULL;
    run *r = NULL;
    kiln_status status = session_get_plan(s, e->kind, &size, &p, err);
    if (status == KILN_OK)
        status = run_new(p, &r, err);
    if (status == KILN_OK)
        status = encode_empty(s, e, p, r, err);
    for (int w = 0; status == KILN_OK && w < e->chunks.count; w++)
        status =
            encode_window(s, e, p, r, w, context + (size_t)w * CHUNK_LENGTH * (size_t)row, row, pooled, err);
    run_free(r);
    free(e->empty);
    e->empty = NULL;
    return status;
}

static kiln_status to_map(const float *context, int tokens, int width, const float *pooled, int pooled_width,
                          kiln_map **out, kiln_error *err)
{
    kiln_status status = map_new("conditioning", out, err);
    if (status == KILN_OK)
        status = map_add(*out, "context", SHAPE3(1, tokens, width), context, err);
    if (status == KILN_OK && pooled_width)
        status = map_add(*out, "pooled", SHAPE2(1, pooled_width), pooled, err);
    if (status != KILN_OK) {
        kiln_map_free(*out);
        *out = NULL;
    }
    return status;
}

/* A denoiser that was never shown words looks at one token of zeros. */
static bool needs_no_words(const kiln_model *m)
{
    return model_is_pixel(m) && !model_has(m, NETWORK_TEXT_1) && !model_has(m, NETWORK_TEXT_2);
}

static kiln_status no_words(const kiln_model *m, kiln_map **out, kiln_error *err)
{
    int width = m->parts->unet.context_channels;
    float *zeros = calloc((size_t)width + 1, sizeof *zeros);
    kiln_status status = zeros ? to_map(zeros, 1, width, NULL, 0, out, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for the conditioning");
    free(zeros);
    return status;
}

kiln_status conditioning_of_pieces(kiln_session *s, const conditioning_text *text, kiln_map **out,
                                   kiln_error *err)
{
    *out = NULL;
    if (needs_no_words(s->model))
        return no_words(s->model, out, err);
    encoding e[2] = {{0}};
    int count = encoders_of(s->model, e, text), width = 0, pooled_width = 0;
    kiln_status status = count ? cut(s, e, count, text, err) : model_need(s->model, NETWORK_TEXT_1, err);
    for (int i = 0; i < count; i++) {
        width += e[i].config->width;
        if (e[i].outputs & CLIP_TEXT_EMBEDS)
            pooled_width = e[i].config->projection_channels;
    }
    int tokens = status == KILN_OK ? e[0].chunks.count * CHUNK_LENGTH : 0;
    float *context = calloc((size_t)tokens * (size_t)width + 1, sizeof(float)),
          *pooled = calloc((size_t)pooled_width + 1, sizeof(float));
    if (status == KILN_OK && (!context || !pooled))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the conditioning");
    for (int i = 0, column = 0; status == KILN_OK && i < count; i++) {
        status = encode_all(s, &e[i], context + column, width, pooled, err);
        column += e[i].config->width;
    }
    if (status == KILN_OK)
        status = to_map(context, tokens, width, pooled, pooled_width, out, err);
    for (int i = 0; i < count; i++)
        chunks_free(&e[i].chunks);
    free(context);
    free(pooled);
    return status;
}

kiln_status conditioning_of_text(kiln_session *s, const char *prompt, int clip_skip, kiln_map **out,
                                 kiln_error *err)
{
    *out = NULL;
    prompt_pieces pieces;
    kiln_status status = prompt_pieces_plain(prompt, &pieces, err);
    if (status == KILN_OK)
        status = conditioning_of_pieces(s, &(conditioning_text){.pieces = &pieces, .clip_skip = clip_skip},
                                        out, err);
    prompt_pieces_free(&pieces);
    return status;
}

kiln_status conditioning_tokens(const kiln_session *s, const conditioning_text *text, int *tokens,
                                kiln_error *err)
{
    *tokens = 0;
    if (needs_no_words(s->model)) {
        *tokens = 1;
        return KILN_OK;
    }
    encoding e[2] = {{0}};
    int count = encoders_of(s->model, e, text);
    kiln_status status = count ? cut(s, e, count, text, err) : model_need(s->model, NETWORK_TEXT_1, err);
    if (status == KILN_OK)
        *tokens = e[0].chunks.count * CHUNK_LENGTH;
    for (int i = 0; i < count; i++)
        chunks_free(&e[i].chunks);
    return status;
}

kiln_status conditioning_words(const kiln_session *s, const conditioning_text *text, bool *used,
                               kiln_error *err)
{
    encoding e[2] = {{0}};
    int count = session_words(s) ? encoders_of(s->model, e, text) : 0;
    kiln_status status = count ? cut(s, e, count, text, err) : KILN_OK;
    for (int w = 0; status == KILN_OK && e[0].chunks.vectors && w < e[0].chunks.count; w++)
        for (int i = 0; i < CHUNK_LENGTH; i++)
            if (e[0].chunks.vectors[w][i].word >= 0)
                used[e[0].chunks.vectors[w][i].word] = true;
    for (int i = 0; i < count; i++)
        chunks_free(&e[i].chunks);
    return status;
}

int conditioning_map_tokens(const kiln_map *map)
{
    shape context = {0};
    map_find(map, "context", &context);
    return (int)context.dim[1];
}

kiln_status conditioning_of_nothing(const kiln_map *like, kiln_map **out, kiln_error *err)
{
    *out = NULL;
    shape context = {0}, pooled = {0};
    map_find(like, "context", &context);
    bool has_pooled = map_find(like, "pooled", &pooled) != NULL;
    float *zero = calloc((size_t)(shape_count(context) + shape_count(pooled)) + 1, sizeof(float));
    if (!zero)
        return fail(err, KILN_NO_MEMORY, "out of memory for the conditioning");
    kiln_status status = to_map(zero, (int)context.dim[1], (int)context.dim[2], zero,
                                has_pooled ? (int)pooled.dim[1] : 0, out, err);
    free(zero);
    return status;
}

static bool all_finite(const float *x, shape size)
{
    for (int64_t i = 0, n = shape_count(size); i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

kiln_status conditioning_check(const kiln_model *m, const kiln_map *map, const char *what, kiln_error *err)
{
    shape context = {0}, pooled = {0};
    const float *words = map_find(map, "context", &context), *whole = map_find(map, "pooled", &pooled);
    int width = m->parts->unet.context_channels,
        wanted = m->parts->unet.text_time ? unet_pooled_channels(&m->parts->unet, 0) : 0;
    if (strcmp(kiln_map_kind(map), "conditioning") != 0 || !words || context.rank != 3 || context.dim[0] != 1)
        return fail(err, KILN_BAD_ARGUMENT, "%s is not a conditioning: it holds no tensor 'context' [1,T,D]",
                    what);
    if (context.dim[2] != width)
        return fail(err, KILN_MISMATCH, "%s has a context of width %lld, the model wants %d", what,
                    (long long)context.dim[2], width);
    if (context.dim[1] < 1 || context.dim[1] > MAX_WINDOWS * CHUNK_LENGTH)
        return fail(err, KILN_BAD_ARGUMENT, "%s has %lld tokens, expected 1 to %d", what,
                    (long long)context.dim[1], MAX_WINDOWS * CHUNK_LENGTH);
    if (wanted && (!whole || pooled.rank != 2 || pooled.dim[0] != 1 || pooled.dim[1] != wanted))
        return fail(err, KILN_MISMATCH, "%s lacks the tensor 'pooled' [1,%d] that the model wants", what,
                    wanted);
    if (!all_finite(words, context) || (wanted && !all_finite(whole, pooled)))
        return fail(err, KILN_BAD_FORMAT, "%s holds NaN or infinity", what);
    return KILN_OK;
}

/* What a text means is kept without what would bend the networks that read it. */
static kiln_status refuse_extra_networks(const char *prompt, kiln_error *err)
{
    extra_networks tags;
    kiln_status status = extra_networks_of(prompt, &tags, err);
    if (status == KILN_OK && tags.count)
        status = fail(err, KILN_UNSUPPORTED,
                      "%s: extra networks act on drawings, not on a text that is encoded alone",
                      tags.network[0].text);
    extra_networks_free(&tags);
    return status;
}

kiln_status kiln_encode_text(kiln_session *s, const char *prompt, int clip_skip, const char *weighing,
                             kiln_map **out, kiln_error *err)
{
    *out = NULL;
    session_begin(s);
    if (!prompt)
        return fail(err, KILN_BAD_ARGUMENT, "there is no prompt to encode");
    prompt_pieces pieces = {0};
    conditioning_text how = {.pieces = &pieces, .clip_skip = clip_skip};
    char *text = NULL;
    kiln_status status = emphasis_of_name(weighing, &how.emphasis, err);
    if (status == KILN_OK)
        status = session_use_loras(s, NULL, err);
    if (status == KILN_OK)
        status = refuse_extra_networks(prompt, err);
    if (status == KILN_OK)
        status = prompt_without_comments(prompt, &text, err);
    if (status == KILN_OK)
        status = how.emphasis == EMPHASIS_NONE ? prompt_pieces_plain(text, &pieces, err)
                                               : prompt_pieces_of(text, &pieces, err);
    if (status == KILN_OK)
        status = conditioning_of_pieces(s, &how, out, err);
    prompt_pieces_free(&pieces);
    free(text);
    return status;
}
