/* train.h - how fast this machine trains: see train.c. */
#ifndef BENCH_TRAIN_H
#define BENCH_TRAIN_H

#include "tensor/tensor.h"

#include <stdbool.h>

typedef struct train_bench {
    const char *json; /* file to append figures to; may be NULL */
    dtype compute;
    int threads, repeat;
    bool profile;
} train_bench;

/* Every case in a process of its own (`program` started again as "program --train-case NAME ..."), so that its largest
 * resident set is its own. `arguments` are those of this process. False when one failed. */
bool train_bench_all(char **arguments);
/* One case, in this process. False when there is no such case, or when it failed. */
bool train_bench_case(const train_bench *, const char *name);

#endif
