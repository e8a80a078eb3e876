/* chunks.c - see chunks.h. */
#include "text/chunks.h"

#include "text/clean.h"

#include <stdlib.h>
#include <string.h>

#define BREAK_WORD "BREAK"

chunk_options chunk_options_of(const tokenizer *t)
{
    return (chunk_options){.pad_id = tokenizer_pad_id(t), .comma_backtrack = CHUNK_COMMA_BACKTRACK};
}

void chunks_free(token_chunks *chunks)
{
    if (!chunks)
        return;
    free(chunks->ids);
    free(chunks->weights);
    free(chunks->vectors);
    free(chunks->length);
    free(chunks->end);
    *chunks = (token_chunks){0};
}

/* What one call of chunks_of_prompt works with. */
typedef struct cutting {
    const tokenizer *with;
    chunk_options options;
    int32_t comma;
    int32_t open[CHUNK_TOKENS]; /* the window being filled */
    float open_weights[CHUNK_TOKENS];
    chunk_vector open_vectors[CHUNK_TOKENS];
    bool weighted, taught;
    int open_count;
    int last_comma; /* its index in the open window, or -1 */
    int capacity;
    token_chunks *out;
} cutting;

static kiln_status grow(cutting *c, kiln_error *err)
{
    token_chunks *out = c->out;
    if (out->count < c->capacity)
        return KILN_OK;
    size_t capacity = out->count ? (size_t)out->count * 2 : 2;
    int32_t(*ids)[CHUNK_LENGTH] = realloc(out->ids, capacity * sizeof *ids);
    if (ids)
        out->ids = ids;
    int *length = realloc(out->length, capacity * sizeof *length);
    if (length)
        out->length = length;
    int *end = realloc(out->end, capacity * sizeof *end);
    if (end)
        out->end = end;
    float(*weights)[CHUNK_LENGTH] = c->weighted ? realloc(out->weights, capacity * sizeof *weights) : NULL;
    if (weights)
        out->weights = weights;
    chunk_vector(*vectors)[CHUNK_LENGTH] =
        c->taught ? realloc(out->vectors, capacity * sizeof *vectors) : NULL;
    if (vectors)
        out->vectors = vectors;
    if (!ids || !length || !end || (c->weighted && !weights) || (c->taught && !vectors))
        return fail(err, KILN_NO_MEMORY, "not enough memory for %zu prompt windows", capacity);
    c->capacity = (int)capacity;
    return KILN_OK;
}

/* Write the first `keep` tokens of the open window out as a row; the rest begin the next window. */
static kiln_status close_window(cutting *c, int keep, kiln_error *err)
{
    keep = keep > CHUNK_TOKENS ? CHUNK_TOKENS : keep;
    kiln_status status = grow(c, err);
    if (status)
        return status;
    token_chunks *out = c->out;
    int32_t *row = out->ids[out->count], end_id = tokenizer_end_id(c->with);
    int at = 0, end = 0;
    row[at++] = tokenizer_start_id(c->with);
    memcpy(row + at, c->open, (size_t)keep * sizeof *row);
    at += keep;
    row[at++] = end_id;
    while (at < CHUNK_LENGTH)
        row[at++] = c->options.pad_id;
    while (end < CHUNK_LENGTH - 1 && row[end] != end_id)
        end++;
    if (c->weighted) {
        float *weights = out->weights[out->count];
        for (int i = 0; i < CHUNK_LENGTH; i++)
            weights[i] = i >= 1 && i <= keep ? c->open_weights[i - 1] : 1;
    }
    for (int i = 0; c->taught && i < CHUNK_LENGTH; i++)
        out->vectors[out->count][i] =
            i >= 1 && i <= keep ? c->open_vectors[i - 1] : (chunk_vector){.word = -1};
    out->length[out->count] = keep;
    out->end[out->count] = end;
    out->count++;
    c->open_count -= keep;
    memmove(c->open, c->open + keep, (size_t)c->open_count * sizeof *c->open);
    memmove(c->open_weights, c->open_weights + keep, (size_t)c->open_count * sizeof *c->open_weights);
    memmove(c->open_vectors, c->open_vectors + keep, (size_t)c->open_count * sizeof *c->open_vectors);
    c->last_comma = -1;
    return KILN_OK;
}

