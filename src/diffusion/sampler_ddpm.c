/* sampler_ddpm.c - DDPM: Ho et al. 2020, arXiv:2006.11239, algorithm 2, eq. 7 (the mean) and 6 (the
 * variance), over a subset of the timesteps: the step goes to the next of the list, the last to alpha_bar
 * = 1. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>

static float spread_of(ddpm_variance kind, float a, float next)
{
    float beta = 1 - a / next, small = fmaxf((1 - next) / (1 - a) * beta, 1e-20f);
    return kind == DDPM_FIXED_LARGE ? sqrtf(beta) : sqrtf(small);
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, 0), *x0 = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        int t = (int)plan->timesteps[i], t_next = i + 1 < plan->count ? (int)plan->timesteps[i + 1] : -1;
        float a = schedule_alpha_bar(plan->schedule, t, 1),
              next = schedule_alpha_bar(plan->schedule, t_next, 1);
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
        if (status)
            return status;
        prediction_to_x0_vp(plan->config.prediction, x, output, a, x0, NULL, s->n);
        sampling_limit_x0(s, x0);
        float beta = 1 - a / next, of_x0 = sqrtf(next) * beta / (1 - a);
        float of_x = sqrtf(a / next) * (1 - next) / (1 - a);
        for (size_t k = 0; k < s->n; k++)
            x[k] = of_x0 * x0[k] + of_x * x[k];
        if (t > 0)
            status = sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1],
                                        spread_of(plan->config.variance, a, next), output, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->config.set_alpha_to_one = true;
    return plan_vp_of_config(plan, request, err);
}

/* Named view (ComfyUI), in VE terms: the posterior q(x' | x, x_0), of mean x_0 + (sigma'/sigma)^2 (x - x_0) and
 * variance sigma'^2 (1 - (sigma'/sigma)^2). */
static kiln_status run_named(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], ratio = next / sigma;
        float of_x = ratio * ratio, up = next * sqrtf(1 - of_x);
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        for (size_t k = 0; k < s->n; k++)
            x[k] = of_x * x[k] + (1 - of_x) * x0[k];
        if (!status)
            status = sampling_add_noise(s, x, sigma, next, up, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

const sampler_method ddpm_named = {plan_sigmas_of_curve, run_named, 2, EVERY_KIND, true};
const sampler_method ddpm_folder = {plan_folder, run, 2, 0, false};
