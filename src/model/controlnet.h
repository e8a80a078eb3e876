/* controlnet.h - a network that steers the UNet by a picture (Zhang et al. 2023, arXiv:2302.05543): a copy of the UNet's
 * way down, told of the picture by a small encoder, whose skips go out through 1x1 convolutions.
 *
 * Parameters carry diffusers' names (canonical) and those of the authors' code (original, without the prefix
 * CONTROLNET_ORIGINAL_PREFIX). */
#ifndef KILN_MODEL_CONTROLNET_H
#define KILN_MODEL_CONTROLNET_H

#include "model/unet.h"

#define CONTROLNET_ORIGINAL_PREFIX "control_model."

enum { CONTROLNET_MAX_HINT = 8 };

typedef struct controlnet_config {
    unet_config unet; /* what is said of the way up counts for nothing */
    int hint_channels, hint_levels, hint[CONTROLNET_MAX_HINT]; /* the picture's, and the encoder's widths */
    bool bgr;         /* the picture's channels are taken in reverse */
    bool global_pool; /* each output is its mean over the picture (shuffle models) */
} controlnet_config;

/* Pixels of the picture to one latent: the encoder halves it between its levels. */
int controlnet_factor(const controlnet_config *);
/* How many outputs "control_<i>" there are. */
int controlnet_outputs(const controlnet_config *);

/* Read diffusers' config.json. */
kiln_status controlnet_config_parse(const char *json, size_t length, const char *name, controlnet_config *out,
                                    kiln_error *err);
/* Tell the configuration from the tensors, named as diffusers names them or (`original`) by the authors, without a
 * prefix. KILN_NOT_FOUND when there is none. */
kiln_status controlnet_config_from_tensors(const tensor_finder *, bool original, const unet_hints *,
                                           controlnet_config *out, kiln_error *err);

/* Draw the picture's encoder: it runs once for a drawing. height and width are those of the latents.
 *   input    hint [1,h*factor,w*factor,hint_channels] in 0..1
 *   output   hint_embedding [1,h,w,C] */
void controlnet_draw_hint(graph *, const controlnet_config *, int height, int width);

/* Draw the rest.
 *   inputs    those of unet_draw, and hint_embedding [N,h,w,C]
 *   outputs   control_<i>, shaped like the skip that the UNet's way down leaves i-th, and control_mid, which is the last */
void controlnet_draw(graph *, const controlnet_config *, const unet_shape *);

#endif
