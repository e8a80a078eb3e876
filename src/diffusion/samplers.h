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
extern const sampler_method edm_euler_folder, edm_dpm_folder;
extern const sampler_method dpm_singlestep_folder, deis_folder, sa_solver_folder, ipndm_folder;
extern const sampler_method euler_cfg_pp_named, euler_a_cfg_pp_named, dpmpp_2s_a_cfg_pp_named;
extern const sampler_method dpmpp_2m_cfg_pp_named, ddim_cfg_pp_named;
extern const sampler_method res_multistep_named, res_multistep_a_named;
extern const sampler_method res_multistep_cfg_pp_named, res_multistep_a_cfg_pp_named;
extern const sampler_method gradient_named, gradient_cfg_pp_named, er_sde_named, restart_named;
extern const sampler_method seeds_2_named, seeds_3_named, exp_heun_named, exp_heun_sde_named;
extern const sampler_method heunpp_named, ipndm_named, ipndm_v_named, deis_named, ddpm_named;
extern const sampler_method unipc_named, unipc_bh2_named, unipc_curve_named, unipc_curve_bh2_named;
extern const sampler_method ddim_a1111_named;
/* CompVis' timesteps without the last. */
kiln_status plan_compvis_a1111(sampler_plan *plan, const sampler_request *request, kiln_error *err);
extern const sampler_method sa_solver_named, sa_solver_pece_named;
extern const sampler_method tcd_folder, tcd_named, ddim_inverse_folder, dpmpp_sde_folder;
extern const sampler_method dpm_fast_named, dpm_adaptive_named;

/* The loops of these, for plans of other classes. */
kiln_status run_euler(const sampling *s, float *x, kiln_error *err);
kiln_status run_dpm_multistep(const sampling *s, float *x, kiln_error *err);
enum { EULER_ROWS = 2, DPM_MULTISTEP_ROWS = 5 };

/* A noise level in VP terms: x = alpha x_0 + sigma noise, lambda = log(alpha / sigma). */
typedef struct vp_level {
    float alpha, sigma, lambda;
} vp_level;
vp_level vp_level_of(float sigma);
/* The same of a level of the plan, whose latents are VP, VE or flow by its schedule. */
vp_level plan_level(const sampler_plan *plan, float sigma);
/* Evaluate the network at step i. m gets x_0 or the noise, by the config's algorithm; x0 gets x_0. */
kiln_status multistep_predict(const sampling *s, const float *x, int i, float *m, float *x0, kiln_error *err);

/* x' = x x + d0 D_0 + d1 D_1 + d2 D_2 + noise z: one step of the DPM solvers. */
typedef struct dpm_weights {
    float x, d0, d1, d2, noise;
} dpm_weights;
dpm_weights dpm_weights_of(dpm_algorithm algorithm, vp_level from, vp_level to, bool midpoint);
bool dpm_of_data(dpm_algorithm algorithm);
bool dpm_is_sde(dpm_algorithm algorithm);
/* Weights of Adams and Bashforth for even steps, newest first; order 1 to 4. */
void adams_bashforth(int order, float w[4]);
/* LCM and TCD: timesteps of the distillation. */
kiln_status plan_distilled(sampler_plan *plan, const sampler_request *request, kiln_error *err);
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
