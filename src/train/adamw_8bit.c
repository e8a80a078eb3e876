/* adamw_8bit.c - AdamW whose moments lie in memory as 8 bits each (Dettmers et al. 2022).
 *
 * Blocks of 256 numbers share a scale, the largest of them; each is then in -1..1 and becomes the nearest
 * entry of a table, "dynamic" because its entries are dense near 0 on a logarithmic scale: seven decades
 * 10^-6..1, the i-th cut linearly from 0.1 to 1 into 2^i parts (signed: for either sign; unsigned: 2^(i+1)
 * parts), whose middles are the entries; with 0 and 1 that makes 256. The step itself runs in f32 on the
 * decoded block.
 *
 * Easy to get wrong: a second moment that rounds to 0 while the first does not would make an enormous step;
 * so it takes the smallest entry above 0 instead. */
#include "base/clones.h"
#include "train/optimizer_parts.h"

#include <math.h>
#include <string.h>

enum { DECADES = 7, CODES = 256, LEVELS = DECADES + 1, SIGNED_ZERO = 127 };

/* The table in order of magnitude: entry 0 is 0, then come the decades, then 1. The nearest entry of a
 * magnitude above above[k] (and not above above[k+1]) is number first[k] + (magnitude - low[k]) * inverse[k],
 * cut to a whole number and to first[k]..last[k]. */
typedef struct quant_levels {
    float above[LEVELS], low[LEVELS], inverse[LEVELS], first[LEVELS], last[LEVELS];
} quant_levels;

typedef struct quant_map {
    float value[CODES];
    quant_levels levels;
} quant_map;

static void make_map(bool with_sign, quant_map *map)
{
    double before = 0; /* the entry below the decade */
    int number = 1, zero = with_sign ? SIGNED_ZERO : 0;
    quant_levels *levels = &map->levels;
    memset(map, 0, sizeof *map);
    for (int k = 0; k < DECADES; k++) {
        int parts = with_sign ? 1 << k : 2 << k;
        double unit = pow(10, k - (DECADES - 1)), width = 0.9 * unit / parts;
        levels->above[k] = (float)((before + 0.1 * unit + width / 2) / 2);
        levels->low[k] = (float)(0.1 * unit);
        levels->inverse[k] = (float)(1 / width);
        levels->first[k] = (float)number;
        levels->last[k] = (float)(number + parts - 1);
        for (int j = 0; j < parts; j++, number++) {
            before = 0.1 * unit + width * (j + 0.5);
            map->value[zero + number] = (float)before;
            if (with_sign)
                map->value[zero - number] = (float)-before;
        }
    }
    levels->above[DECADES] = (float)((before + 1) / 2);
    levels->low[DECADES] = 1;
    levels->first[DECADES] = levels->last[DECADES] = (float)number;
    map->value[zero + number] = 1;
}

/* Number of the nearest entry, as a float. The levels are taken one after the other without branches, so that
 * a loop of this runs in vector registers. */
INLINE float nearest(const quant_levels *levels, float magnitude)
{
    float low = 0, inverse = 0, first = 0, last = 0;
    for (int k = 0; k < LEVELS; k++) {
        float low_k = levels->low[k], inverse_k = levels->inverse[k];
        float first_k = levels->first[k], last_k = levels->last[k];
        bool in = magnitude > levels->above[k];
        low = in ? low_k : low;
        inverse = in ? inverse_k : inverse;
        first = in ? first_k : first;
        last = in ? last_k : last;
    }
    float number = first + (magnitude - low) * inverse;
    number = number < first ? first : number;
    return number > last ? last : number;
}

/* By the bits of the magnitude, which have the order of the numbers; NaN is the largest, and shows. */
INLINE float largest(const float *x, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    float value;
    memcpy(&value, &most, sizeof value);
    return value;
}

/* 1 / most, or 0 where that is too large. */
INLINE float part_of(float most)
{
    return most > 1e-38f ? 1 / most : 0;
}

