/* sampler_dpm2.c - DPM2: a midpoint step whose midpoint is geometric in sigma (DPM-Solver-2, Lu et al.
 * 2022, arXiv:2206.00927, algorithm 1, on Karras' ODE), plain and ancestral. */
#include "diffusion/samplers.h"

#include <math.h>

/* From sigma down to `target` by the slope at the middle; straight down to 0, and from noise alone. */
static kiln_status midpoint(const sampling *s, float *x, float sigma, float target, const float *x0,
                            kiln_error *err)
{
    float *ahead = sampling_row(s, 2), *x0_ahead = sampling_row(s, 3);
    if (!(target > 0) || sampling_is_noise_alone(sigma)) {
        for (size_t k = 0; k < s->n; k++)
            x[k] = x[k] + (x[k] - x0[k]) / sigma * (target - sigma);
        return KILN_OK;
    }
    float from = logf(sigma), to = logf(target), middle = expf(from + 0.5f * (to - from));
    for (size_t k = 0; k < s->n; k++)
        ahead[k] = x[k] + (x[k] - x0[k]) / sigma * (middle - sigma);
    kiln_status status = sampling_denoise_at(s, ahead, middle, x0_ahead, err);
    if (status)
        return status;
    for (size_t k = 0; k < s->n; k++)
        x[k] = x[k] + (ahead[k] - x0_ahead[k]) / middle * (target - sigma);
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
            status = midpoint(s, x, sigma_hat, plan->sigmas[i + 1], x0, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_ancestral(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        renoise r = renoise_of(plan, sigma, next);
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (!status)
            status = midpoint(s, x, sigma, r.down, x0, err);
        if (!status)
            status = sampling_renoise(s, x, sigma, next, r, sampling_row(s, 1), err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    if (plan->config.prediction == PREDICTION_SAMPLE)
        return fail(err, KILN_UNSUPPORTED, "%s does not draw with a model that predicts the sample",
                    plan->row->label);
    kiln_status status = plan_plain_sigmas_of_config(plan, request, err);
    for (int i = 0; !status && plan->config.use_karras_sigmas && i < plan->count; i++)
        plan->timesteps[i] = rintf(plan->timesteps[i]);
    return status;
}

const sampler_method dpm2_folder = {plan_folder, run, 4, 0, false};
const sampler_method dpm2_a_folder = {plan_folder, run_ancestral, 4, 0, false};
const sampler_method dpm2_named = {plan_sigmas_of_curve, run, 4, EVERY_KIND, false};
const sampler_method dpm2_a_named = {plan_sigmas_of_curve, run_ancestral, 4, EVERY_KIND, false};
