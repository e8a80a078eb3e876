/* sampler_euler_a.c - Euler ancestral: an Euler step below the next level, then noise up to it (the
 * ancestral sampling of Ho et al. 2020, arXiv:2006.11239, algorithm 2, in Karras' terms):
 *
 *     sigma_up^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2      sigma_down^2 = sigma'^2 - sigma_up^2
 *
 * Flow matching, as ComfyUI does it: sigma_down = sigma' (1 + eta (sigma'/sigma - 1)), then x is scaled so that
 * its signal is 1 - sigma', and the noise fills up to sigma'. */
#include "diffusion/samplers.h"

#include <math.h>

void ancestral_step(float from, float to, double eta, float *down, float *up)
{
    *down = to;
    *up = 0;
    if (!(eta > 0))
        return;
    float full = sqrtf(to * to * (from * from - to * to) / (from * from));
    *up = fminf(to, (float)eta * full);
    *down = sqrtf(to * to - *up * *up);
}

renoise renoise_of(const sampler_plan *plan, float from, float to)
{
    renoise r = {.down = to, .scale = 1};
    if (plan->schedule->kind != SCHEDULE_FLOW || plan->flow_as_ve) {
        ancestral_step(from, to, plan->eta, &r.down, &r.up);
        return r;
    }
    if (!(plan->eta > 0))
        return r;
    r.down = to * (1 + (to / from - 1) * (float)plan->eta);
    r.scale = (1 - to) / (1 - r.down);
    r.up = sqrtf(fmaxf(to * to - r.down * r.down * r.scale * r.scale, 0));
    return r;
}

kiln_status sampling_renoise(const sampling *s, float *x, float from, float to, renoise r, float *noise,
                             kiln_error *err)
{
    for (size_t k = 0; r.scale != 1 && k < s->n; k++)
        x[k] *= r.scale;
    return sampling_add_noise(s, x, from, to, r.up, noise, err);
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        renoise r = renoise_of(plan, sigma, next);
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        float dt = r.down - sigma;
        for (size_t k = 0; k < s->n; k++)
            x[k] = x[k] + (x[k] - x0[k]) / sigma * dt;
        status = sampling_renoise(s, x, sigma, next, r, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    if (config->prediction == PREDICTION_SAMPLE)
        return fail(err, KILN_UNSUPPORTED, "Euler a does not draw with a model that predicts the sample");
    config->use_karras_sigmas = config->use_exponential_sigmas = config->use_beta_sigmas = false;
    return plan_plain_sigmas_of_config(plan, request, err);
}

const sampler_method euler_a_folder = {plan_folder, run, 2, 0, false};
const sampler_method euler_a_named = {plan_sigmas_of_curve, run, 2, EVERY_KIND, false};
