/* features.c - CPUID, XGETBV and, for AMX, the permission that Linux wants a process to ask for before the
 * first tile instruction (Documentation/arch/x86/xstate.rst). On other processors every answer is "no". */
#define _DEFAULT_SOURCE /* syscall() */
#include "backend/cpu/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool amx_permitted(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static unsigned long long enabled_state(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

cpu_features cpu_features_detect(void)
{
    cpu_features f = {0};
    unsigned a, b, c, d, a7, b7, c7, d7, a71 = 0, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)) || !__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7))
        return f;
    if (a7 >= 1)
        __get_cpuid_count(7, 1, &a71, &unused, &unused, &unused);
    unsigned long long state = enabled_state();
    bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xE6) == 0xE6, tiles = (state & 0x60000) == 0x60000;
    f.avx2 = ymm && (c & (1u << 12)) && (c & (1u << 29)) && (b7 & (1u << 5));
    const unsigned v4 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
    f.avx512 = f.avx2 && zmm && (b7 & v4) == v4;
    f.avx512_bf16 = f.avx512 && (a71 & (1u << 5));
    f.amx_bf16 = f.avx512_bf16 && tiles && (d7 & (1u << 22)) && (d7 & (1u << 24)) && amx_permitted();
    return f;
}
#else
cpu_features cpu_features_detect(void)
{
    return (cpu_features){0};
}
#endif
