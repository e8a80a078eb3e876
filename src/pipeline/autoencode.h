/* autoencode.h - pictures to latents and back, through the model's VAE. Internal.
 *
 * Latents here are what samplers work on: [C,h,w] (the order in which torch draws noise for them), scaled by the VAE's
 * scaling factor. Pictures are [H,W,3] in -1..1. */
#ifndef KILN_PIPELINE_AUTOENCODE_H
#define KILN_PIPELINE_AUTOENCODE_H

#include "pipeline/session.h"

/* Latent size of a picture size. */
int autoencode_factor(const kiln_model *);

/* Whether the VAE is one for RGB pictures: nothing else is handled here. */
kiln_status autoencode_check(const kiln_model *, kiln_error *);

/* memory.c: whether there is memory to decode latents, or to encode a picture, of that size; KILN_NO_MEMORY with the figure
 * when not. *tile_px: 0 for the whole at once, else by tiles. */
kiln_status memory_check_decode(kiln_session *, int latent_height, int latent_width, int *tile_px,
                                kiln_error *);
kiln_status memory_check_encode(kiln_session *, int height_px, int width_px, kiln_error *);

/* latents = (mean + exp(logvar/2) * noise) scaled; noise NULL takes the mean. noise and latents [C,h,w]. */
kiln_status autoencode_encode(kiln_session *, const float *picture, int height_px, int width_px,
                              const float *noise, float *latents, kiln_error *);

/* tile_px 0: the whole at once. Tiles overlap by a quarter and are blended linearly. */
int autoencode_tile(const kiln_model *, int tile_px,
                    int side); /* the side of a tile, in latents, in a map that has `side` */
kiln_status autoencode_decode(kiln_session *, const float *latents, int height, int width, int tile_px,
                              float *picture, kiln_error *);

/* [C,positions] to [positions, stride] (C <= stride: the rest is left alone), and back. */
void channels_last(const float *from, int64_t channels, int64_t positions, int64_t stride, float *to);
void channels_first(const float *from, int64_t channels, int64_t positions, float *to);

#endif
