/* pages.c - see pages.h. */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#include "base/pages.h"

#include <stdint.h>
#include <sys/mman.h>

static size_t rounded(size_t bytes)
{
    return (bytes + 4096) & ~(size_t)4095;
}

void *pages_new(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    void *p = mmap(NULL, rounded(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= (size_t)4 << 20)
        (void)madvise(p, rounded(bytes), MADV_HUGEPAGE);
#endif
    return p;
}

void pages_free(void *block, size_t bytes)
{
    if (block)
        munmap(block, rounded(bytes));
}
