/* sampler_tcd.c - trajectory consistency: Zheng et al. 2024, arXiv:2402.19159, algorithm 4 (strategic stochastic
 * sampling). Each step goes along the path to timestep s = (1 - gamma) t', below the next one t', and noise brings
 * it back up; gamma is eta, 0.3 by default, 0 is DDIM.
 *
 * Folder view: timesteps are those of the distillation, on VP latents. Named view: any curve, on VE latents. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>

static kiln_status run_folder(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, 0), *x0 = sampling_row(s, 1), *eps = sampling_row(s, 2);
    for (int i = plan->first; i < plan->count; i++) {
        bool last = i + 1 == plan->count;
        int t = (int)plan->timesteps[i], t_next = last ? 0 : (int)plan->timesteps[i + 1];
        int t_below = (int)floor((1 - plan->eta) * t_next);
        float a = schedule_alpha_bar(plan->schedule, t, 1);
        float next = schedule_alpha_bar(plan->schedule, t_next, 1);
        float below = schedule_alpha_bar(plan->schedule, t_below, 1);
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
        if (status)
            return status;
        prediction_to_x0_vp(plan->config.prediction, x, output, a, x0, eps, s->n);
        float up = plan->eta > 0 && !last ? sqrtf(1 - next / below) : 0;
        float scale = up > 0 ? sqrtf(next / below) : 1;
        for (size_t k = 0; k < s->n; k++)
            x[k] = scale * (sqrtf(below) * x0[k] + sqrtf(1 - below) * eps[k]);
        status = sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1], up, output, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_named(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], below = next;
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        if (next > 0 && plan->eta > 0)
            below = fminf(next, plan_sigma(plan, (float)(1 - plan->eta) * plan_timestep(plan, next)));
        float of_x = below / sigma;
        for (size_t k = 0; k < s->n; k++)
            x[k] = of_x * x[k] + (1 - of_x) * x0[k];
        float up = next > 0 ? sqrtf(fmaxf(next * next - below * below, 0)) : 0;
        status = sampling_add_noise(s, x, sigma, next, up, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

const sampler_method tcd_folder = {plan_distilled, run_folder, 3, 0, false};
const sampler_method tcd_named = {plan_sigmas_of_curve, run_named, 2, 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW,
                                  true};
