/* noise.h - normal random numbers, the very ones that other programs draw from the same seed.
 *
 * NOISE_TORCH   torch's CPU generator: what torch.randn(n) gives on an x86 machine with AVX2 (which every
 *               build of torch uses there, on AVX-512 machines too). Seeds a Mersenne Twister (MT19937,
 *               Matsumoto and Nishimura 1998) with the low 32 bits of the seed. Sixteen numbers or more:
 *               24-bit uniforms and a Box-Muller transform in single precision whose logarithm, sine and
 *               cosine are those of Cephes; matched bit for bit. Fewer: 53-bit uniforms, in double precision,
 *               two at a time, the second kept for the next call.
 * NOISE_PHILOX  the generator of CUDA's randn, Philox4x32-10 (Salmon et al. 2011), as "NV" in AUTOMATIC1111's
 *               web UI computes it: counter (call, 0, index, 0), key = the whole seed, in double precision,
 *               rounded once; matched bit for bit. Each call counts one up. (A GPU itself takes the sine from
 *               a table of its hardware: the last two or three bits differ.)
 *
 * What is drawn depends on the seed and on the sizes of the calls so far, and on nothing else: not on threads
 * and not on the processor (sums and products are fused where torch's build fuses them, by fmaf). The C
 * library's log, log1p, sin and cos in double precision take part in the second torch path and in Philox; a
 * library whose results differ in their last bit changes a single-precision result about once in 10^8. */
#ifndef KILN_DIFFUSION_NOISE_H
#define KILN_DIFFUSION_NOISE_H

#include "base/twister.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum noise_kind { NOISE_TORCH, NOISE_PHILOX } noise_kind;

/* A stream of numbers. Plain data: a copy goes on independently. Fields are noise.c's. */
typedef struct noise_source {
    noise_kind kind;
    uint64_t seed;
    twister stream;
    bool has_spare; /* the second normal of a pair in double precision */
    double spare;
    uint32_t call; /* Philox: number of calls so far */
} noise_source;

void noise_init(noise_source *, noise_kind kind, uint64_t seed);

/* The next torch.randn(n), or the next NV randn(n), into `out`: mean 0, deviation 1. */
void noise_fill(noise_source *, float *out, size_t n);

#endif
