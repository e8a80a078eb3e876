/* outpaint.h - which windows an outpainting draws, one after the other. Internal.
 *
 * A canvas has a rectangle that is known and margins that are not. Each side in turn (left, right, up, down: A1111's order)
 * is gone out by strips of at most `step` pixels; a strip is drawn in windows of the model's size along it that overlap by
 * a quarter. A window draws whatever it holds that is not known yet, so that the next one sees it. */
#ifndef KILN_PIPELINE_OUTPAINT_H
#define KILN_PIPELINE_OUTPAINT_H

#include "image/mask.h"

typedef struct outpaint_plan {
    int width, height; /* of the canvas, px */
    mask_box known;    /* at the beginning; grows as windows are taken */
    int window_width, window_height;
    int step; /* px that a strip goes out at most */
    int alignment; /* px: a window begins so many pixels or a multiple before the seam, for latents to begin there too */
} outpaint_plan;

/* The next window, inside the canvas, when `taken` (0 at first) counts those already given for the present strip; *around:
 * the rectangle known before the strip. False when all is known. Call with the same plan until then. */
typedef struct outpaint_walk {
    outpaint_plan plan;
    int side, tile, tiles; /* of the present strip */
    mask_box strip;
} outpaint_walk;

void outpaint_walk_begin(outpaint_walk *, const outpaint_plan *);
bool outpaint_walk_next(outpaint_walk *, mask_box *window, mask_box *around);
/* How many windows there will be. */
int outpaint_walk_count(const outpaint_plan *);

#endif
