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

/* Split the way from one level to the next into a step down and noise up again. */
void ancestral_step(float from, float to, double eta, float *down, float *up);

#endif
