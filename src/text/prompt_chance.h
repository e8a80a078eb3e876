/* prompt_chance.h - the choices that a prompt leaves to chance: the same for the same seed, on every machine.
 *
 * They are Python's (random.Random(seed): choice, randint, random), so that one wildcard of a seed becomes the line that
 * AUTOMATIC1111's script takes. They have nothing to do with the noise of the picture that has the seed too. */
#ifndef KILN_TEXT_PROMPT_CHANCE_H
#define KILN_TEXT_PROMPT_CHANCE_H

#include "base/twister.h"

typedef struct prompt_chance {
    twister stream;
} prompt_chance;

void prompt_chance_init(prompt_chance *, uint64_t seed);
/* 0 .. count - 1, each as likely; count at least 1. */
uint32_t prompt_chance_below(prompt_chance *, uint32_t count);
/* [0, 1) in steps of 2^-53. */
double prompt_chance_share(prompt_chance *);

#endif
