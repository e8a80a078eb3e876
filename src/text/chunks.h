/* chunks.h - a prompt as windows of 77 ids: start, up to 75 tokens, end, padding.
 *
 * A text encoder sees one window at a time. A longer prompt is cut as AUTOMATIC1111's web UI cuts it: into as
 * many windows as it needs; where a window fills up and a comma stands among its last 20 tokens, what follows
 * that comma moves to the next window whole. The word BREAK (capitals, a word of its own) ends a window early
 * and is not itself encoded. Or, as diffusers does: one window, the rest of the prompt is dropped.
 *
 * A word with vectors of its own (taught_words.h) takes a place for each of them, all in one window. */
#ifndef KILN_TEXT_CHUNKS_H
#define KILN_TEXT_CHUNKS_H

#include "text/prompt_attention.h"
#include "text/taught_words.h"
#include "text/tokenizer.h"

#include <stdbool.h>

enum {
    CHUNK_LENGTH = 77,
    CHUNK_TOKENS = 75, /* without start and end */
    CHUNK_COMMA_BACKTRACK = 20
};

/* What the rows of a prompt look like; chunk_options_of gives the usual ones. */
typedef struct chunk_options {
    /* What fills a window after its end: SD 1.x and SDXL's first encoder the end-of-text id, SD 2.x and
     * SDXL's second encoder 0. */
    int32_t pad_id;
    bool one_window;            /* diffusers' way: no BREAK, and everything after 75 tokens is dropped */
    int comma_backtrack;        /* 0 .. 75; 0 cuts anywhere */
    const taught_words *taught; /* NULL: none */
} chunk_options;

/* What stands at a place of a window instead of a token. */
typedef struct chunk_vector {
    int word; /* its number in taught_words; -1: the place has a token like any other */
    int vector;
} chunk_vector;

/* Several windows, comma backtrack 20, padding as the tokenizer's files say. */
chunk_options chunk_options_of(const tokenizer *);

/* Windows in order. Owned by the caller; starts as {0}. */
typedef struct token_chunks {
    int count; /* at least 1 after success: an empty prompt is one empty window */
    int32_t (*ids)[CHUNK_LENGTH];
    float (*weights)[CHUNK_LENGTH];        /* of every position, 1 for what is no word; NULL: all are 1 */
    chunk_vector (*vectors)[CHUNK_LENGTH]; /* of every position, whose id is then 0; NULL: there are none */
    int *length;                           /* tokens in each window, without start and end: 0 .. 75 */
    int *end;       /* position of the first end-of-text id: where the pooled vector is read */
    size_t dropped; /* with one_window: how many tokens of the prompt were left out */
} token_chunks;

/* `prompt` is NUL-terminated UTF-8. `options` NULL: chunk_options_of. Errors as tokenizer_encode; `*out` is
 * {0} after a failure. */
kiln_status chunks_of_prompt(const tokenizer *, const char *prompt, const chunk_options *options,
                             token_chunks *out, kiln_error *err);

/* The same of a prompt that is read already, with its weights. Each piece is cut into words by itself. */
kiln_status chunks_of_pieces(const tokenizer *, const prompt_pieces *, const chunk_options *options,
                             token_chunks *out, kiln_error *err);

/* Add empty windows (start, end, padding) until there are `count`, so that a prompt and its negative have the
 * same number. Does nothing where there are as many already. */
kiln_status chunks_extend(const tokenizer *, token_chunks *, int count, const chunk_options *options,
                          kiln_error *err);

void chunks_free(token_chunks *);

#endif
