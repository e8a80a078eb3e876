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

/* F16C, which the compiler's own table does not name everywhere. */
static bool has_half(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
}

/* AMX-BF16 and AMX-TILE, switched on by the system. */
static bool has_tiles(void)
{
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    return (d & (1u << 22)) && (d & (1u << 24)) && (enabled_state() & 0x60000) == 0x60000 && amx_permitted();
}

/* What the compiler's start-up code has found is asked first, which includes what the system has switched on: in a virtual
 * machine each CPUID takes as long as a small kernel, and every kernel of a plan asks. */
cpu_features cpu_features_detect(void)
{
    cpu_features f = {0};
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (v4 || has_half());
    f.avx512 = f.avx2 && v4;
    f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    f.amx_bf16 = f.avx512_bf16 && has_tiles();
    return f;
}
#else
cpu_features cpu_features_detect(void)
{
    return (cpu_features){0};
}
#endif
