/* avx512.h - what the AVX-512 kernels share: target attributes and a fast exponential. x86-64 only. */
#ifndef KILN_BACKEND_CPU_AVX512_H
#define KILN_BACKEND_CPU_AVX512_H

#include "backend/cpu/fetch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

/* 2^x, relative error below 4e-6 (minimax polynomial of degree 4 on [-1/2, 1/2]); -inf gives 0. For
 * results that are rounded to bf16. */
AVX512 static inline __m512 power_of_two_fast(__m512 x)
{
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(9.57004686e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.59177467e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40247450e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93121829e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.99999262e-1f));
    return _mm512_scalef_ps(p, whole);
}

/* 2^x, relative error 7.5e-5 (degree 3): a quarter of what rounding to bf16 costs on average. */
AVX512 static inline __m512 power_of_two_rough(__m512 x)
{
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(5.51712839e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.42610452e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93260984e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.99928115e-1f));
    return _mm512_scalef_ps(p, whole);
}

/* The normal distribution's Phi(x) by an odd minimax polynomial on [-4, 4], within 9e-5; exactly 0 and 1 outside. */
AVX512 static inline __m512 phi16(__m512 x)
{
    __m512 t = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-4.0f)), _mm512_set1_ps(4.0f));
    __m512 u = _mm512_mul_ps(t, t);
    __m512 p = _mm512_set1_ps(-1.5807914e-9f);
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(1.21712916e-7f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-4.10098668e-6f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(8.06707251e-5f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-1.04825763e-3f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(9.66542266e-3f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-6.61793056e-2f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(3.98871424e-1f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f));
    return _mm512_min_ps(_mm512_max_ps(p, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
}
AVX512 static inline __m512 gelu16(__m512 x)
{
    return _mm512_mul_ps(x, phi16(x));
}

/* 16 (or, by mask, fewer) bf16 as f32. */
AVX512 static inline __m512 widen(__m256i x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
AVX512 static inline __m512 load_widened(const uint16_t *x, __mmask16 mask)
{
    return widen(_mm256_maskz_loadu_epi16(mask, x));
}
AVX512_BF16 static inline void store_narrowed(uint16_t *y, __mmask16 mask, __m512 x)
{
    _mm256_mask_storeu_epi16(y, mask, (__m256i)_mm512_cvtneps_pbh(x));
}
/* Two rows of 16 as pairs of bf16, the way a B tile wants them. */
AVX512_BF16 static inline __m512i interleave_pairs(__m512 even, __m512 odd)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* The mask of the first n of 16 lanes (n may be larger). */
static inline uint16_t first_lanes(int64_t n)
{
    unsigned lanes = n >= 16 ? 0xFFFFu : (1u << (n < 0 ? 0 : n)) - 1u;
    return (uint16_t)lanes;
}
#endif

#endif
