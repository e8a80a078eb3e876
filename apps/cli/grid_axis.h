/* grid_axis.h - an axis of `kiln grid`: an option of a drawing and the values that it takes along the axis.
 *
 * "steps=10,20,40", "cfg=1-9 (+2)", "sampler=Euler a,DPM++ 2M", "prompt=@prompts.txt", "replace=cat,dog,\"fox, red\"".
 * Ranges are those of A1111's X/Y/Z plot: "1-5" counts by 1 (or -1), "1-9 (+2)" by 2, "1-10 [5]" takes 5 numbers evenly. */
#ifndef KILN_CLI_GRID_AXIS_H
#define KILN_CLI_GRID_AXIS_H

#include "options.h"

enum { GRID_AXIS_VALUES = 1000 };

typedef struct grid_axis {
    const char *type; /* as it was asked for, for the labels */
    const option
        *option; /* NULL: the first value is looked for in the prompt, and replaced ("replace", Prompt S/R) */
    char **values;
    int count;
} grid_axis;

/* Read "NAME=VALUES". Complains and gives an exit status when no option of that name can be an axis, or there are no values.
 * Whether the option takes the values is not looked at. */
int grid_axis_read(const command *, const char *text, grid_axis *out);
void grid_axis_free(grid_axis *);

#endif