INLINE void encode_signed(const quant_map *map, const float *restrict x, int64_t n, uint8_t *restrict codes,
                          float *scale)
{
    const quant_levels levels = map->levels; /* a copy that no store can reach */
    float most = largest(x, n), part = part_of(most), numbers[QUANT_BLOCK];
    *scale = most;
    for (int64_t i = 0; i < n; i++) {
        float number = (float)(int)nearest(&levels, fabsf(x[i]) * part);
        float below = number > SIGNED_ZERO ? (float)SIGNED_ZERO : number; /* there is no -1 */
        float minus = SIGNED_ZERO - below, plus = SIGNED_ZERO + number;
        numbers[i] = x[i] < 0 ? minus : plus;
    }
    for (int64_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(int)numbers[i];
}

INLINE void encode_squares(const quant_map *map, const float *restrict x, int64_t n, uint8_t *restrict codes,
                           float *scale)
{
    const quant_levels levels = map->levels;
    float most = largest(x, n), part = part_of(most), numbers[QUANT_BLOCK];
    *scale = most;
    for (int64_t i = 0; i < n; i++) {
        float number = nearest(&levels, x[i] * part), least = x[i] > 0 ? 1.0f : 0.0f;
        numbers[i] = number < least ? least : number;
    }
    for (int64_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(int)numbers[i];
}

typedef struct adamw_8bit {
    slot *s;
    const float *g;
    const quant_map *first, *second;
    float scale, keep, beta1, rest1, beta2, rest2, root_correction, epsilon, rate;
} adamw_8bit;

CLONES static void update(const adamw_8bit *a, int64_t begin, int64_t n)
{
    const adamw_8bit c = *a;
    float m[QUANT_BLOCK], v[QUANT_BLOCK];
    float *restrict p = a->s->values + begin;
    const float *restrict gradient = a->g + begin;
    uint8_t *restrict first = a->s->codes[0] + begin, *restrict second = a->s->codes[1] + begin;
    float *scale1 = a->s->state[0] + begin / QUANT_BLOCK, *scale2 = a->s->state[1] + begin / QUANT_BLOCK;
    float most1 = *scale1, most2 = *scale2;
    for (int64_t i = 0; i < n; i++) {
        m[i] = c.first->value[first[i]] * most1;
        v[i] = c.second->value[second[i]] * most2;
    }
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] * c.scale;
        m[i] = m[i] * c.beta1 + c.rest1 * g;
        v[i] = v[i] * c.beta2 + c.rest2 * g * g;
        p[i] = p[i] * c.keep - c.rate * (m[i] / (sqrtf(v[i]) / c.root_correction + c.epsilon));
    }
    encode_signed(c.first, m, n, first, scale1);
    encode_squares(c.second, v, n, second, scale2);
}

static void work(void *self, int64_t begin, int64_t end)
{
    update(self, begin, end - begin);
}

void adamw_8bit_step(const optimizer *o, slot *s, const float *gradient, float scale, double rate)
{
    if (!s->codes[0]) {
        adamw_step(o, s, gradient, scale, rate);
        return;
    }
    quant_map first, second;
    make_map(true, &first);
    make_map(false, &second);
    const optimizer_options *options = &o->options;
    double t = (double)*s->steps;
    adamw_8bit a = {.s = s,
                    .g = gradient,
                    .first = &first,
                    .second = &second,
                    .scale = scale,
                    .keep = (float)(1 - (s->decay ? rate * options->weight_decay : 0)),
                    .beta1 = (float)options->beta1,
                    .rest1 = (float)(1 - options->beta1),
                    .beta2 = (float)options->beta2,
                    .rest2 = (float)(1 - options->beta2),
                    .root_correction = (float)sqrt(1 - pow(options->beta2, t)),
                    .epsilon = (float)options->epsilon,
                    .rate = (float)(rate / (1 - pow(options->beta1, t)))};
    in_blocks(s->count, QUANT_BLOCK, &a, work);
}
