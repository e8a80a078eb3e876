/* enlarging.h - `kiln draw --upscale`: the drawn pictures go through an upscaler before they are written. */
#ifndef KILN_CLI_ENLARGING_H
#define KILN_CLI_ENLARGING_H

#include "draw_options.h"
#include "progress.h"

#include <kiln/upscale.h>

/* The upscaler of a command line: `given`, or KILN_UPSCALER, or the one that comes with Kiln. */
const char *upscaler_name(const char *given);

typedef struct enlarging {
    kiln_upscaler *upscaler; /* NULL: pictures stay as they are */
    kiln_upscale_options options;
} enlarging;

/* Open the upscaler when one is wanted, and see that pictures as large as these options draw can be enlarged beside the model,
 * whose weights stay. Exit status; close also after a failure. */
int enlarging_open(enlarging *, const draw_values *, const kiln_draw_options *, const kiln_model *,
                   const kiln_memory_plan *drawn);
/* Replace `count` pictures by larger ones. */
int enlarging_do(enlarging *, kiln_image **pictures, int count);
void enlarging_close(enlarging *);

#endif
