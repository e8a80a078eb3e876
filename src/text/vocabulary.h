/* vocabulary.h - the words of a byte-pair encoding: strings, their ids, and which pairs merge in what order.
 *
 * Every string that a merge can meet is a symbol: a small number, so that merging compares and looks up
 * numbers and never text. A symbol may or may not have an id (an entry of the model's embedding table).
 * Strings are in the byte alphabet of GPT-2 and CLIP: each byte of the text is written as one printable
 * character (bytes 33..126, 161..172 and 174..255 as themselves, the other 68 as U+0100 and up), and the
 * last character of a word carries the suffix "</w>".
 *
 * Filled once while a tokenizer opens, only read afterwards. */
#ifndef KILN_TEXT_VOCABULARY_H
#define KILN_TEXT_VOCABULARY_H

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VOCABULARY_NONE UINT32_MAX
#define VOCABULARY_WORD_END "</w>"

enum {
    VOCABULARY_MAX_ID = 1 << 22,     /* ids are below this: bounds the table of ids */
    VOCABULARY_MAX_SYMBOLS = 1 << 24 /* bounds what a hostile file can ask for */
};

typedef struct vocabulary_symbol {
    const char *text; /* NUL-terminated UTF-8 */
    uint32_t length;
    int32_t id;  /* -1: not in the vocabulary */
    bool merged; /* a merge makes it */
} vocabulary_symbol;

typedef struct vocabulary_merge {
    uint32_t left, right; /* left is VOCABULARY_NONE in an empty slot */
    uint32_t rank, merged;
} vocabulary_merge;

typedef struct vocabulary {
    arena texts;
    vocabulary_symbol *symbols;
    uint32_t symbol_count, symbol_capacity;
    uint32_t *slots; /* open addressing over symbols */
    uint32_t slot_count;
    vocabulary_merge *merges; /* open addressing over (left, right) */
    uint32_t merge_count, merge_slots;
    uint32_t *symbol_of_id; /* VOCABULARY_NONE: no such id */
    uint32_t id_limit;      /* the largest id + 1 */
    uint32_t id_count;      /* how many strings have an id */
    uint32_t byte_symbol[256], byte_end_symbol[256];
} vocabulary;

/* An empty vocabulary that knows the 512 byte symbols (without ids). On failure it is empty and needs no
 * vocabulary_fini. */
kiln_status vocabulary_init(vocabulary *, kiln_error *err);
void vocabulary_fini(vocabulary *);

/* Give the string an id (replacing the one it had). */
kiln_status vocabulary_add(vocabulary *, const char *text, size_t length, int32_t id, kiln_error *err);
/* The pair (left, right) merges at `rank`, lower first; a later line about the same pair replaces it. */
kiln_status vocabulary_add_merge(vocabulary *, const char *left, size_t left_length, const char *right,
                                 size_t right_length, uint32_t rank, kiln_error *err);
/* Build the table from ids to strings; called once, after the last vocabulary_add. */
kiln_status vocabulary_finish(vocabulary *, kiln_error *err);

/* VOCABULARY_NONE when the string is unknown. */
uint32_t vocabulary_find(const vocabulary *, const char *text, size_t length);
/* How many words no encoding can give: longer than a byte, and no merge makes them. */
uint32_t vocabulary_unmade(const vocabulary *);
/* -1 when the string has no id. */
int32_t vocabulary_id(const vocabulary *, const char *text, size_t length);
/* NULL when the pair does not merge. */
const vocabulary_merge *vocabulary_pair(const vocabulary *, uint32_t left, uint32_t right);
/* NULL when no string has this id. */
const vocabulary_symbol *vocabulary_of_id(const vocabulary *, int32_t id);

/* The code point that stands for a byte, and back (-1 when the code point stands for none). */
uint32_t vocabulary_letter_of_byte(unsigned byte);
int vocabulary_byte_of_letter(uint32_t letter);

#endif
