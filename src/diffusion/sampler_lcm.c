/* sampler_lcm.c - latent consistency: Luo et al. 2023, arXiv:2310.04378, algorithm 3 (multistep
 * sampling). Each step goes all the way to x_0 and noise brings it back to the next level.
 *
 * Folder view: timesteps are a subset of those of the distillation, and the boundary condition (eq. 9)
 * mixes x_0 with x. Named view (ComfyUI): x_0 as it is. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>

static kiln_status run_folder(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, 0), *x0 = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        int t = (int)plan->timesteps[i];
        float a = schedule_alpha_bar(plan->schedule, t, 1);
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
        if (status)
            return status;
        prediction_to_x0_vp(plan->config.prediction, x, output, a, x0, NULL, s->n);
        sampling_limit_x0(s, x0);
        double scaled = t * plan->config.timestep_scaling, data = 0.5 * 0.5;
        float of_x = (float)(data / (scaled * scaled + data));
        float of_x0 = (float)(scaled / sqrt(scaled * scaled + data));
        for (size_t k = 0; k < s->n; k++)
            x0[k] = of_x0 * x0[k] + of_x * x[k];
        bool last = i + 1 == plan->count;
        float next = last ? 1 : schedule_alpha_bar(plan->schedule, (int)plan->timesteps[i + 1], 1);
        for (size_t k = 0; k < s->n; k++)
            x[k] = sqrtf(next) * x0[k];
        if (!last)
            status =
                sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1], sqrtf(1 - next), output, err);
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
    float *noise = sampling_row(s, 0), *x0 = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float next = plan->sigmas[i + 1];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        for (size_t k = 0; !status && k < s->n; k++)
            x[k] = x0[k];
        if (!status)
            status = sampling_add_noise(s, x, plan->sigmas[i], next, next, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

kiln_status plan_distilled(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    int original = plan->config.original_inference_steps, stride = plan->schedule->count / original;
    if (plan->steps > original || stride < 1)
        return fail(err, KILN_BAD_ARGUMENT, "steps is %d, %s takes 1 to %d here (original_inference_steps)",
                    plan->steps, plan->row->label, original);
    kiln_status status = plan_vp_of_config(plan, request, err);
    if (status)
        return status;
    for (int i = 0; i < plan->count; i++) {
        int index = (int)floor((double)i * ((double)original / plan->steps));
        plan->timesteps[i] = (float)((original - index) * stride - 1);
    }
    plan_fill_vp_levels(plan);
    return KILN_OK;
}

const sampler_method lcm_folder = {plan_distilled, run_folder, 2, 0, false};
const sampler_method lcm_named = {plan_sigmas_of_curve, run_named, 2, EVERY_KIND, true};
