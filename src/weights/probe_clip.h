/* probe_clip.h - a CLIP model on disk: its vision encoder, and its text encoder where it has that half.
 *
 * Known layouts:
 *     folder        transformers: config.json, weights and preprocessor_config.json in one folder; or a diffusers folder
 *                   with image_encoder/ and feature_extractor/
 *     single file   transformers' names (ComfyUI's clip_vision files), or OpenCLIP's below "visual.", alone or within a
 *                   checkpoint (SD 2.1 unCLIP); the configuration is told from names and shapes */
#ifndef KILN_WEIGHTS_PROBE_CLIP_H
#define KILN_WEIGHTS_PROBE_CLIP_H

#include "model/clip_text.h"
#include "model/clip_vision.h"
#include "weights/binding.h"

/* How pictures are made ready, as preprocessor_config.json says or as CLIP was trained. */
typedef struct clip_preparation {
    int short_side;     /* resize so that the shorter side has this many pixels */
    bool exact;         /* resize to exactly short_side x short_side instead, whatever the shape */
    int crop;           /* then cut this square out of the middle */
    int filter;         /* PIL's number: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box */
    float mean[3];      /* of values in 0..1 */
    float deviation[3]; /* likewise */
} clip_preparation;

typedef struct clip_parts {
    const char *path;
    bool alone; /* nothing but a CLIP model: no part of a diffusion model is around it */
    bool has_text, has_scale;
    clip_vision_config vision;
    clip_text_config text;
    weights_place vision_place, text_place;
    float logit_scale; /* e to the power of this multiplies a cosine before a softmax */
    clip_preparation preparation;
    const char *tokenizer; /* folder, or NULL */
    struct clip_memory *memory;
} clip_parts;

/* Open it; only headers and configurations are read. `hints`: path of a hints file (see probe.h) or NULL; its fields
 * vision_heads, vision_activation, text_heads and text_activation count. KILN_NOT_FOUND when there is no vision encoder.
 * *out is freed with probe_clip_close: free weights bound to it first. */
kiln_status probe_clip_open(const char *path, const char *hints, clip_parts **out,
                            kiln_error *err) KILN_CHECKED;
void probe_clip_close(clip_parts *);

#endif
