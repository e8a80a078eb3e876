/* guidance.h - join the network's answers with and without the prompt. */
#ifndef KILN_DIFFUSION_GUIDANCE_H
#define KILN_DIFFUSION_GUIDANCE_H

#include <stddef.h>

/* out = without + scale (with - without): classifier-free guidance (Ho and Salimans 2022,
 * arXiv:2207.12598). n elements each; `out` may be an input. */
void guide(const float *with, const float *without, float scale, float *out, size_t n);

/* Bring the guided answer back to the spread of the one with the prompt, and mix: Lin et al. 2023,
 * arXiv:2305.08891, section 3.4. `rescale` 0 changes nothing, 1 is the whole correction, 0.7 is usual.
 * `guided` is changed; n elements of one image. */
void guide_rescale(float *guided, const float *with, float rescale, size_t n);

#endif
