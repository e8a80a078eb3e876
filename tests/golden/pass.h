/* pass.h - one pass of a drawn model over reference tensors: bind, compile, fill the inputs, run, compare.
 *
 * Reference tensors are as torch made them, [N,C,H,W]; ours are [N,H,W,C]. They are turned here, going in and
 * coming out, and nowhere else. */
#ifndef KILN_TESTS_GOLDEN_PASS_H
#define KILN_TESTS_GOLDEN_PASS_H

#include "golden/golden.h"
#include "plan/plan.h"
#include "weights/binding.h"

/* How the models are run, and what difference they are allowed. */
typedef struct pass_options {
    plan_options plan;
    double limit;
} pass_options;

typedef struct pass {
    graph *graph;
    weights *weights;
    packed_store *store;
    plan *plan;
    run *run;
    /* where lines go */
    golden_report *report;
    const char *group, *id;
    double limit;
    bool failed; /* said already */
} pass;

/* Takes the graph over. After a failure (which is reported) the other calls do nothing. */
void pass_open(pass *p, graph *drawn, const weights_place *place, const pass_options *options,
               golden_report *report, const char *group, const char *id);
/* The same with parameters from anywhere; `source` must outlive the pass. */
void pass_open_from(pass *p, graph *drawn, parameter_source source, const pass_options *options,
                    golden_report *report, const char *group, const char *id);
void pass_close(pass *p);

/* Fill an input from a reference tensor; a tensor that is not there is a failure. */
void pass_input(pass *p, const char *input, const tensor_file *golden, const char *tensor);
/* The same from integers of our own. */
void pass_input_ids(pass *p, const char *input, const int32_t *ids, size_t count);
void pass_run(pass *p);

/* Compare an output or a tap with a reference tensor: the largest difference over the largest expected
 * number. A reference of fewer pictures than the value is that of the first ones. */
void pass_compare(pass *p, const char *output, const tensor_file *golden, const char *tensor);
/* The same for a range of channels of a 4-d output, clamped. */
void pass_compare_channels(pass *p, const char *output, const tensor_file *golden, const char *tensor,
                           int first, float low, float high);

#endif
