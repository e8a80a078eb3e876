/* bpe_parts.h - what a vocabulary in training is made of. Only bpe*.c use it. */
#ifndef EMOJI_BPE_PARTS_H
#define EMOJI_BPE_PARTS_H

#include "emoji/bpe.h"

#include <stdbool.h>

enum { BPE_LETTERS = 512, BPE_SPECIAL = 2 };

typedef struct bpe_word {
    char *text;
    size_t length;
    uint32_t *symbols;
    size_t symbol_count;
    uint64_t count;
} bpe_word;

typedef struct bpe_pair {
    uint32_t left, right;
    bool used;
    int64_t count;
} bpe_pair;

typedef struct bpe_merge {
    uint32_t left, right;
} bpe_merge;

struct bpe {
    void *pattern; /* pcre2_code */
    bpe_word *words;
    uint32_t *slots; /* open addressing over words */
    size_t word_count, slot_count;
    char **symbols; /* in the byte alphabet: 256 bytes, 256 bytes that end a word, then what merges made */
    bpe_merge *merges;
    size_t symbol_count, symbol_capacity, merge_count;
    bpe_pair *pairs;
    size_t pair_count, pair_slots;
};

#endif
