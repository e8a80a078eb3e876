/* problem_list.h - what does not fit between a model and a file, told in one sentence. */
#ifndef KILN_WEIGHTS_PROBLEM_LIST_H
#define KILN_WEIGHTS_PROBLEM_LIST_H

#include "base/error.h"
#include "tensor/tensor.h"

/* Problems of one sort: all are counted, as many as fit are shown. */
typedef struct problem_sort {
    int count, shown;
    char text[420];
} problem_sort;

/* Starts as {.file = path}; holds no memory. */
typedef struct problem_list {
    const char *file;
    problem_sort missing, misshaped;
} problem_list;

void problem_missing(problem_list *, const char *name);
void problem_shape(problem_list *, const char *name, shape found, shape expected);
/* KILN_OK when there was none, else KILN_MISMATCH:
 * "FILE: 17 tensors are missing: 'a', 'b' and 15 more; 1 has another shape: 'c' is [3], expected [4]". */
kiln_status problem_report(const problem_list *, kiln_error *err);

#endif
