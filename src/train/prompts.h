/* prompts.h - what samples are drawn of: lines in the way of kohya's scripts.
 *
 *     a lighthouse at dusk --n people --w 512 --h 768 --d 42 --l 7.5 --s 28
 *
 * n: negative prompt, w and h: size, d: seed, l: guidance, s: steps. Empty lines and lines that begin with # are left out. */
#ifndef KILN_TRAIN_PROMPTS_H
#define KILN_TRAIN_PROMPTS_H

#include "base/arena.h"
#include "base/error.h"

typedef struct prompt_line {
    const char *text, *negative; /* negative NULL: none */
    int width, height, steps;    /* 0: as the recipe has it */
    double cfg;                  /* 0: as the recipe has it */
    int64_t seed;                /* -1: as the recipe has it */
} prompt_line;

enum { PROMPT_LINES = 256 };

typedef struct prompt_list {
    arena memory;
    prompt_line line[PROMPT_LINES];
    int count;
} prompt_list;

/* `prompts` is the path of a file, or prompts separated by '|'. Starts as {0}; prompt_list_fini afterwards. */
kiln_status prompt_list_read(prompt_list *, const char *prompts, kiln_error *err);
void prompt_list_fini(prompt_list *);

#endif
