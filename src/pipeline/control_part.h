/* control_part.h - control pictures of a drawing that is a part of a larger picture: each part gets its own part of them.
 * Internal.
 *
 * A control picture is over the whole of the picture that is worked on (inpainted, the canvas of an outpainting, the result
 * of diffusion upscaling), whatever its own size is. */
#ifndef KILN_PIPELINE_CONTROL_PART_H
#define KILN_PIPELINE_CONTROL_PART_H

#include "kiln/vision.h"
#include "pipeline/region.h"

typedef struct control_part {
    kiln_control controls[KILN_MAX_CONTROLS];
    kiln_image *pictures[KILN_MAX_CONTROLS]; /* owned; NULL where the given one serves */
} control_part;

/* The options' control pictures at width x height, so that parts of them need no scaling. */
kiln_status control_part_fit(control_part *, const kiln_draw_options *, int width, int height, kiln_error *);
/* What lies in the region of a picture of width x height, at the size that the region is drawn at where a pixel stays a
 * pixel; beyond the picture the edge goes on. */
kiln_status control_part_cut(control_part *, const kiln_draw_options *, int width, int height, const region *,
                             kiln_error *);
/* Set the options to them; the part must outlive these. Options that are to be refused stay as they are. */
void control_part_give(const control_part *, kiln_draw_options *);
/* Also after a failure. */
void control_part_free(control_part *);

#endif
