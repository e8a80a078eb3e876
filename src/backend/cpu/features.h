/* features.h - what this processor can do, asked once per prepared kernel (a few instructions; nothing is
 * cached). */
#ifndef KILN_BACKEND_CPU_FEATURES_H
#define KILN_BACKEND_CPU_FEATURES_H

#include <stdbool.h>

typedef struct cpu_features {
    bool avx2;        /* with fma and f16c */
    bool avx512;      /* F, BW, DQ, VL: x86-64-v4 */
    bool avx512_bf16; /* vdpbf16ps */
    bool amx_bf16;    /* tiles, and the kernel lets this process use them */
} cpu_features;

cpu_features cpu_features_detect(void);

#endif
