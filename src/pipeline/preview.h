/* preview.h - a quick look at unfinished latents. Internal. */
#ifndef KILN_PIPELINE_PREVIEW_H
#define KILN_PIPELINE_PREVIEW_H

#include "pipeline/session.h"

/* Through the model's preview decoder (TAESD or VAE-approx) when one is open, else by a fixed colour matrix, one pixel
 * per latent. latents [C,height,width], as samplers have them. */
kiln_status preview_of(kiln_session *, const float *latents, int height, int width, kiln_image **out,
                       kiln_error *);

#endif
