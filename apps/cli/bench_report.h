/* bench_report.h - what `kiln bench-samplers` found: the best at each number of evaluations, and a plot. */
#ifndef KILN_CLI_BENCH_REPORT_H
#define KILN_CLI_BENCH_REPORT_H

#include "bench_rows.h"

#include <stdbool.h>

/* The rows of one sampler on one schedule, by rising evaluations. */
typedef struct bench_series {
    char label[2 * BENCH_NAME + 8];
    bench_row *row;
    int count;
} bench_series;

typedef struct bench_report {
    const bench_series *series;
    int count;
    const int *budgets; /* numbers of evaluations, rising */
    int budget_count;
    const char *title, *subtitle, *font;
} bench_report;

/* For every budget the nearest samplers that take no more, on standard output, each reference by itself. */
void bench_report_print(const bench_report *);
/* Distance over evaluations, into the picture at `path`. Points that are no farther from the reference than that is known
 * are left out. */
int bench_report_plot(const bench_report *, const char *path);

#endif
