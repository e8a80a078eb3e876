/* prediction.h - what the network's output means, both ways: to x_0 and noise when drawing, from them when
 * training. One place, so that the two cannot disagree.
 *
 * Two ways to write the noisy latent (see schedule.h): VP, x = alpha x_0 + sigma_vp noise with
 * alpha^2 + sigma_vp^2 = 1, and VE, x = x_0 + sigma noise. All arrays have n elements; `out` may be an
 * input. */
#ifndef KILN_DIFFUSION_PREDICTION_H
#define KILN_DIFFUSION_PREDICTION_H

#include "diffusion/schedule.h"

/* x_0 from the output of the network at a VE latent x of noise level sigma > 0; PREDICTION_FLOW: at the flow
 * latent (1 - sigma) x_0 + sigma noise. */
void prediction_to_x0_ve(prediction_type type, const float *x, const float *output, float sigma, float *out,
                         size_t n);

/* x_0 and noise from the output at a VP latent whose signal share is alpha_bar. Either out may be NULL. */
void prediction_to_x0_vp(prediction_type type, const float *x, const float *output, float alpha_bar,
                         float *x0, float *noise, size_t n);

/* What the network should give for a training pair: the noise, the velocity
 * sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0, x_0, or noise - x_0. */
void prediction_target(prediction_type type, const float *x0, const float *noise, float alpha_bar, float *out,
                       size_t n);

/* sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise. */
void add_noise_vp(const float *x0, const float *noise, float alpha_bar, float *out, size_t n);
/* x_0 + sigma noise. */
void add_noise_ve(const float *x0, const float *noise, float sigma, float *out, size_t n);

/* The quantile `ratio` (0..1) of |x|; n > 0. `scratch` has n elements. */
float magnitude_quantile(const float *x, double ratio, float *scratch, size_t n);

/* Limit x_0: to [-range, range], or by the quantile `ratio` of |x_0| (dynamic thresholding, Saharia et
 * al. 2022, arXiv:2205.11487, section 2.3), the quantile itself held between 1 and most. `scratch` has n
 * elements. */
void clip_x0(float *x0, float range, size_t n);
void threshold_x0(float *x0, double ratio, double most, float *scratch, size_t n);

#endif
