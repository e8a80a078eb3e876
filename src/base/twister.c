/* twister.c - see twister.h. */
#include "base/twister.h"

void twister_seed(twister *t, uint32_t seed)
{
    t->words[0] = seed;
    for (uint32_t i = 1; i < TWISTER_WORDS; i++)
        t->words[i] = 1812433253u * (t->words[i - 1] ^ (t->words[i - 1] >> 30)) + i;
    t->used = TWISTER_WORDS;
}

/* Word `at` takes up its neighbour, scrambled by `factor`. Gives the next word's place; the last one stands for the first. */
static int stir(uint32_t *words, int at, uint32_t factor, uint32_t more)
{
    words[at] = (words[at] ^ ((words[at - 1] ^ (words[at - 1] >> 30)) * factor)) + more;
    if (++at < TWISTER_WORDS)
        return at;
    words[0] = words[TWISTER_WORDS - 1];
    return 1;
}

void twister_seed_long(twister *t, const uint32_t *key, int count)
{
    int at = 1;
    twister_seed(t, 19650218u);
    for (int i = 0, k = 0; i < (count > TWISTER_WORDS ? count : TWISTER_WORDS); i++, k = (k + 1) % count)
        at = stir(t->words, at, 1664525u, key[k] + (uint32_t)k);
    for (int i = 0; i < TWISTER_WORDS - 1; i++)
        at = stir(t->words, at, 1566083941u, 0u - (uint32_t)at);
    t->words[0] = 0x80000000u;
}

static void refill(twister *t)
{
    enum { MIDDLE = 397 };
    uint32_t *w = t->words;
    for (int i = 0; i < TWISTER_WORDS; i++) {
        uint32_t y = (w[i] & 0x80000000u) | (w[(i + 1) % TWISTER_WORDS] & 0x7FFFFFFFu);
        w[i] = w[(i + MIDDLE) % TWISTER_WORDS] ^ (y >> 1) ^ ((y & 1) ? 0x9908B0DFu : 0);
    }
    t->used = 0;
}

uint32_t twister_next(twister *t)
{
    if (t->used == TWISTER_WORDS)
        refill(t);
    uint32_t y = t->words[t->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}
