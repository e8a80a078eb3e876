/* options.h - command lines of these tools: `--name value` in any order, and plain arguments. */
#ifndef EMOJI_OPTIONS_H
#define EMOJI_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>

typedef struct option_rule {
    const char *name;  /* "--count" */
    const char **text; /* exactly one of these is set */
    long *number;
    double *real;
    bool *flag;         /* takes no value */
    double least, most; /* of numbers */
} option_rule;

/* Fill the rules' targets; what is not an option goes to plain[0..*plain_count), at most `room`. The list of rules ends
 * with one without a name. */
kiln_status options_read(int argc, char **argv, const option_rule *rules, const char **plain, int room,
                         int *plain_count, kiln_error *err);

#endif
