/* sampler_edm.c - models of the EDM kind (Karras et al. 2022, arXiv:2206.00364, table 1, last column) as
 * diffusers configures them: their own levels between sigma_min and sigma_max, then Euler or the multistep
 * DPM-Solver++ on VE latents. */
#include "diffusion/samplers.h"

#include "diffusion/linspace.h"

#include <math.h>

static kiln_status plan_edm(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    const schedule_config *config = &plan->schedule->config;
    kiln_status status = plan_reserve(plan, plan->steps, err);
    if (status)
        return status;
    double low = config->sigma_min, high = config->sigma_max;
    for (int i = 0; i < plan->count; i++) {
        double ramp = linspace_f64(0, 1, plan->count, i);
        double sigma = config->edm_sigmas == EDM_KARRAS ? sigma_karras(low, high, config->rho, ramp)
                                                        : exp(log(high) + ramp * (log(low) - log(high)));
        plan->sigmas[i] = (float)sigma;
        plan->timesteps[i] = 0.25f * logf(plan->sigmas[i]);
    }
    plan->sigmas[plan->count] = config->final_sigmas == FINAL_SIGMA_MIN ? plan->sigmas[plan->count - 1] : 0;
    plan->init_noise_sigma = (float)sqrt(high * high + 1);
    return plan_begin_folder(plan, request, err);
}

static kiln_status plan_edm_euler(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->config.clip_sample = plan->config.thresholding = false;
    return plan_edm(plan, request, err);
}

static kiln_status plan_edm_dpm(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->config.clip_sample = false;
    if (!dpm_of_data(plan->config.algorithm))
        return fail(err, KILN_UNSUPPORTED, "EDM DPM++ 2M solves for x_0 only: algorithm_type dpmsolver++");
    return plan_edm(plan, request, err);
}

const sampler_method edm_euler_folder = {plan_edm_euler, run_euler, EULER_ROWS, 1 << SCHEDULE_EDM, false};
const sampler_method edm_dpm_folder = {plan_edm_dpm, run_dpm_multistep, DPM_MULTISTEP_ROWS, 1 << SCHEDULE_EDM,
                                       false};
