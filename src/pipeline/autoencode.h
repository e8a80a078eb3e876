/* autoencode.h - pictures to latents and back, through the model's VAE. Internal.
 *
 * Latents here are what samplers work on: [C,h,w] (the order in which torch draws noise for them), scaled by the VAE's
 * scaling factor. Pictures are [H,W,3] in -1..1. */
#ifndef KILN_PIPELINE_AUTOENCODE_H
#define KILN_PIPELINE_AUTOENCODE_H

#include "pipeline/session.h"

/* Latent size of a picture size. */
int autoencode_factor(const kiln_model *);

/* latents = (mean + exp(logvar/2) * noise) scaled; noise NULL takes the mean. noise and latents [C,h,w]. */
kiln_status autoencode_encode(kiln_session *, const float *picture, int height_px, int width_px, const float *noise, float *latents, kiln_error *);

/* tile_px 0: the whole at once. Tiles overlap by a quarter and are blended linearly. */
kiln_status autoencode_decode(kiln_session *, const float *latents, int height, int width, int tile_px, float *picture, kiln_error *);

/* [C,positions] to [positions, stride] (C <= stride: the rest is left alone), and back. */
void channels_last(const float *from, int64_t channels, int64_t positions, int64_t stride, float *to);
void channels_first(const float *from, int64_t channels, int64_t positions, float *to);

#endif
