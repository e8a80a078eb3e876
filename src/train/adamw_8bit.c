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
#include "backend/cpu/clones.h"
#include "train/optimizer_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DECADES = 7, CODES = 256, CELL_BITS = 16, LEAST_EXPONENT = 127 - 24, CELLS = 25 * 128 };

/* Magnitudes of one sign in order, the codes they have, and for each cell of floats (exponent and 7 bits of
 * mantissa) the nearest magnitude to its lower end. */
typedef struct side {
    float magnitude[CODES + 1], limit[CODES + 1]; /* limit[i]: above it, i+1 is nearer */
    uint8_t code[CODES + 1], cell[CELLS];
    int count;
} side;

typedef struct quant_map {
    float value[CODES];
    side positive, negative;
} quant_map;

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void make_values(bool with_sign, float value[CODES])
{
    int count = 0;
    for (int i = 0; i < DECADES; i++) {
        int parts = 1 << (with_sign ? i : i + 1);
        double unit = pow(10, i - (DECADES - 1));
        for (int j = 0; j < parts; j++) {
            double middle = 0.1 + 0.9 * (j + 0.5) / parts;
            value[count++] = (float)(unit * middle);
            if (with_sign)
                value[count++] = (float)(-unit * middle);
        }
    }
    value[count++] = 0;
    value[count++] = 1;
    qsort(value, CODES, sizeof *value, compare_floats);
}

static void make_side(const float value[CODES], int sign, side *s)
{
    s->count = 0;
    for (int i = 0; i < CODES; i++) {
        int code = sign > 0 ? i : CODES - 1 - i;
        if ((float)sign * value[code] < 0)
            continue;
        s->magnitude[s->count] = fabsf(value[code]);
        s->code[s->count++] = (uint8_t)code;
    }
    for (int i = 0; i < s->count; i++)
        s->limit[i] = i + 1 < s->count ? (s->magnitude[i] + s->magnitude[i + 1]) / 2 : INFINITY;
    for (int c = 0, nearest = 0; c < CELLS; c++) {
        uint32_t bits = ((uint32_t)LEAST_EXPONENT << 23) + ((uint32_t)c << CELL_BITS);
        float low;
        memcpy(&low, &bits, sizeof low);
        while (low > s->limit[nearest])
            nearest++;
        s->cell[c] = (uint8_t)nearest;
    }
}

static void make_map(bool with_sign, quant_map *map)
{
    make_values(with_sign, map->value);
    make_side(map->value, 1, &map->positive);
    make_side(map->value, -1, &map->negative);
}

static inline uint8_t encode(const side *s, float magnitude)
{
    uint32_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    if (bits < (uint32_t)LEAST_EXPONENT << 23)
        return s->code[0];
    uint32_t cell = (bits - ((uint32_t)LEAST_EXPONENT << 23)) >> CELL_BITS;
    int nearest = s->cell[cell < CELLS ? cell : CELLS - 1];
    nearest += magnitude > s->limit[nearest]; /* a cell holds at most one limit */
    return s->code[nearest];
}

static float largest(const float *x, int64_t n)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

static void encode_signed(const quant_map *map, const float *x, int64_t n, uint8_t *codes, float *scale)
{
    float most = largest(x, n), part = most > 0 ? 1 / most : 0;
    part = isfinite(part) ? part : 0;
    *scale = most;
    for (int64_t i = 0; i < n; i++)
        codes[i] = encode(x[i] < 0 ? &map->negative : &map->positive, fabsf(x[i]) * part);
}

static void encode_squares(const quant_map *map, const float *x, int64_t n, uint8_t *codes, float *scale)
{
    float most = largest(x, n), part = most > 0 ? 1 / most : 0;
    part = isfinite(part) ? part : 0;
    *scale = most;
    uint8_t zero = map->positive.code[0], least = map->positive.code[1];
    for (int64_t i = 0; i < n; i++) {
        uint8_t code = encode(&map->positive, x[i] * part);
        codes[i] = code == zero && x[i] > 0 ? least : code;
    }
}

typedef struct adamw_8bit {
    slot *s;
    const float *g;
    const quant_map *first, *second;
    float scale, keep, beta1, rest1, beta2, rest2, root_correction, epsilon, rate;
} adamw_8bit;

CLONES static void update(const adamw_8bit *a, float *restrict p, const float *restrict gradient,
                          float *restrict m, float *restrict v, int64_t n)
{
    const adamw_8bit c = *a;
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] * c.scale;
        m[i] = m[i] * c.beta1 + c.rest1 * g;
        v[i] = v[i] * c.beta2 + c.rest2 * g * g;
        p[i] = p[i] * c.keep - c.rate * (m[i] / (sqrtf(v[i]) / c.root_correction + c.epsilon));
    }
}

static void work(void *self, int64_t begin, int64_t end)
{
    const adamw_8bit *a = self;
    float m[QUANT_BLOCK], v[QUANT_BLOCK];
    int64_t n = end - begin, block = begin / QUANT_BLOCK;
    uint8_t *first = a->s->codes[0] + begin, *second = a->s->codes[1] + begin;
    float *scale1 = a->s->state[0] + block, *scale2 = a->s->state[1] + block;
    for (int64_t i = 0; i < n; i++) {
        m[i] = a->first->value[first[i]] * *scale1;
        v[i] = a->second->value[second[i]] * *scale2;
    }
    update(a, a->s->values + begin, a->g + begin, m, v, n);
    encode_signed(a->first, m, n, first, scale1);
    encode_squares(a->second, v, n, second, scale2);
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
