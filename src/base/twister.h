/* twister.h - the Mersenne Twister (MT19937, Matsumoto and Nishimura 1998), with its two ways to be seeded: torch takes the
 * first, Python the second. */
#ifndef KILN_BASE_TWISTER_H
#define KILN_BASE_TWISTER_H

#include <stdint.h>

enum { TWISTER_WORDS = 624 };

/* Plain data: a copy goes on independently. Fields are twister.c's. */
typedef struct twister {
    uint32_t words[TWISTER_WORDS];
    int used; /* how many of them are spent */
} twister;

void twister_seed(twister *, uint32_t seed);
/* By the words of a number of any length, the lowest first; at least one. */
void twister_seed_long(twister *, const uint32_t *key, int count);
/* 32 bits. */
uint32_t twister_next(twister *);

#endif
