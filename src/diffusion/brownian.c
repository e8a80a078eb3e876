/* brownian.c - see brownian.h. */
#include "diffusion/brownian.h"

#include "base/clones.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The frame in octaves of sigma: below and above it W is one bridge from 0, and one free increment. */
enum { LOW_OCTAVE = -10, HIGH_OCTAVE = 14, DEPTH = 13, WAY_STEPS = DEPTH + 4, WORDS = 4 };

/* Counters of the numbers that are no node's of the tree (those are numbered from 1, root first). */
enum { AT_LOW = 1 << 24, AT_HIGH, OF_BITS };

struct brownian {
    uint64_t seed;
    size_t n;
    float *at, *next; /* [n] W at `level`, and room for the other end */
    float level;
    bool known;
    float *rows; /* [WAY_STEPS][stride] the numbers of the last way's nodes; owns `at` and `next` too */
    size_t stride;
    uint32_t kept[WAY_STEPS], kept_bits[WAY_STEPS];
};

/* Sixteen counters at a time, side by side, so that the compiler can use the processor's vectors. */
enum { LANES = 16, BLOCK = WORDS * LANES };

typedef struct words {
    uint32_t w[WORDS][LANES];
} words;

/* Half of the lanes, every word in 64 bits as its products are. Said outright: left to itself, GCC unrolls the loop over
 * the lanes and finds no vectors in it. */
typedef uint64_t half __attribute__((vector_size(8 * LANES / 2)));

typedef struct half_words {
    half w0, w1, w2, w3;
} half_words;

/* Philox4x32-10: ten rounds of two multiplications. */
INLINE half_words philox_half(half_words x, uint64_t key)
{
    uint64_t k0 = (uint32_t)key, k1 = key >> 32;
    for (int round = 0; round < 10; round++) {
        half a = x.w0 * 0xD2511F53u, b = x.w2 * 0xCD9E8D57u;
        x.w0 = (b >> 32) ^ x.w1 ^ k0;
        x.w1 = b & 0xFFFFFFFFu;
        x.w2 = (a >> 32) ^ x.w3 ^ k1;
        x.w3 = a & 0xFFFFFFFFu;
        k0 = (uint32_t)(k0 + 0x9E3779B9u);
        k1 = (uint32_t)(k1 + 0xBB67AE85u);
    }
    return x;
}

INLINE void philox(uint32_t c0, uint32_t c1, uint32_t c2, uint64_t key, words *out)
{
    const half none = {0}, numbers = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int part = 0; part < LANES; part += LANES / 2) {
        half third = (numbers + ((uint64_t)c2 + (uint64_t)part)) & 0xFFFFFFFFu;
        half_words x = philox_half((half_words){none + c0, none + c1, third, none + 0x4B494C4Eu}, key);
        for (int i = 0; i < LANES / 2; i++) {
            out->w[0][part + i] = (uint32_t)x.w0[i];
            out->w[1][part + i] = (uint32_t)x.w1[i];
            out->w[2][part + i] = (uint32_t)x.w2[i];
            out->w[3][part + i] = (uint32_t)x.w3[i];
        }
    }
}

/* The logarithm of a number in (0, 1], by the series of the inverse hyperbolic tangent of its mantissa. The functions of
 * the C library differ from one to the next in their last bits, and these do not. */
INLINE float log_of(float u)
{
    union {
        float f;
        uint32_t bits;
    } m = {.f = u * 1.41421356f};
    float exponent = (float)((int32_t)(m.bits >> 23) - 127);
    m.bits = (m.bits & 0x7FFFFFu) | 0x3F800000u;
    float mantissa = m.f * 0.70710678f, t = (mantissa - 1) / (mantissa + 1), q = t * t;
    float series = 2 + q * (2.0f / 3 + q * (2.0f / 5 + q * (2.0f / 7 + q * (2.0f / 9))));
    return exponent * 0.69314718f + t * series;
}

