/* sampler_dpmpp_sde.c - single-step DPM-Solver++ with noise (Lu et al. 2022, arXiv:2211.01095, algorithm
 * 1, on the ancestral split of the step; t = -log sigma):
 *
 *   2S a   a second-order step to sigma_down, then noise up to the next level
 *   SDE    noise in both halves of the step, from a Brownian path */
#include "diffusion/samplers.h"

#include <math.h>

/* x at level `to` from x at `from` with the prediction d. */
static void exponential_step(const float *x, const float *d, float from, float to, float *out, size_t n)
{
    float of_x = to / from, of_d = -expm1f(-(logf(from) - logf(to)));
    for (size_t k = 0; k < n; k++)
        out[k] = of_x * x[k] + of_d * d[k];
}

static float halfway(float from, float to)
{
    return expf((logf(from) + logf(to)) / 2);
}

static kiln_status run_2s_ancestral(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1), *ahead = sampling_row(s, 2);
    float *x0_ahead = sampling_row(s, 3);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        renoise r = renoise_of(plan, sigma, next);
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (!status && r.down > 0) {
            float middle = halfway(sigma, r.down);
            exponential_step(x, x0, sigma, middle, ahead, s->n);
            status = sampling_denoise_at(s, ahead, middle, x0_ahead, err);
            if (!status)
                exponential_step(x, x0_ahead, sigma, r.down, x, s->n);
        } else if (!status) {
            for (size_t k = 0; k < s->n; k++)
                x[k] = x[k] + (x[k] - x0[k]) / sigma * (r.down - sigma);
        }
        if (!status)
            status = sampling_renoise(s, x, sigma, next, r, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* With r = 1/2 the second prediction alone drives the whole step. */
static kiln_status sde_step(const sampling *s, float *x, float sigma, float next, const float *x0,
                            kiln_error *err)
{
    float *noise = sampling_row(s, 1), *ahead = sampling_row(s, 2), *x0_ahead = sampling_row(s, 3);
    float middle = halfway(sigma, next), down, up;
    ancestral_step(sigma, middle, s->plan->eta, &down, &up);
    exponential_step(x, x0, sigma, down, ahead, s->n);
    kiln_status status = sampling_add_noise(s, ahead, sigma, middle, up, noise, err);
    if (!status)
        status = sampling_denoise_at(s, ahead, middle, x0_ahead, err);
    if (status)
        return status;
    ancestral_step(sigma, next, s->plan->eta, &down, &up);
    exponential_step(x, x0_ahead, sigma, down, x, s->n);
    return sampling_add_noise(s, x, sigma, next, up, noise, err);
}

static kiln_status run_sde(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (!status && next > 0)
            status = sde_step(s, x, sigma, next, x0, err);
        for (size_t k = 0; !status && !(next > 0) && k < s->n; k++)
            x[k] = x[k] + (x[k] - x0[k]) / sigma * (next - sigma);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* diffusers' DPMSolverSDEScheduler: the same steps on the levels of the config, always with eta 1. */
static kiln_status plan_sde_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    if (plan->config.prediction == PREDICTION_SAMPLE)
        return fail(err, KILN_UNSUPPORTED, "DPM++ SDE does not draw with a model that predicts the sample");
    plan->eta = 1;
    kiln_status status = plan_plain_sigmas_of_config(plan, request, err);
    return status ? status : plan_require_falling(plan, err);
}

const sampler_method dpmpp_sde_folder = {plan_sde_folder, run_sde, 4, 0, false};
const sampler_method dpmpp_2s_a_named = {plan_sigmas_of_curve, run_2s_ancestral, 4, EVERY_KIND, false};
const sampler_method dpmpp_sde_named = {plan_sigmas_of_curve, run_sde, 4, EVERY_KIND, true};
