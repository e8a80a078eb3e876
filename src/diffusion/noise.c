/* noise.c - see noise.h. */
#include "diffusion/noise.h"

#include "base/clones.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* [0, 1) in steps of 2^-24. */
static float uniform_single(noise_source *s)
{
    return (float)(twister_next(&s->stream) & 0xFFFFFFu) * 0x1p-24f;
}

/* [0, 1) in steps of 2^-53; the first word drawn is the upper one. */
static double uniform_double(noise_source *s)
{
    uint64_t high = twister_next(&s->stream);
    uint64_t bits = high << 32 | twister_next(&s->stream);
    return (double)(bits & 0x1FFFFFFFFFFFFFu) * 0x1p-53;
}

/* ------------------------------------------- Cephes' single-precision functions, as torch's build rounds them */

/* x = mantissa 2^*exponent with 0.5 <= mantissa < 1, for x normal and above 0: frexpf, but in vectors. */
INLINE float mantissa_of(float x, float *exponent)
{
    union {
        float number;
        uint32_t bits;
    } m = {.number = x};
    *exponent = (float)((int32_t)(m.bits >> 23) - 126);
    m.bits = (m.bits & 0x7FFFFFu) | 0x3F000000u;
    return m.number;
}

/* Natural logarithm, 0 < x <= 1 and x normal. x = 2^e (1 + r) with 1 + r in [sqrt(1/2), sqrt(2)). */
INLINE float log_single(float x)
{
    static const float p[] = {7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,
                              -1.2420140846E-1f, 1.4249322787E-1f,  -1.6668057665E-1f,
                              2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
    float e, half = mantissa_of(x, &e);
    bool low = half < 0.707106781186547524f;
    e = low ? e - 1.0f : e;
    float r = low ? (half - 1.0f) + half : half - 1.0f;
    float z = r * r, y = p[0];
    for (size_t i = 1; i < sizeof p / sizeof *p; i++)
        y = fmaf(y, r, p[i]);
    y = y * r;
    y = fmaf(y, z, e * -2.12194440e-4f);
    y = fmaf(z, -0.5f, y);
    return fmaf(e, 0.693359375f, r + y);
}

/* Sine and cosine, 0 <= x < 8192: reduced to [-pi/4, pi/4] by three parts of pi/4, then a polynomial each. */
INLINE void sine_cosine_single(float x, float *sine, float *cosine)
{
    int32_t octant = ((int32_t)(x * 1.27323954473516f) + 1) & ~1;
    float y = (float)octant;
    x = fmaf(y, -0.78515625f, x);
    x = fmaf(y, -2.4187564849853515625e-4f, x);
    x = fmaf(y, -3.77489497744594108e-8f, x);
    float z = x * x;
    float c = fmaf(fmaf(2.443315711809948E-005f, z, -1.388731625493765E-003f), z, 4.166664568298827E-002f);
    c = fmaf(c * z, z, z * -0.5f) + 1.0f;
    float s = fmaf(fmaf(-1.9515295891E-4f, z, 8.3321608736E-3f), z, -1.6666654611E-1f);
    s = fmaf(s * z, x, x);
    bool swapped = (octant & 2) != 0;
    float up = swapped ? c : s, across = swapped ? s : c;
    *sine = octant & 4 ? -up : up;
    *cosine = (octant + 2) & 4 ? -across : across;
}

/* --------------------------------------------------------------------------------- torch.randn */

/* Sixteen uniforms become sixteen normals: Box-Muller on (0, 8), (1, 9) and so on. */
INLINE void normals_of_uniforms(float values[16])
{
    for (int i = 0; i < 8; i++) {
        float radius = sqrtf(-2.0f * log_single(1.0f - values[i])), sine, cosine;
        sine_cosine_single((float)(2.0 * pi) * values[i + 8], &sine, &cosine);
        /* Adding 0 is torch's "+ mean": it turns -0 into 0. */
        values[i] = radius * cosine + 0.0f;
        values[i + 8] = radius * sine + 0.0f;
    }
}

/* Fused products are asked for by name where torch fuses, and no others are (the build's flags for this floor): every
 * instruction set gives the same numbers. */
CLONES static void normals_of_blocks(float *values, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++)
        normals_of_uniforms(values + 16 * i);
}

static void fill_torch_blocks(noise_source *s, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniform_single(s);
    normals_of_blocks(out, n / 16);
    if (n % 16) {
        /* A last block that is not whole: the last sixteen are drawn anew. */
        for (size_t i = n - 16; i < n; i++)
            out[i] = uniform_single(s);
        normals_of_blocks(out + n - 16, 1);
    }
}

static double next_normal_double(noise_source *s)
{
    if (s->has_spare) {
        s->has_spare = false;
        return s->spare;
    }
    double u = uniform_double(s), v = uniform_double(s);
    double radius = sqrt(-2.0 * log1p(-v)), theta = 2.0 * pi * u;
    s->spare = radius * sin(theta);
    s->has_spare = true;
    return radius * cos(theta);
}

/* --------------------------------------------------------------------------------------- Philox */

/* The first two of the four words of one counter. */
static void philox_words(uint64_t seed, uint32_t call, uint32_t index, uint32_t out[2])
{
    uint32_t counter[4] = {call, 0, index, 0}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)counter[0] * 0xD2511F53u, b = (uint64_t)counter[2] * 0xCD9E8D57u;
        counter[0] = (uint32_t)(b >> 32) ^ counter[1] ^ key[0];
        counter[1] = (uint32_t)b;
        counter[2] = (uint32_t)(a >> 32) ^ counter[3] ^ key[1];
        counter[3] = (uint32_t)a;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    out[0] = counter[0];
    out[1] = counter[1];
}

static void fill_philox(noise_source *s, float *out, size_t n)
{
    /* Constants are single-precision numbers, arithmetic is double. */
    const float step = 2.3283064e-10f, turn = (float)(2.3283064e-10 * 6.2831855);
    for (size_t i = 0; i < n; i++) {
        uint32_t words[2];
        philox_words(s->seed, s->call, (uint32_t)i, words);
        double u = (double)words[0] * (double)step + (double)(step / 2);
        double v = (double)words[1] * (double)turn + (double)(turn / 2);
        out[i] = (float)(sqrt(-2.0 * log(u)) * sin(v));
    }
    s->call++;
}

void noise_init(noise_source *s, noise_kind kind, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->seed = seed;
    twister_seed(&s->stream, (uint32_t)seed);
}

void noise_fill(noise_source *s, float *out, size_t n)
{
    if (s->kind == NOISE_PHILOX)
        fill_philox(s, out, n);
    else if (n >= 16)
        fill_torch_blocks(s, out, n);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = (float)next_normal_double(s);
}
