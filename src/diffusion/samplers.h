/* samplers.h - the methods of all sampler_*.c files, for sampler_table.c, and what they share. */
#ifndef KILN_DIFFUSION_SAMPLERS_H
#define KILN_DIFFUSION_SAMPLERS_H

#include "diffusion/sampling.h"

extern const sampler_method ddim_folder, ddim_named;
extern const sampler_method pndm_folder, plms_named;
extern const sampler_method euler_folder, euler_named;
extern const sampler_method euler_a_folder, euler_a_named;
extern const sampler_method heun_folder, heun_named;
extern const sampler_method dpm_multistep_folder, dpmpp_2m_named;
extern const sampler_method ddpm_folder, lcm_folder, lcm_named;
extern const sampler_method lms_folder, dpm2_folder, dpm2_a_folder;
extern const sampler_method lms_named, dpm2_named, dpm2_a_named;
extern const sampler_method dpmpp_2s_a_named, dpmpp_sde_named;
extern const sampler_method dpmpp_2m_sde_named, dpmpp_2m_sde_heun_named, dpmpp_3m_sde_named;

extern const sampler_method unipc_folder;
extern const sampler_method flow_euler_folder, flow_heun_folder;

/* A noise level in VP terms: x = alpha x_0 + sigma noise, lambda = log(alpha / sigma). */
typedef struct vp_level {
    float alpha, sigma, lambda;
} vp_level;
vp_level vp_level_of(float sigma);
/* The network's output (in m) to x_0 or noise, by the config's algorithm; x0 gets x_0 in any case. */
void multistep_convert(const sampling *s, const float *x, int i, float *m, float *x0);
/* Spacing and levels of the multistep family: DPM-Solver, UniPC. */
kiln_status plan_multistep_levels(sampler_plan *plan, const sampler_request *request, kiln_error *err);

/* Split the way from one level to the next into a step down and noise up again. */
void ancestral_step(float from, float to, double eta, float *down, float *up);
/* The same for the plan's eta, in the plan's coordinates: after the step to `down`, x is scaled and `up` times
 * noise is added. */
typedef struct renoise {
    float down, scale, up;
} renoise;
renoise renoise_of(const sampler_plan *plan, float from, float to);
kiln_status sampling_renoise(const sampling *s, float *x, float from, float to, renoise r, float *noise,
                             kiln_error *err);

#endif
