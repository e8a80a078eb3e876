/* hires.h - the second, larger pass of a drawing (A1111's "Hires. fix"). Internal.
 *
 * The first pass's latents are enlarged as they are, or its picture by an upscaler and encoded again; then hires_steps
 * steps at hires_strength are drawn on them with the same words and the same seed. */
#ifndef KILN_PIPELINE_HIRES_H
#define KILN_PIPELINE_HIRES_H

#include "pipeline/work.h"

#include <kiln/upscale.h>

typedef struct hires {
    const kiln_draw_options *options; /* the drawing's */
    kiln_draw_options draw;           /* those of the second pass */
    work work;
    kiln_upscaler *upscaler;    /* NULL: latents are enlarged */
    kiln_memory_plan enlarging; /* what the upscaler takes beside the first pass's networks */
    float *latents, *pixels;    /* what the second pass starts from, one of them */
} hires;

bool hires_wanted(const kiln_draw_options *);
/* Check, and find it to fit; `first` is open. Close also after a failure. */
kiln_status hires_open(hires *, const work *first, kiln_error *);
/* What the second pass takes of memory put into *joined, that of the first: whichever needs more counts. */
kiln_status hires_plan(kiln_session *, const request *first, kiln_memory_plan *joined, kiln_error *);
/* After `first` is prepared. */
kiln_status hires_prepare(hires *, const work *first, kiln_error *);
/* From the first pass's latents x of picture `index` to those of the second, in y (work.n elements). */
kiln_status hires_draw(hires *, work *first, int index, const float *x, float *y, kiln_error *);
void hires_close(hires *);

/* The recipe's fields of it. */
struct infotext;
void hires_add_fields(const void *options, struct infotext *);
void hires_read_fields(const kiln_recipe *, kiln_draw_options *);

#endif
