/* fetch.h - asking for memory before it is needed. Some machines, virtual ones above all, fetch nothing ahead on their
 * own: there every line of a loop over memory would wait for its whole way, and asking is a factor of 2 to 3. Where the
 * processor does it itself, asking costs little. Nothing happens beyond the end of an array. */
#ifndef KILN_BACKEND_CPU_FETCH_H
#define KILN_BACKEND_CPU_FETCH_H

#include <stdint.h>

enum {
    FETCH_LINE = 64,
    FETCH_DISTANCE = 4096 /* bytes: far enough to hide the way, near enough to be still there on arrival */
};

/* The line that a loop in order, now at x, comes to FETCH_DISTANCE later. */
static inline void fetch_ahead(const void *x)
{
    __builtin_prefetch((const void *)((uintptr_t)x + FETCH_DISTANCE), 0, 3);
}

/* The same for `bytes` from x on. */
static inline void fetch_ahead_of(const void *x, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += FETCH_LINE)
        fetch_ahead((const char *)x + i);
}

#endif
