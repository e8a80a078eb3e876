/* mix.h - random bits that are a pure function of what they are for: (seed, purpose, epoch, sample, ...).
 *
 * The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the words in turn: no state, any place can be
 * asked for alone. */
#ifndef KILN_TRAIN_MIX_H
#define KILN_TRAIN_MIX_H

#include <stddef.h>
#include <stdint.h>

/* Purposes: the same seed gives independent numbers to each. */
enum mix_purpose {
    MIX_ORDER_BATCHES = 1,
    MIX_ORDER_SAMPLES,
    MIX_FLIP,
    MIX_CROP,
    MIX_CAPTION,
    MIX_NOISE,
    MIX_VALIDATION_SPLIT,
    MIX_VALIDATION_NOISE,
    MIX_ORDER_CLASS,
    MIX_DROPOUT = 40,
    MIX_OBJECTIVE = 100 /* and above: the trainer's */
};

static inline uint64_t mix_word(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
/* Bits for (seed, a, b, c). */
static inline uint64_t mix(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    return mix_word(mix_word(mix_word(mix_word(seed) ^ a) ^ b) ^ c);
}
/* 0 <= x < 1. */
static inline double mix_unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1.0p-53;
}
/* 0 <= x < n; n > 0 and below 2^32. */
static inline uint32_t mix_below(uint64_t bits, uint32_t n)
{
    return (uint32_t)(((bits >> 32) * n) >> 32);
}

#endif
