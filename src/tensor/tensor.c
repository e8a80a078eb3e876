/* tensor.c - element types, shapes and conversions; see tensor.h. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    size_t bytes;
    const char *name;
} types[DTYPE_COUNT] = {
#define DTYPE_ROW(name, bytes, text) [DTYPE_##name] = {bytes, text},
    DTYPE_MAP(DTYPE_ROW)
#undef DTYPE_ROW
};

size_t dtype_size(dtype type)
{
    return types[type].bytes;
}

const char *dtype_name(dtype type)
{
    return (unsigned)type < DTYPE_COUNT ? types[type].name : "?";
}

bool dtype_from_name(const char *name, dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            *out = (dtype)i;
            return true;
        }
    return false;
}

bool dtype_is_floating(dtype type)
{
    return type <= DTYPE_F8_E5M2;
}

shape shape_of(int rank, ...)
{
    shape s = {.rank = rank};
    va_list arguments;
    va_start(arguments, rank);
    for (int i = 0; i < rank && i < SHAPE_MAX_RANK; i++)
        s.dim[i] = va_arg(arguments, int);
    va_end(arguments);
    return s;
}

bool shape_equal(shape a, shape b)
{
    if (a.rank != b.rank)
        return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i])
            return false;
    return true;
}

int64_t shape_count(shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++)
        n *= s.dim[i];
    return n;
}

bool shape_is_valid(shape s)
{
    if (s.rank < 0 || s.rank > SHAPE_MAX_RANK)
        return false;
    int64_t n = 8;
    for (int i = 0; i < s.rank; i++) {
        if (s.dim[i] < 0 || s.dim[i] > INT64_MAX / 4)
            return false;
        if (s.dim[i] > 0 && n > (INT64_MAX / 2) / s.dim[i])
            return false;
        if (s.dim[i] > 0)
            n *= s.dim[i];
    }
    return true;
}

const char *shape_text(shape s, char text[SHAPE_TEXT])
{
    size_t used = 1;
    text[0] = '[';
    for (int i = 0; i < s.rank && i < SHAPE_MAX_RANK; i++)
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, "%s%lld", i ? "," : "", (long long)s.dim[i]);
    snprintf(text + used, SHAPE_TEXT - used, "]");
    return text;
}

static float bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t float_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* An IEEE-like small float with `e` exponent and `m` mantissa bits, infinities included. */
static float small_to_float(uint32_t v, int e, int m)
{
    uint32_t sign = (v >> (e + m)) & 1, exponent = (v >> m) & ((1u << e) - 1), mantissa = v & ((1u << m) - 1);
    int bias = (1 << (e - 1)) - 1;
    float magnitude;
    if (exponent == (1u << e) - 1)
        magnitude = bits_to_float(mantissa ? 0x7FC00000u : 0x7F800000u);
    else if (exponent == 0)
        magnitude = ldexpf((float)mantissa, 1 - bias - m);
    else
        magnitude = bits_to_float((uint32_t)((int)exponent - bias + 127) << 23 | mantissa << (23 - m));
    return sign ? -magnitude : magnitude;
}

static float e4m3_to_float(uint32_t v)
{
    if ((v & 0x7F) == 0x7F)
        return bits_to_float(0x7FC00000u);
    uint32_t exponent = (v >> 3) & 15, mantissa = v & 7;
    float magnitude =
        exponent ? ldexpf((float)(8 + mantissa), (int)exponent - 10) : ldexpf((float)mantissa, -9);
    return v & 0x80 ? -magnitude : magnitude;
}