/* Room for the next token; `id` is what it is. */
static kiln_status make_room(cutting *c, int32_t id, kiln_error *err)
{
    kiln_status status = KILN_OK;
    bool full = c->open_count == CHUNK_TOKENS;
    if (id == c->comma) {
        /* One that finds the window full begins the next and is forgotten by close_window below: the order
         * of steps of AUTOMATIC1111, which pictures depend on. */
        c->last_comma = c->open_count;
    } else if (full && c->last_comma >= 0 && c->open_count - c->last_comma <= c->options.comma_backtrack) {
        status = close_window(c, c->last_comma + 1, err);
    }
    if (!status && c->open_count == CHUNK_TOKENS)
        status = close_window(c, CHUNK_TOKENS, err);
    return status;
}

static void place(cutting *c, int32_t id, float weight, chunk_vector vector)
{
    c->open_weights[c->open_count] = weight;
    c->open_vectors[c->open_count] = vector;
    c->open[c->open_count++] = id;
}

static kiln_status add_token(cutting *c, int32_t id, float weight, kiln_error *err)
{
    kiln_status status = make_room(c, id, err);
    if (!status)
        place(c, id, weight, (chunk_vector){.word = -1});
    return status;
}

/* All vectors of a word into one window. Its first token makes room as any token does, as in AUTOMATIC1111's order. */
static kiln_status add_taught(cutting *c, const taught_run *run, float weight, kiln_error *err)
{
    kiln_status status = make_room(c, run->ids[0], err);
    if (!status && c->open_count + run->vectors > CHUNK_TOKENS)
        status = close_window(c, c->open_count, err);
    for (int i = 0; i < run->vectors && !status; i++)
        place(c, 0, weight, (chunk_vector){run->word, i});
    return status;
}

/* In one window: whether there is no room for so many more. What follows a token that was left out is left out too. */
static bool drops(const cutting *c, int count)
{
    return c->options.one_window && (c->out->dropped || c->open_count + count > CHUNK_TOKENS);
}

static kiln_status add_tokens(cutting *c, const token_list *tokens, float weight, kiln_error *err)
{
    kiln_status status = KILN_OK;
    size_t i = 0;
    while (!status && i < tokens->count) {
        const taught_run *run = taught_words_find(c->options.taught, tokens->ids + i, tokens->count - i);
        if (drops(c, run ? run->vectors : 1))
            break;
        status = run ? add_taught(c, run, weight, err) : add_token(c, tokens->ids[i], weight, err);
        i += run ? run->count : 1;
    }
    c->out->dropped += tokens->count - i;
    return status;
}

static kiln_status add_words(cutting *c, const char *text, size_t length, float weight, kiln_error *err)
{
    token_list tokens = {0};
    kiln_status status = tokenizer_encode_part(c->with, text, length, &tokens, err);
    if (!status)
        status = add_tokens(c, &tokens, weight, err);
    token_list_free(&tokens);
    return status;
}

static kiln_status add_text(cutting *c, const char *text, size_t length, float weight, kiln_error *err)
{
    kiln_status status = KILN_OK;
    size_t begin = 0;
    const taught_run *run;
    while (!status && (run = taught_words_find_mark(c->options.taught, text, length, &begin))) {
        size_t size = begin + strlen(run->mark);
        status = add_words(c, text, begin, weight, err);
        if (!status && drops(c, run->vectors))
            c->out->dropped += run->count;
        else if (!status)
            status = add_taught(c, run, weight, err);
        text += size;
        length -= size;
    }
    return status ? status : add_words(c, text, length, weight, err);
}

