/* repaint.h - keeping a part of a picture while the rest of it is drawn. Internal.
 *
 * Two ways, for the two views of samplers (diffusion/sampler.h):
 *
 *   REPAINT_NOISED    diffusers': after each step the kept part is put back as the image at that step's noise level
 *   REPAINT_DENOISED  k-diffusion's, as A1111 uses it: what the network takes the finished picture to be is the image
 *                     itself where it is kept, so that every sampler, whatever its order, heads for it
 *
 * Soft inpainting makes the mask a strength of its own for each pixel: a latent of mask m is drawn by m^(scale sigma^bias)
 * at the noise level sigma, and two latents are mixed by length as well as by direction, since a plain mean of two
 * noises is a weaker noise, which shows as blur. The rules are those that the six controls of A1111's "Soft
 * inpainting" describe. */
#ifndef KILN_PIPELINE_REPAINT_H
#define KILN_PIPELINE_REPAINT_H

#include "diffusion/sampler.h"

typedef enum repaint_way { REPAINT_NOISED, REPAINT_DENOISED } repaint_way;

typedef struct soft_inpainting {
    float bias;     /* schedule bias: above 1 draws more early in the schedule */
    float scale;    /* preservation strength */
    float contrast; /* transition contrast boost: the exponent of the lengths' mean, >= 1 */
} soft_inpainting;

typedef struct repaint {
    repaint_way way;
    const float *mask;           /* [h,w], 0..1: 1 is drawn, 0 is kept */
    const float *image, *noise;  /* [C,h,w]: latents of the picture; noise is needed for REPAINT_NOISED */
    const soft_inpainting *soft; /* NULL: the mask as it is; only with REPAINT_DENOISED */
    size_t positions;            /* h w */
    int channels;
} repaint;

/* Put the image into the network's raw output where it is kept. x: what the network saw (variance preserving, [C,h,w]), of
 * noise level sigma. */
void repaint_output(const repaint *, const sampler_plan *, const float *x, float sigma, float *output);
/* After step `step` (from 1) of the plan, with REPAINT_NOISED; else nothing. */
void repaint_step(const repaint *, const sampler_plan *, int step, float *x, float *scratch);
/* When all is done: what is wholly kept is the image's latent exactly. */
void repaint_finish(const repaint *, float *x);

#endif
