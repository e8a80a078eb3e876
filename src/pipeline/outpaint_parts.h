/* outpaint_parts.h - one call of kiln_outpaint under way. Internal to outpaint*.c. */
#ifndef KILN_PIPELINE_OUTPAINT_PARTS_H
#define KILN_PIPELINE_OUTPAINT_PARTS_H

#include "pipeline/inpaint.h"
#include "pipeline/outpaint.h"
#include "pipeline/words.h"

#include <kiln/edit.h>

enum { KNOWN_NOT, KNOWN_DRAWN, KNOWN_PICTURE };

typedef struct outpainting {
    kiln_session *session;
    const kiln_outpaint_options *options;
    words words;
    outpaint_plan plan; /* of the present round */
    image *canvas;
    unsigned char *known; /* [height, width] of the canvas */
    int index, windows;   /* of the batch; windows drawn for this picture */
    kiln_progress_function progress;
    void *progress_self;
} outpainting;

static inline unsigned char *known_at(const outpainting *p, int x, int y)
{
    return p->known + (size_t)y * (size_t)p->plan.width + (size_t)x;
}

/* Where a window's start comes from. */
typedef struct outpaint_start {
    const outpainting *outpainting;
    mask_box window, around;
    uint64_t seed;
} outpaint_start;

/* outpaint_open.c: check the options, encode the words. Close also after a failure. */
kiln_status outpaint_open(outpainting *, kiln_error *);
void outpaint_close(outpainting *);
/* The canvas of a picture, and its windows. */
kiln_status outpaint_make_plan(outpainting *, const image *picture, kiln_error *);

/* outpaint_fill.c: an inpaint_fill, with an outpaint_start. */
kiln_status outpaint_fill(const void *self, const inpainting *, float *start, kiln_error *);
/* recipe_inpaint.c: the infotext of the whole, by the last window's drawing. free(). */
kiln_status outpaint_recipe(const outpainting *, work *, char **text, kiln_error *);

#endif
