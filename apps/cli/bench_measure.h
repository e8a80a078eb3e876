/* bench_measure.h - the measuring of `kiln bench-samplers`: who takes part, the references, and the rows of each. */
#ifndef KILN_CLI_BENCH_MEASURE_H
#define KILN_CLI_BENCH_MEASURE_H

#include "bench_rows.h"
#include "drawing.h"
#include "grid_axis.h"

enum { BENCH_CONTESTANTS = 64 };

typedef struct bench_values {
    draw_values draw; /* its output is the plot */
    const char *samplers, *schedules, *steps, *prompts, *seeds, *table, *title, *font;
    int reference_steps;
} bench_values;

/* One sampler on one schedule, as it was asked for. */
typedef struct contestant {
    const char *sampler, *schedule; /* the latter NULL: the sampler's own */
    char written[BENCH_NAME];       /* the schedule in the table */
    kiln_equation equation;
    bool adaptive;
} contestant;

/* The solutions of one equation for all drawings. */
typedef struct reference {
    float **latents; /* [drawings], NULL until they are needed */
    double accuracy;
} reference;

typedef struct bench {
    bench_values values;
    kiln_draw_options options;
    grid_axis samplers, schedules, steps, prompts, seeds;
    int *step, drawings, elements;
    contestant contestant[BENCH_CONTESTANTS];
    int count;
    reference ode, sde;
    bench_rows rows;
    unsigned long long settings;
} bench;

/* Choose what the next drawing is solved by, over what the command line says. */
void bench_set_sampler(drawing *, const char *sampler, const char *schedule, int steps);
/* The row of a contestant at a number of steps, before it is measured. */
bench_row bench_blank(const bench *, const contestant *, int steps);
/* Measure what the table lacks of a contestant, and keep each row at once. Step counts that take more evaluations than the
 * largest of them says are left out. Gives an exit status. */
int bench_measure(drawing *, bench *, const contestant *);
void bench_free_references(bench *);

#endif