static uint16_t float_to_half(float f)
{
    uint32_t bits = float_to_bits(f), sign = bits >> 16 & 0x8000u, a = bits & 0x7FFFFFFFu;
    if (a > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (a >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00u);
    if (a >= 0x38800000u)
        return (uint16_t)(sign | ((a - 0x38000000u + 0xFFFu + (a >> 13 & 1)) >> 13));
    if (a < 0x33000000u)
        return (uint16_t)sign;
    /* Subnormal: scale so that one unit is one half-precision step, and round to even. */
    return (uint16_t)(sign | (uint32_t)lrintf(ldexpf(bits_to_float(a), 24)));
}

/* Round |f| to the nearest value of an 8-bit format by searching its ordered codes; rare path. */
static uint8_t float_to_f8(float f, bool e4m3)
{
    uint32_t sign = float_to_bits(f) >> 31 ? 0x80u : 0;
    if (isnan(f))
        return (uint8_t)(sign | (e4m3 ? 0x7Fu : 0x7Eu));
    float a = fabsf(f);
    uint32_t low = 0, top = e4m3 ? 0x7E : 0x7B, high = top;
    float limit = e4m3 ? 464.0f : 61440.0f;
    if (a >= limit)
        return (uint8_t)(sign | (e4m3 ? (a > limit || isinf(a) ? 0x7Fu : 0x7Eu) : 0x7Cu));
    while (high - low > 1) {
        uint32_t mid = (low + high) / 2;
        if ((e4m3 ? e4m3_to_float(mid) : small_to_float(mid, 5, 2)) <= a)
            low = mid;
        else
            high = mid;
    }
    float below = e4m3 ? e4m3_to_float(low) : small_to_float(low, 5, 2);
    float above = e4m3 ? e4m3_to_float(high) : small_to_float(high, 5, 2);
    float to_below = a - below, to_above = above - a;
    bool up = to_below > to_above || (to_below == to_above && low & 1); /* halves go to the even code */
    uint32_t code = a >= above || up ? high : low;
    return (uint8_t)(sign | code);
}

/* The loops that checkpoints spend their time in are compiled for several processors, and the loader picks. The
 * arithmetic is exact, so that all give the same bits. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Half to single without branches, so that it vectorises. Normal numbers: shift the fields into place and add
 * the difference of the biases; infinities and NaN add it once more; subnormals are made normal by adding the
 * implied bit and subtracting what it stands for. */
FOR_EACH_PROCESSOR
static void halves_to_f32(const uint16_t *restrict from, float *restrict to, size_t n)
{
    const uint32_t rebias = (127 - 15) << 23, exponents = 0x7C00u << 13;
    for (size_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(from[i] & 0x8000u) << 16, bits = (uint32_t)(from[i] & 0x7FFFu) << 13;
        uint32_t exponent = bits & exponents;
        uint32_t normal = bits + rebias + (exponent == exponents ? (uint32_t)(128 - 16) << 23 : 0);
        union {
            uint32_t u;
            float f;
        } tiny = {bits + rebias + (1u << 23)}, unit = {rebias + (1u << 23)}, result;
        tiny.f -= unit.f;
        result.u = sign | (exponent == 0 ? tiny.u : normal);
        to[i] = result.f;
    }
}

FOR_EACH_PROCESSOR
static void brain_floats_to_f32(const uint16_t *restrict from, float *restrict to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = bf16_to_f32(from[i]);
}

/* Through a table of the 256 values. */
static void bytes_to_f32(const uint8_t *from, bool e4m3, float *to, size_t n)
{
    float values[256];
    for (uint32_t v = 0; v < 256; v++)
        values[v] = e4m3 ? e4m3_to_float(v) : small_to_float(v, 5, 2);
    for (size_t i = 0; i < n; i++)
        to[i] = values[from[i]];
}

#define CONVERT(type, expression)                                                                            \
    do {                                                                                                     \
        const type *p = from;                                                                                \
        for (size_t i = 0; i < n; i++)                                                                       \
            to[i] = (expression);                                                                            \
    } while (0)

void convert_to_f32(const void *from, dtype t, float *to, size_t n)
{
    /* clang-format off */
    switch (t) {
    case DTYPE_F32: memcpy(to, from, n * sizeof *to); break;
    case DTYPE_F16: halves_to_f32(from, to, n); break;
    case DTYPE_BF16: brain_floats_to_f32(from, to, n); break;
    case DTYPE_F64: CONVERT(double, (float)p[i]); break;
    case DTYPE_F8_E4M3:
    case DTYPE_F8_E5M2: bytes_to_f32(from, t == DTYPE_F8_E4M3, to, n); break;
    case DTYPE_I64: CONVERT(int64_t, (float)p[i]); break;
    case DTYPE_I32: CONVERT(int32_t, (float)p[i]); break;
    case DTYPE_I16: CONVERT(int16_t, (float)p[i]); break;
    case DTYPE_I8: CONVERT(int8_t, (float)p[i]); break;
    case DTYPE_U64: CONVERT(uint64_t, (float)p[i]); break;
    case DTYPE_U32: CONVERT(uint32_t, (float)p[i]); break;
    case DTYPE_U16: CONVERT(uint16_t, (float)p[i]); break;
    case DTYPE_U8: CONVERT(uint8_t, (float)p[i]); break;
    case DTYPE_BOOL: CONVERT(uint8_t, p[i] ? 1.0f : 0.0f); break;
    case DTYPE_COUNT: break;
    }
    /* clang-format on */
}

#define CONVERT_BACK(type, expression)                                                                       \
    do {                                                                                                     \
        type *q = to;                                                                                        \
        for (size_t i = 0; i < n; i++)                                                                       \
            q[i] = (type)(expression);                                                                       \
    } while (0)

void convert_from_f32(const float *from, void *to, dtype t, size_t n)
{
    /* clang-format off */
    switch (t) {
    case DTYPE_F32: memcpy(to, from, n * sizeof *from); break;
    case DTYPE_F16: CONVERT_BACK(uint16_t, float_to_half(from[i])); break;
    case DTYPE_BF16: CONVERT_BACK(uint16_t, f32_to_bf16(from[i])); break;
    case DTYPE_F64: CONVERT_BACK(double, from[i]); break;
    case DTYPE_F8_E4M3: CONVERT_BACK(uint8_t, float_to_f8(from[i], true)); break;
    case DTYPE_F8_E5M2: CONVERT_BACK(uint8_t, float_to_f8(from[i], false)); break;
    case DTYPE_I64: CONVERT_BACK(int64_t, llrintf(from[i])); break;
    case DTYPE_I32: CONVERT_BACK(int32_t, llrintf(from[i])); break;
    case DTYPE_I16: CONVERT_BACK(int16_t, llrintf(from[i])); break;
    case DTYPE_I8: CONVERT_BACK(int8_t, llrintf(from[i])); break;
    case DTYPE_U64: CONVERT_BACK(uint64_t, llrintf(from[i])); break;
    case DTYPE_U32: CONVERT_BACK(uint32_t, llrintf(from[i])); break;
    case DTYPE_U16: CONVERT_BACK(uint16_t, llrintf(from[i])); break;
    case DTYPE_U8: CONVERT_BACK(uint8_t, llrintf(from[i])); break;
    case DTYPE_BOOL: CONVERT_BACK(uint8_t, from[i] != 0.0f); break;
    case DTYPE_COUNT: break;
    }
    /* clang-format on */
}
