/* tokenizer.h - a prompt as the numbers a CLIP text encoder takes: byte-level byte-pair encoding.
 *
 * Source: Radford et al. 2021 (CLIP) and the files that models carry. As transformers' CLIPTokenizer: added
 * tokens are cut out of the raw text first, the rest is cleaned (clean.h), cut into words by one pattern, and
 * each word is merged (merging.h). HTML entities stay as they are.
 *
 * A consequence that is kept on purpose: where the pad token is "!" (SD 2.x, the second encoder of SDXL), it
 * is an added token, and a "!" in a prompt is the pad token's id. A tokenizer opened from OpenAI's merges
 * file has no pad token of its own and reads "!" as a word.
 *
 * A tokenizer never changes once open: any number of threads may use it at once. */
#ifndef KILN_TEXT_TOKENIZER_H
#define KILN_TEXT_TOKENIZER_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct tokenizer tokenizer;

/* The largest text that is encoded, in bytes: some twenty thousand words. */
enum { TOKENIZER_MAX_TEXT = 128 * 1024 };

/* Ids in order. Starts as {0}; owned by the caller. */
typedef struct token_list {
    int32_t *ids;
    size_t count, capacity;
} token_list;

void token_list_free(token_list *);

/* Open a tokenizer folder of the diffusers layout: vocab.json and merges.txt, or else tokenizer.json; with
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json where they exist. Other kinds of
 * tokenizer (T5's) are refused with KILN_UNSUPPORTED. */
kiln_status tokenizer_open(const char *folder, tokenizer **out, kiln_error *err);

/* Open OpenAI's bpe_simple_vocab_16e6.txt.gz (or the same file unpacked), which alone is a whole tokenizer of
 * 49,408 words: ids follow from the order of its lines. */
kiln_status tokenizer_open_gz(const char *path, tokenizer **out, kiln_error *err);

typedef struct tokenizer_text {
    const char *data; /* NULL: there is no such file */
    size_t size;
} tokenizer_text;

/* The files of a folder, in memory; read only while opening. `vocabulary` and `merges`, or `fast`, is needed. */
typedef struct tokenizer_files {
    const char *name;           /* for error messages: the folder */
    tokenizer_text vocabulary;  /* vocab.json: word to id */
    tokenizer_text merges;      /* merges.txt: a line that is skipped, then one pair a line */
    tokenizer_text config;      /* tokenizer_config.json */
    tokenizer_text special_map; /* special_tokens_map.json */
    tokenizer_text added;       /* added_tokens.json: word to id */
    tokenizer_text fast;        /* tokenizer.json */
} tokenizer_files;

kiln_status tokenizer_open_memory(const tokenizer_files *, tokenizer **out, kiln_error *err);
/* The unpacked text of OpenAI's file. */
kiln_status tokenizer_open_merges(const char *name, const char *text, size_t size, tokenizer **out,
                                  kiln_error *err);
void tokenizer_close(tokenizer *);

/* Append the ids of `text` (NUL-terminated UTF-8), without start and end, to `out`. On failure `out` is as
 * it was. A text that is not UTF-8 or is longer than TOKENIZER_MAX_TEXT is KILN_BAD_ARGUMENT. */
kiln_status tokenizer_encode(const tokenizer *, const char *text, token_list *out, kiln_error *err);
/* The same for `length` bytes that need no final NUL. */
kiln_status tokenizer_encode_part(const tokenizer *, const char *text, size_t length, token_list *out,
                                  kiln_error *err);

/* The text of some ids, as far as encoding left it: lower case, single spaces, a space after every word.
 * `*out` is the caller's to free. Bytes that are not UTF-8 become U+FFFD; an unknown id is KILN_BAD_ARGUMENT. */
kiln_status tokenizer_decode(const tokenizer *, const int32_t *ids, size_t count, char **out,
                             kiln_error *err);

/* The vocabulary's own spelling of an id ("cat</w>"): printable, in the byte alphabet. NULL when there is no
 * such id. Lives as long as the tokenizer. */
const char *tokenizer_piece(const tokenizer *, int32_t id);
/* The id of such a spelling; -1 when there is none. */
int32_t tokenizer_lookup(const tokenizer *, const char *piece);

/* One more than the largest id: what the embedding table must have at least. */
int32_t tokenizer_size(const tokenizer *);
int32_t tokenizer_start_id(const tokenizer *);   /* <|startoftext|> */
int32_t tokenizer_end_id(const tokenizer *);     /* <|endoftext|> */
int32_t tokenizer_pad_id(const tokenizer *);     /* what fills a window after the end */
int32_t tokenizer_unknown_id(const tokenizer *); /* for a word that no merge leads to */
/* The length of a window, start and end included: model_max_length, 77 where the files do not say. */
int64_t tokenizer_max_length(const tokenizer *);

#endif
