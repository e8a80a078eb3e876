/* vector_math.h - exp, sigmoid, tanh and erf without branches or tables, so that a loop around them
 * vectorises.
 *
 * Against the C library in double, measured over 8.6 million floats of every size (tests/unit/test_vector_math.c):
 * exponential is within 1.3 units in the last place from -87 to 88 (below it stays at about 1.6e-38, above it stays
 * finite); absolutely, sigmoid is within 1e-7, tangent within 1.4e-7, soft_gate within 2e-7, error_function within
 * 6.5e-7. */
#ifndef KILN_BACKEND_CPU_VECTOR_MATH_H
#define KILN_BACKEND_CPU_VECTOR_MATH_H

#include "base/clones.h"

#include <stdint.h>

/* 2^n * p(r), x = n ln 2 + r, |r| <= ln 2 / 2 (Cody & Waite reduction, minimax polynomial). NaN stays NaN. */
INLINE float exponential(float x)
{
    const float round =
        12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest whole number in the low bits */
    float t = x < -87.0f ? -87.0f : x;
    t = t > 88.3f ? 88.3f : t;
    union {
        float f;
        int32_t i;
    } n = {t * 1.44269504f + round}, scale;
    float whole = n.f - round;
    float r = t - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + (r + 1.0f);
    scale.i = (int32_t)((uint32_t)n.i << 23) + 0x3F800000;
    return p * scale.f;
}

INLINE float sigmoid(float x)
{
    return 1.0f / (1.0f + exponential(-x));
}

/* Near zero the quotient would lose digits: there x - x^3/3 + ... */
INLINE float tangent(float x)
{
    float e = exponential(2.0f * x), s = x * x;
    float big = (e - 1.0f) / (e + 1.0f);
    float small = x + x * s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * 0.0218694885f)));
    return s < 0.04f ? small : big;
}

/* tanh(ln(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2): mish without its x. */
INLINE float soft_gate(float x)
{
    float e = exponential(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f);
    return n / (n + 2.0f);
}

/* Abramowitz & Stegun 7.1.26. */
INLINE float error_function(float x)
{
    float a = x < 0 ? -x : x;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float y = 1.0f - p * t * exponential(-a * a);
    return x < 0 ? -y : y;
}

#endif