/* Where the next BREAK begins, at or after `from`; the text's length when there is none. */
static size_t find_break(const char *text, size_t from, size_t length)
{
    const size_t size = strlen(BREAK_WORD);
    for (size_t i = from; i + size <= length; i++)
        if (memcmp(text + i, BREAK_WORD, size) == 0 && clean_is_apart(text, length, i, i + size))
            return i;
    return length;
}

static kiln_status cut(cutting *c, const char *prompt, size_t length, kiln_error *err)
{
    if (c->options.one_window)
        return add_text(c, prompt, length, 1, err);
    kiln_status status = KILN_OK;
    for (size_t from = 0; !status;) {
        size_t stop = find_break(prompt, from, length);
        status = add_text(c, prompt + from, stop - from, 1, err);
        if (status || stop == length)
            break;
        status = close_window(c, c->open_count, err);
        from = stop + strlen(BREAK_WORD);
    }
    return status;
}

static kiln_status check_prompt(const char *prompt, size_t length, kiln_error *err)
{
    if (length > TOKENIZER_MAX_TEXT)
        return fail(err, KILN_BAD_ARGUMENT, "the prompt has %zu bytes; at most %d can be encoded", length,
                    TOKENIZER_MAX_TEXT);
    kiln_status status = clean_check_utf8(prompt, length, err);
    return status ? fail_within(err, status, "the prompt") : KILN_OK;
}

static cutting begin(const tokenizer *t, const chunk_options *options, token_chunks *out)
{
    *out = (token_chunks){0};
    return (cutting){.with = t,
                     .options = options ? *options : chunk_options_of(t),
                     .taught = options && options->taught && options->taught->count,
                     .comma = tokenizer_lookup(t, ",</w>"),
                     .last_comma = -1,
                     .out = out};
}

static bool has_vectors(const token_chunks *chunks)
{
    for (int w = 0; chunks->vectors && w < chunks->count; w++)
        for (int i = 0; i < CHUNK_LENGTH; i++)
            if (chunks->vectors[w][i].word >= 0)
                return true;
    return false;
}

static kiln_status finish(cutting *c, kiln_status status, kiln_error *err)
{
    if (!status && (c->open_count || !c->out->count))
        status = close_window(c, c->open_count, err);
    if (!status && !has_vectors(c->out)) {
        free(c->out->vectors);
        c->out->vectors = NULL;
    }
    if (status)
        chunks_free(c->out);
    return status;
}

kiln_status chunks_of_prompt(const tokenizer *t, const char *prompt, const chunk_options *options,
                             token_chunks *out, kiln_error *err)
{
    cutting c = begin(t, options, out);
    size_t length = strlen(prompt);
    kiln_status status = check_prompt(prompt, length, err);
    if (status)
        return status;
    return finish(&c, cut(&c, prompt, length, err), err);
}

kiln_status chunks_of_pieces(const tokenizer *t, const prompt_pieces *pieces, const chunk_options *options,
                             token_chunks *out, kiln_error *err)
{
    cutting c = begin(t, options, out);
    c.weighted = pieces->weighted;
    kiln_status status = check_prompt(pieces->text, strlen(pieces->text), err);
    if (status)
        return status;
    for (size_t i = 0; !status && i < pieces->count; i++) {
        const prompt_piece *p = &pieces->pieces[i];
        status = p->ends_window ? close_window(&c, c.open_count, err)
                                : add_text(&c, pieces->text + p->begin, p->length, (float)p->weight, err);
    }
    return finish(&c, status, err);
}

kiln_status chunks_extend(const tokenizer *t, token_chunks *chunks, int count, const chunk_options *options,
                          kiln_error *err)
{
    cutting c = {.with = t,
                 .options = options ? *options : chunk_options_of(t),
                 .weighted = chunks->weights != NULL,
                 .taught = chunks->vectors != NULL,
                 .capacity = chunks->count,
                 .out = chunks};
    kiln_status status = KILN_OK;
    while (!status && chunks->count < count)
        status = close_window(&c, 0, err);
    return status;
}
