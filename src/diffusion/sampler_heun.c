/* sampler_heun.c - Heun: Karras et al. 2022, arXiv:2206.00364, algorithm 2. Two evaluations per step: the
 * slope at both ends is averaged; the last step, down to 0, is Euler's. */
#include "diffusion/samplers.h"

static kiln_status step(const sampling *s, float *x, int i, float sigma_hat, float *x0, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *slope = sampling_row(s, 1), *ahead = sampling_row(s, 2), *x0_ahead = sampling_row(s, 3);
    float next = plan->sigmas[i + 1], dt = next - sigma_hat;
    for (size_t k = 0; k < s->n; k++) {
        slope[k] = (x[k] - x0[k]) / sigma_hat;
        ahead[k] = x[k] + slope[k] * dt;
    }
    if (next > 0 && !sampling_is_noise_alone(sigma_hat)) {
        kiln_status status = i + 1 < plan->count ? sampling_denoise(s, ahead, i + 1, x0_ahead, err)
                                                 : sampling_denoise_at(s, ahead, next, x0_ahead, err);
        if (status)
            return status;
        for (size_t k = 0; k < s->n; k++) {
            float mean = (slope[k] + (ahead[k] - x0_ahead[k]) / next) / 2;
            ahead[k] = x[k] + mean * dt;
        }
    }
    for (size_t k = 0; k < s->n; k++)
        x[k] = ahead[k];
    return KILN_OK;
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma_hat;
        kiln_status status = sampling_churn(s, x, i, noise, &sigma_hat, err);
        if (!status)
            status = sigma_hat == plan->sigmas[i] ? sampling_denoise(s, x, i, x0, err)
                                                  : sampling_denoise_at(s, x, sigma_hat, x0, err);
        if (!status)
            status = step(s, x, i, sigma_hat, x0, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    bool clip = plan->config.clip_sample; /* the one class of this family that knows it */
    kiln_status status = plan_plain_sigmas_of_config(plan, request, err);
    plan->config.clip_sample = clip;
    return status;
}

const sampler_method heun_folder = {plan_folder, run, 4, 0, false};
const sampler_method heun_named = {plan_sigmas_of_curve, run, 4, EVERY_KIND, false};
