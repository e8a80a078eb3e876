/* measure.h - the clock and the memory of this process. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/* Monotonic, in seconds. */
double bench_now(void);
/* Bytes of the largest resident set that the system saw (VmHWM); 0 where it does not tell. */
int64_t bench_resident(void);

#endif
