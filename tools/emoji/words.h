/* words.h - English for captions: articles, plurals, numbers, and emoji's short names as phrases.
 *
 * CLDR's short names are labels ("flag: France", "person: red hair", "three o'clock"). A phrase is what one would say
 * of the picture ("the flag of France", "a person with red hair", "a clock showing three o'clock"). */
#ifndef EMOJI_WORDS_H
#define EMOJI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { PHRASE_SIZE = 96 };

typedef enum phrase_article {
    ARTICLE_A,   /* "a", "an" */
    ARTICLE_THE, /* one of its kind: "the Statue of Liberty" */
    ARTICLE_NONE /* "grapes", "bread", "rolling on the floor laughing" */
} phrase_article;

typedef struct phrase {
    char noun[PHRASE_SIZE];   /* without an article */
    char plural[PHRASE_SIZE]; /* "" when it cannot be counted */
    char plain[PHRASE_SIZE];  /* the noun without its colour ("apple" of "red apple"); "" when it has none */
    char alias[PHRASE_SIZE];  /* another usual name ("car" of "automobile"); "" when there is none */
    phrase_article article;
    bool
        object; /* a thing or a creature that can stand in a scene with others; false for signs, flags, clocks */
} phrase;

/* The phrase of a short name. */
void words_phrase(const char *name, phrase *out);

/* "a" or "an" before `noun`. */
const char *words_article(const char *noun);
/* The plural of a phrase's head noun ("glass of milk" gives "glasses of milk"). */
void words_plural(const char *noun, char *out, size_t size);
/* "two" .. "ten". */
const char *words_number(int n);

#endif
