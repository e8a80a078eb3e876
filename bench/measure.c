/* measure.c - see measure.h. */
#define _POSIX_C_SOURCE 200809L
#include "bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t bench_resident(void)
{
    static const char name[] = "VmHWM:";
    char line[256];
    long long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, sizeof name - 1) == 0)
            kilobytes = strtoll(line + sizeof name - 1, NULL, 10);
    if (f)
        fclose(f);
    return (int64_t)kilobytes * 1024;
}
