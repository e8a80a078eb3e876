/* sampler_euler.c - Euler: Karras et al. 2022, arXiv:2206.00364, algorithm 2 without the second-order
 * correction.
 *
 *     d = (x - x_0) / sigma        x' = x + (sigma' - sigma) d
 */
#include "diffusion/samplers.h"

kiln_status run_euler(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma_hat;
        kiln_status status = sampling_churn(s, x, i, noise, &sigma_hat, err);
        if (!status)
            status = sigma_hat == plan->sigmas[i] ? sampling_denoise(s, x, i, x0, err)
                                                  : sampling_denoise_at(s, x, sigma_hat, x0, err);
        if (status)
            return status;
        float dt = plan->sigmas[i + 1] - sigma_hat;
        for (size_t k = 0; k < s->n; k++)
            x[k] = x[k] + (x[k] - x0[k]) / sigma_hat * dt;
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->config.clip_sample = plan->config.thresholding = false;
    return plan_sigmas_of_config(plan, request, err);
}

const sampler_method euler_folder = {plan_folder, run_euler, EULER_ROWS, 0, false};
const sampler_method euler_named = {plan_sigmas_of_curve, run_euler, EULER_ROWS, EVERY_KIND, false};
