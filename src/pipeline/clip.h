/* clip.h - an open CLIP model, for what encodes pictures. Internal. */
#ifndef KILN_PIPELINE_CLIP_H
#define KILN_PIPELINE_CLIP_H

#include "image/image.h"
#include "pipeline/side_network.h"
#include "weights/probe_clip.h"

#include <kiln/vision.h>

struct kiln_clip {
    clip_parts *parts;
    plan_options plan;
    network vision, text;
    tokenizer *tokenizer; /* NULL: none was found */
};

/* clip_pixels.c: a picture as the encoder takes it. `pixels` has crop*crop*3 floats, rows from the top. */
kiln_status clip_pixels(const image *, const clip_preparation *, float *pixels, kiln_error *);

/* Run the vision encoder on pixels [size,size,3]. The outputs (clip_vision_output) are copied into a map of kind
 * "image" under their names. `cancel` may be NULL. */
kiln_status clip_encode_pixels(const kiln_clip *, const float *pixels, unsigned outputs,
                               const atomic_bool *cancel, kiln_map **out, kiln_error *);

#endif
