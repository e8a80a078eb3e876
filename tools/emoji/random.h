/* random.h - a small generator whose numbers are the same everywhere: splitmix64 (Steele, Lea, Flood 2014). Every scene
 * has one of its own, seeded by the set's seed and the scene's number, so that any of them can be made alone. */
#ifndef EMOJI_RANDOM_H
#define EMOJI_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct random_source {
    uint64_t state;
} random_source;

static inline uint64_t random_bits(random_source *r)
{
    uint64_t z = (r->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline random_source random_start(uint64_t seed, uint64_t number)
{
    random_source r = {seed};
    r.state = random_bits(&r) ^ (number * UINT64_C(0xD1342543DE82EF95));
    random_bits(&r);
    return r;
}

/* 0 .. n - 1. */
static inline int random_below(random_source *r, int n)
{
    return (int)((random_bits(r) >> 32) * (uint64_t)n >> 32);
}

/* 0 <= x < 1. */
static inline double random_unit(random_source *r)
{
    return (double)(random_bits(r) >> 11) * 0x1p-53;
}

static inline bool random_chance(random_source *r, double p)
{
    return random_unit(r) < p;
}

/* FNV-1a, for rules that must not depend on the order of anything. */
static inline uint64_t random_hash_text(uint64_t hash, const char *text)
{
    if (!hash)
        hash = UINT64_C(0xCBF29CE484222325);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001B3);
    return hash;
}

#endif
