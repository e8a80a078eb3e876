/* golden.h - run the cases of reference folders: tensors that other programs computed, and ours beside
 * them.
 *
 * Every runner takes a folder (its cases.json says what to do; nothing is listed here), prints a line per
 * case with its largest error, and counts. A case whose part is not built is skipped, with the reason. */
#ifndef KILN_TESTS_GOLDEN_H
#define KILN_TESTS_GOLDEN_H

#include "base/error.h"
#include "formats/tensor_file.h"

#include <jansson.h>
#include <stdio.h>

typedef struct golden_report {
    FILE *out; /* NULL: print nothing */
    int passed, failed, skipped;
    bool quiet; /* only failures are printed */
} golden_report;

/* One line: "group id what: error 1.2e-07 (limit 1e-05) ok". A NaN fails. */
void golden_result(golden_report *report, const char *group, const char *id, const char *what, double error,
                   double limit);
void golden_failure(golden_report *report, const char *group, const char *id, const char *why);
void golden_skip(golden_report *report, const char *group, const char *id, const char *why);

/* Largest |got - expected| over the larger of 1 and the largest |expected|. */
double golden_error(const float *got, const float *expected, size_t n);

/* folder/name as JSON (with Python's infinities), and as tensors. NULL after printing why. */
json_t *golden_json(golden_report *report, const char *folder, const char *name);
tensor_file *golden_tensors(golden_report *report, const char *folder, const char *name);
/* A tensor as floats, caller frees; NULL if there is none. */
float *golden_tensor(const tensor_file *file, const char *name, size_t *count);

/* Folders made like golden/schedulers and golden/kdiffusion. 0, or 1 when the folder could not be read. */
int golden_schedulers(const char *folder, golden_report *report);
int golden_kdiffusion(const char *folder, golden_report *report);

#endif
