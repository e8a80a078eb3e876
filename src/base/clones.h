/* clones.h - one source, one binary, several instruction sets: a function marked CLONES is compiled for
 * AVX-512, for AVX2 and for the base architecture, and the loader picks. Loops inside are written so that
 * the compiler vectorises them; sums run in a fixed number of lanes, so their order never depends on the
 * width of a register. */
#ifndef KILN_BASE_CLONES_H
#define KILN_BASE_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

#endif
