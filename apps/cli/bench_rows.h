/* bench_rows.h - the table of `kiln bench-samplers`, a CSV file with a row for each sampler, schedule and number of steps. */
#ifndef KILN_CLI_BENCH_ROWS_H
#define KILN_CLI_BENCH_ROWS_H

enum { BENCH_NAME = 64 };

typedef struct bench_row {
    char sampler[BENCH_NAME], schedule[BENCH_NAME]; /* the latter "" where the sampler has its own levels */
    int steps;                                      /* 0: chosen by the sampler */
    double evaluations;                             /* mean of the drawings */
    double distance, spread;                        /* mean, and standard deviation from drawing to drawing */
    int drawings;
    char reference[BENCH_NAME];  /* "ode" or "sde" */
    double accuracy;             /* how far the reference is from that of half as many steps, mean */
    unsigned long long settings; /* a digest of all else that it was measured with */
} bench_row;

typedef struct bench_rows {
    bench_row *row;
    int count;
} bench_rows;

/* The rows of a file, none where there is no file. Complains and gives an exit status when it is no such table. */
int bench_rows_read(const char *path, bench_rows *);
/* The row of the same names, steps and settings; NULL: none. */
const bench_row *bench_rows_find(const bench_rows *, const bench_row *like);
/* Add a row and write the file, in one step. */
int bench_rows_keep(bench_rows *, const bench_row *, const char *path);
void bench_rows_free(bench_rows *);

#endif
