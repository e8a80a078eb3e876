/* chunks.c - see chunks.h. */
#include "text/chunks.h"

#include "text/clean.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

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
    if (!ids || !length || !end)
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
    out->length[out->count] = keep;
    out->end[out->count] = end;
    out->count++;
    c->open_count -= keep;
    memmove(c->open, c->open + keep, (size_t)c->open_count * sizeof *c->open);
    c->last_comma = -1;
    return KILN_OK;
}

static kiln_status add_token(cutting *c, int32_t id, kiln_error *err)
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
    if (!status)
        c->open[c->open_count++] = id;
    return status;
}

static kiln_status add_text(cutting *c, const char *text, size_t length, kiln_error *err)
{
    token_list tokens = {0};
    kiln_status status = tokenizer_encode_part(c->with, text, length, &tokens, err);
    size_t limit = tokens.count;
    if (c->options.one_window && limit > CHUNK_TOKENS)
        limit = CHUNK_TOKENS;
    for (size_t i = 0; !status && i < limit; i++)
        status = add_token(c, tokens.ids[i], err);
    c->out->dropped = tokens.count - limit;
    token_list_free(&tokens);
    return status;
}

/* Whether a word could go on at this side of a boundary. The text is valid UTF-8. */
static bool word_before(const char *text, size_t at)
{
    size_t start = at;
    utf8proc_int32_t c;
    if (!at)
        return false;
    do
        start--;
    while (start > 0 && ((unsigned char)text[start] & 0xC0) == 0x80);
    return utf8proc_iterate((const utf8proc_uint8_t *)text + start, (utf8proc_ssize_t)(at - start), &c) > 0 &&
           clean_is_word(c);
}

static bool word_after(const char *text, size_t at, size_t length)
{
    utf8proc_int32_t c;
    return at < length &&
           utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &c) > 0 &&
           clean_is_word(c);
}

/* Where the next BREAK begins, at or after `from`; the text's length when there is none. */
static size_t find_break(const char *text, size_t from, size_t length)
{
    const size_t size = strlen(BREAK_WORD);
    for (size_t i = from; i + size <= length; i++)
        if (memcmp(text + i, BREAK_WORD, size) == 0 && !word_before(text, i) &&
            !word_after(text, i + size, length))
            return i;
    return length;
}

static kiln_status cut(cutting *c, const char *prompt, size_t length, kiln_error *err)
{
    if (c->options.one_window)
        return add_text(c, prompt, length, err);
    kiln_status status = KILN_OK;
    for (size_t from = 0; !status;) {
        size_t stop = find_break(prompt, from, length);
        status = add_text(c, prompt + from, stop - from, err);
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

kiln_status chunks_of_prompt(const tokenizer *t, const char *prompt, const chunk_options *options,
                             token_chunks *out, kiln_error *err)
{
    *out = (token_chunks){0};
    size_t length = strlen(prompt);
    kiln_status status = check_prompt(prompt, length, err);
    if (status)
        return status;
    cutting c = {.with = t,
                 .options = options ? *options : chunk_options_of(t),
                 .comma = tokenizer_lookup(t, ",</w>"),
                 .last_comma = -1,
                 .out = out};
    status = cut(&c, prompt, length, err);
    if (!status && (c.open_count || !out->count))
        status = close_window(&c, c.open_count, err);
    if (status)
        chunks_free(out);
    return status;
}

kiln_status chunks_extend(const tokenizer *t, token_chunks *chunks, int count, const chunk_options *options,
                          kiln_error *err)
{
    cutting c = {.with = t,
                 .options = options ? *options : chunk_options_of(t),
                 .capacity = chunks->count,
                 .out = chunks};
    kiln_status status = KILN_OK;
    while (!status && chunks->count < count)
        status = close_window(&c, 0, err);
    return status;
}
