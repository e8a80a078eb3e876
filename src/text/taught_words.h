/* taught_words.h - words of a prompt that stand for vectors of their own (textual inversion).
 *
 * As AUTOMATIC1111's web UI finds them: a word's name is cut into tokens like any text, and wherever a prompt has that run of
 * tokens it is the word; of several that fit the longest counts. So names may have spaces and signs, and case does not
 * matter. A name like "<my-toy>" is found in the text itself, since the signs at its ends would merge with others next to
 * them ("<my-toy>,"). */
#ifndef KILN_TEXT_TAUGHT_WORDS_H
#define KILN_TEXT_TAUGHT_WORDS_H

#include "text/tokenizer.h"

typedef struct taught_run {
    int32_t *ids;
    size_t count;
    int word, vectors;
    char *mark; /* "<my-toy>": the name, where it is one of this kind; else NULL */
} taught_run;

/* Never changes once complete. Starts as {0}. */
typedef struct taught_words {
    taught_run *runs; /* the longest first */
    int count;
} taught_words;

/* Add a name of word number `word` with so many vectors (1 .. 75). *clash is the number of another word that has that very
 * run already, which stays, or -1. A name without tokens, or of a word that has it already, is not added. */
kiln_status taught_words_add(taught_words *, const tokenizer *, const char *name, int word, int vectors,
                             int *clash, kiln_error *err);
void taught_words_free(taught_words *);

/* The first name of the kind "<my-toy>" in a text, the longest there; *begin is where. NULL: none. */
const taught_run *taught_words_find_mark(const taught_words *words, const char *text, size_t length,
                                         size_t *begin);

/* The word that `ids` begin with; NULL: none. `words` may be NULL. */
const taught_run *taught_words_find(const taught_words *words, const int32_t *ids, size_t count);

#endif