/* sin(2 pi t) for |t| <= 1: less whole turns, folded to a quarter, then Taylor's series. */
INLINE float sine_of_turn(float t)
{
    const float whole = 12582912; /* 1.5 2^23: adding it rounds to whole numbers */
    t = t - ((t + whole) - whole);
    float y = copysignf(0.25f - fabsf(fabsf(t) - 0.25f), t) * 6.28318531f, q = y * y;
    float series = 1.0f / 362880 - q * (1.0f / 39916800);
    return y * (1 + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040 + q * series))));
}

/* Box and Muller's normal numbers: element 4 c + k of the block is number k of counter c. */
INLINE void make_normals(const words *x, float z[BLOCK])
{
    for (int pair = 0; pair < WORDS; pair += 2) {
        float first[LANES], second[LANES];
        for (int i = 0; i < LANES; i++) {
            float u = ((float)(int32_t)(x->w[pair][i] >> 9) + 0.5f) * 0x1p-23f;
            float turn = (float)(int32_t)(x->w[pair + 1][i] >> 8) * 0x1p-24f;
            float radius = sqrtf(-2 * log_of(u));
            first[i] = radius * sine_of_turn(turn - 0.75f);
            second[i] = radius * sine_of_turn(turn);
        }
        for (int i = 0; i < LANES; i++) {
            z[WORDS * i + pair] = first[i];
            z[WORDS * i + pair + 1] = second[i];
        }
    }
}

/* One normal number of the tree per step of the way down, with its weight. */
typedef struct way {
    uint32_t node[WAY_STEPS], bits[WAY_STEPS];
    float weight[WAY_STEPS];
    int count;
} way;

static void add(way *to, uint32_t node, uint32_t bits, double weight)
{
    to->node[to->count] = node;
    to->bits[to->count] = bits;
    to->weight[to->count++] = (float)weight;
}

static uint32_t bits_of(float level)
{
    uint32_t bits;
    memcpy(&bits, &level, sizeof bits);
    return bits;
}

/* W(sigma) as a weighted sum of the tree's numbers. Weights of a level are those of the interval's two ends carried
 * down: at each split W(middle) = mean of the ends by their distance + spread of the bridge times a new number. */
typedef struct end {
    double sigma;
    double weight[WAY_STEPS];
} end;

static end between(const end *a, const end *b, double sigma, int used, double *spread)
{
    end m = {.sigma = sigma};
    double of_b = (sigma - a->sigma) / (b->sigma - a->sigma);
    for (int k = 0; k < used; k++)
        m.weight[k] = (1 - of_b) * a->weight[k] + of_b * b->weight[k];
    *spread = sqrt((sigma - a->sigma) * (b->sigma - sigma) / (b->sigma - a->sigma));
    m.weight[used] = *spread;
    return m;
}

static void find_way(way *to, float level)
{
    double sigma = (double)level, low = ldexp(1, LOW_OCTAVE), high = ldexp(1, HIGH_OCTAVE), spread;
    end a = {.sigma = low}, b = {.sigma = high}, m;
    to->count = 0;
    a.weight[0] = b.weight[0] = sqrt(low);
    b.weight[1] = sqrt(high - low);
    add(to, AT_LOW, 0, 0);
    if (sigma <= low) { /* a bridge from W(0) = 0 */
        end zero = {.sigma = 0};
        m = between(&zero, &a, sigma, 1, &spread);
        add(to, OF_BITS, bits_of(level), 0);
    } else if (sigma >= high) {
        add(to, AT_HIGH, 0, 0);
        add(to, OF_BITS, bits_of(level), 0);
        m = b;
        m.weight[2] = sqrt(sigma - high);
    } else {
        uint32_t node = 1;
        double from = LOW_OCTAVE, until = HIGH_OCTAVE, octave = log2(sigma);
        add(to, AT_HIGH, 0, 0);
        for (int depth = 0; depth < DEPTH; depth++) {
            double middle = (from + until) / 2;
            m = between(&a, &b, exp2(middle), to->count, &spread);
            add(to, node, 0, 0);
            bool upper = octave >= middle;
            *(upper ? &a : &b) = m;
            *(upper ? &from : &until) = middle;
            node = 2 * node + upper;
        }
        m = between(&a, &b, sigma > a.sigma ? sigma < b.sigma ? sigma : b.sigma : a.sigma, to->count,
                    &spread);
        add(to, OF_BITS, bits_of(level), 0);
    }
    for (int k = 0; k < to->count; k++)
        to->weight[k] = (float)m.weight[k];
}

