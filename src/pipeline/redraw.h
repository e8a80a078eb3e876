/* redraw.h - one call of kiln_redraw under way. Internal to redraw*.c. */
#ifndef KILN_PIPELINE_REDRAW_H
#define KILN_PIPELINE_REDRAW_H

#include "pipeline/control_part.h"
#include "pipeline/upscale.h"
#include "pipeline/words.h"
#include "pipeline/work.h"

#include <kiln/edit.h>
typedef struct redrawing {
    kiln_session *session;
    const kiln_redraw_options *options;
    int to_width, to_height;     /* px asked for */
    int width, height;           /* px drawn: the same, or four times the picture with an x4 upscaler */
    int factor;                  /* from the tiles' picture to what is drawn: 1 or 4 */
    int tile_width, tile_height; /* px drawn */
    int overlap;
    float low_alpha;         /* x4 upscaler: alpha_bar of the noise in the small picture */
    kiln_upscaler *upscaler; /* owned */
    control_part controls;   /* control pictures at the size of the result */
    words words;
    const image *from; /* what tiles are drawn from; borrowed */
    float *sum, *weight;
} redrawing;

/* redraw_open.c: check the options, choose sizes, open the upscaler. Close also after a failure. */
kiln_status redraw_open(redrawing *, kiln_error *);
void redraw_close(redrawing *);
/* What all of it takes of memory; KILN_NO_MEMORY when it cannot fit. */
kiln_status redraw_plan(redrawing *, kiln_memory_plan *, kiln_error *);
/* What enlarges, and to what. */
kiln_upscale_options redraw_enlarging(const redrawing *);
/* The tile [h,w,3] as an x4 upscaler's [3,h,w]; free(). */
kiln_status redraw_low(const redrawing *, const region *, const float *tile, float **out, kiln_error *);
/* The infotext of the whole. free(). */
kiln_status redraw_recipe(const redrawing *, char **text, kiln_error *);

#endif
