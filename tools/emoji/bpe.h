/* bpe.h - training of a byte-level byte-pair encoding as CLIP has it.
 *
 * Sennrich et al. 2016: words begin as their bytes, the last one marked as an end ("</w>"); the pair that occurs most
 * often becomes a symbol, again and again. Ties go to the pair whose strings come first, so that the same text always
 * gives the same vocabulary. Cleaning and cutting into words are src/text's, so that what is trained is what is used. */
#ifndef EMOJI_BPE_H
#define EMOJI_BPE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bpe bpe;

kiln_status bpe_new(bpe **out, kiln_error *err);
void bpe_free(bpe *);

/* Count the words of a caption (UTF-8). */
kiln_status bpe_add(bpe *, const char *caption, kiln_error *err);

/* Learn merges until the vocabulary, with its 512 byte symbols and two special tokens, has `entries` entries, or no
 * pair occurs twice. */
kiln_status bpe_train(bpe *, int entries, kiln_error *err);

/* The number of different words, of merges learnt, and of entries of the vocabulary. */
size_t bpe_word_count(const bpe *);
size_t bpe_merge_count(const bpe *);
size_t bpe_vocabulary(const bpe *);

/* The files of CLIP's tokenizer, each the caller's (free); NULL when memory is short. */
char *bpe_vocabulary_json(const bpe *);
char *bpe_merges_text(const bpe *);
/* Write vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json into a folder. */
kiln_status bpe_write(const bpe *, const char *folder, int max_length, kiln_error *err);

#endif