/* Those of one node for all elements. Without fused products (the build's flags for this floor) and with functions of its own,
 * every instruction set gives the same numbers. */
CLONES static void fill_row(uint32_t node, uint32_t bits, uint64_t seed, size_t n, float *row)
{
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        words x;
        philox(node, bits, (uint32_t)(begin / WORDS), seed, &x);
        make_normals(&x, row + begin);
    }
}

/* The numbers of step k of the way, in its row: those of the ways' common beginning are there from the last time. */
static const float *numbers_of(brownian *path, const way *steps, int k)
{
    float *row = path->rows + (size_t)k * path->stride;
    if (path->kept[k] == steps->node[k] && path->kept_bits[k] == steps->bits[k])
        return row;
    fill_row(steps->node[k], steps->bits[k], path->seed, path->n, row);
    path->kept[k] = steps->node[k];
    path->kept_bits[k] = steps->bits[k];
    return row;
}

static void value_at(brownian *path, float level, float *out)
{
    way steps;
    find_way(&steps, level);
    memset(out, 0, path->n * sizeof *out);
    for (int k = 0; k < steps.count; k++) {
        float weight = steps.weight[k];
        if (weight == 0)
            continue;
        const float *z = numbers_of(path, &steps, k);
        for (size_t i = 0; i < path->n; i++)
            out[i] += weight * z[i];
    }
}

kiln_status brownian_new(brownian **out, uint64_t seed, size_t n, kiln_error *err)
{
    *out = NULL;
    brownian *path = calloc(1, sizeof *path);
    if (path && n > 0 && n <= SIZE_MAX / sizeof(float) / (WAY_STEPS + 2) - BLOCK) {
        path->stride = (n + BLOCK - 1) / BLOCK * BLOCK;
        path->rows = calloc((WAY_STEPS + 2) * path->stride, sizeof(float));
    }
    if (!path || !path->rows) {
        free(path);
        return fail(err, KILN_NO_MEMORY, "no memory for a Brownian path of %zu elements", n);
    }
    path->at = path->rows + WAY_STEPS * path->stride;
    path->next = path->at + path->stride;
    path->n = n;
    path->seed = seed;
    *out = path;
    return KILN_OK;
}

void brownian_free(brownian *path)
{
    if (!path)
        return;
    free(path->rows);
    free(path);
}

void brownian_reseed(brownian *path, uint64_t seed)
{
    path->seed = seed;
    path->known = false;
    memset(path->kept, 0, sizeof path->kept); /* no node is 0 */
}

void brownian_increment(brownian *path, float a, float b, float *out)
{
    if (a == b) {
        memset(out, 0, path->n * sizeof *out);
        return;
    }
    /* A drawing asks for one interval after the other: the end of the last is the beginning of this one. */
    if (!path->known || path->level != a)
        value_at(path, a, path->at);
    value_at(path, b, path->next);
    float scale = 1 / sqrtf(fabsf(a - b));
    for (size_t i = 0; i < path->n; i++)
        out[i] = (path->at[i] - path->next[i]) * scale;
    float *swap = path->at;
    path->at = path->next;
    path->next = swap;
    path->level = b;
    path->known = true;
}
