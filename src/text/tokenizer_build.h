/* tokenizer_build.h - what a tokenizer is made of, and the steps of making one. Only src/text uses it. */
#ifndef KILN_TEXT_TOKENIZER_BUILD_H
#define KILN_TEXT_TOKENIZER_BUILD_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "text/tokenizer.h"
#include "text/vocabulary.h"

#include <jansson.h>
#include <pcre2.h>

/* A token that is cut out of the raw text before anything else happens to it. */
typedef struct added_token {
    const char *text;
    size_t length;
    int32_t id;
    bool single_word; /* only where a space or the text's end is around it */
} added_token;

struct tokenizer {
    vocabulary words;
    added_token *added;
    size_t added_count, added_capacity;
    bool added_starts[256]; /* first bytes of added tokens */
    pcre2_code *pattern;
    int32_t start, end, pad, unknown;
    int64_t max_length;
};

#define TOKENIZER_START "<|startoftext|>"
#define TOKENIZER_END "<|endoftext|>"

enum {
    TOKENIZER_DEFAULT_LENGTH = 77,
    /* How many merges CLIP's tokenizers read: 49,152 words less 256 bytes and 2 special tokens. */
    TOKENIZER_MERGES = 49152 - 256 - 2
};

/* A tokenizer with an empty vocabulary and a compiled pattern. */
kiln_status tokenizer_begin(tokenizer **out, kiln_error *err);
/* Add a token to be cut out, or change the one of the same text. The text is copied. */
kiln_status tokenizer_add_token(tokenizer *, const added_token *, kiln_error *err);
/* NULL when the text is not an added token. */
const added_token *tokenizer_find_added(const tokenizer *, const char *text, size_t length);

/* tokenizer_special.c: the small JSON files, in transformers' order of precedence, and tokenizer.json's list
 * of added tokens (a jansson array, or NULL). The vocabulary is complete when it is called. */

kiln_status tokenizer_read_special(tokenizer *, const tokenizer_files *, const json_t *added_list,
                                   kiln_error *err);
/* Parse a JSON object; `file` is the name to put into a message. */
kiln_status tokenizer_parse_json(const char *folder, const char *file, tokenizer_text, json_t **out,
                                 kiln_error *err);

#endif
