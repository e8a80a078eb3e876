/* sampler_ddim_inverse.c - DDIM run backwards, from a picture's latent to the noise that draws it: Mokady et al.
 * 2022, arXiv:2211.09794, eq. 3. The timesteps rise; x_0 and the noise are read at the level that x has,
 * alpha_bar[t - stride], though the network is told t. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, 0), *x0 = sampling_row(s, 1), *eps = sampling_row(s, 2);
    for (int i = plan->first; i < plan->count; i++) {
        int t = (int)plan->timesteps[i];
        float a = schedule_alpha_bar(plan->schedule, t - plan->stride, plan->final_alpha);
        float next = schedule_alpha_bar(plan->schedule, t, 1);
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
        if (status)
            return status;
        prediction_to_x0_vp(plan->config.prediction, x, output, a, x0, eps, s->n);
        if (plan->config.clip_sample)
            clip_x0(x0, (float)plan->config.clip_sample_range, s->n);
        for (size_t k = 0; k < s->n; k++)
            x[k] = sqrtf(next) * x0[k] + sqrtf(1 - next) * eps[k];
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_vp_of_config(plan, request, err);
    for (int i = 0; !status && i < plan->count / 2; i++) {
        float swap = plan->timesteps[i];
        plan->timesteps[i] = plan->timesteps[plan->count - 1 - i];
        plan->timesteps[plan->count - 1 - i] = swap;
    }
    plan->begin_alpha = -1;
    return status;
}

const sampler_method ddim_inverse_folder = {plan_folder, run, 3, 0, false};
