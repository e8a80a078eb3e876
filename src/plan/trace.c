/* trace.c - statistics of a traced value, and the profile: time by op and kernel. */
#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

value_statistics trace_statistics(const trace_row *row)
{
    value_statistics s = {.minimum = INFINITY, .maximum = -INFINITY};
    int64_t n = shape_count(row->shape), finite = 0;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = 0;
        convert_to_f32((const unsigned char *)row->data + (size_t)i * dtype_size(row->type), row->type, &x,
                       1);
        if (!isfinite(x)) {
            s.not_finite++;
            continue;
        }
        finite++;
        sum += (double)x;
        s.minimum = fmin(s.minimum, (double)x);
        s.maximum = fmax(s.maximum, (double)x);
    }
    s.mean = finite ? sum / (double)finite : NAN;
    return s;
}

enum { PROFILE_ROWS = 96 };

typedef struct profile_row {
    const char *op, *label;
    int64_t calls;
    double microseconds, flops, bytes;
} profile_row;

struct profile {
    profile_row rows[PROFILE_ROWS];
    int count;
};

profile *profile_new(void)
{
    return calloc(1, sizeof(profile));
}

void profile_free(profile *p)
{
    free(p);
}

void profile_add(void *self, const trace_row *row)
{
    profile *p = self;
    int i = 0;
    while (i < p->count && (strcmp(p->rows[i].op, row->op) != 0 || strcmp(p->rows[i].label, row->label) != 0))
        i++;
    if (i == PROFILE_ROWS)
        i--; /* more kinds than rows: the last row gathers the rest */
    else if (i == p->count)
        p->rows[p->count++] = (profile_row){.op = row->op, .label = row->label};
    p->rows[i].calls++;
    p->rows[i].microseconds += row->microseconds;
    p->rows[i].flops += row->flops;
    p->rows[i].bytes += row->bytes;
}

static int by_time(const void *a, const void *b)
{
    const profile_row *x = a, *y = b;
    return x->microseconds < y->microseconds ? 1 : x->microseconds > y->microseconds ? -1 : 0;
}

void profile_write(const profile *p, FILE *to)
{
    profile sorted = *p;
    qsort(sorted.rows, (size_t)sorted.count, sizeof *sorted.rows, by_time);
    double total = 0, flops = 0;
    for (int i = 0; i < sorted.count; i++) {
        total += sorted.rows[i].microseconds;
        flops += sorted.rows[i].flops;
    }
    fprintf(to, "%-20s %-24s %8s %10s %6s %10s %8s\n", "op", "kernel", "calls", "ms", "%", "GFLOP/s", "GB/s");
    for (int i = 0; i < sorted.count; i++) {
        const profile_row *r = &sorted.rows[i];
        double us = r->microseconds > 0 ? r->microseconds : 1e-9;
        fprintf(to, "%-20s %-24s %8lld %10.2f %6.1f %10.1f %8.1f\n", r->op, r->label, (long long)r->calls,
                r->microseconds / 1e3, total > 0 ? 100 * r->microseconds / total : 0, r->flops / us / 1e3,
                r->bytes / us / 1e3);
    }
    fprintf(to, "%-20s %-24s %8s %10.2f %6s %10.1f\n", "total", "", "", total / 1e3, "",
            total > 0 ? flops / total / 1e3 : 0);
}
