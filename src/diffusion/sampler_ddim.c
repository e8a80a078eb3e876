/* sampler_ddim.c - DDIM: Song et al. 2020, arXiv:2010.02502, eq. 12 with the noise of eq. 16.
 *
 *     s^2 = eta^2 (1 - a') / (1 - a) (1 - a / a')
 *     x'  = sqrt(a') x_0 + sqrt(1 - a' - s^2) eps + s noise
 *     a = alpha_bar[t], a' = alpha_bar[t - stride]
 *
 * A1111 steps likewise on CompVis' timesteps, but stops at the last but one.
 *
 * The step goes by the stride, not to the next timestep of the list: with trailing and linspace spacing
 * the two differ. The noise eps is that of the network even when x_0 is clipped. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, 0), *x0 = sampling_row(s, 1), *eps = sampling_row(s, 2);
    for (int i = plan->first; i < plan->count; i++) {
        int t = (int)plan->timesteps[i];
        float a = schedule_alpha_bar(plan->schedule, t, 1);
        float next = schedule_alpha_bar(plan->schedule, t - plan->stride, plan->final_alpha);
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
        if (status)
            return status;
        prediction_to_x0_vp(plan->config.prediction, x, output, a, x0, eps, s->n);
        sampling_limit_x0(s, x0);
        float spread = (float)plan->eta * sqrtf((1 - next) / (1 - a) * (1 - a / next));
        float of_x0 = sqrtf(next), of_eps = sqrtf(fmaxf(1 - next - spread * spread, 0));
        for (size_t k = 0; k < s->n; k++)
            x[k] = of_x0 * x0[k] + of_eps * eps[k];
        if (plan->eta > 0) {
            status = sampling_noise(s, plan->sigmas[i], plan->sigmas[i + 1], output, err);
            if (status)
                return status;
            for (size_t k = 0; k < s->n; k++)
                x[k] = x[k] + spread * (output[k] * (float)plan->s_noise);
        }
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

kiln_status plan_compvis_a1111(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_compvis(plan, request, err);
    if (!status && plan->count - plan->first > 1)
        plan->count--;
    return status;
}

const sampler_method ddim_a1111_named = {plan_compvis_a1111, run, 3, 0, false};
const sampler_method ddim_folder = {plan_vp_of_config, run, 3, 0, false};
const sampler_method ddim_named = {plan_compvis, run, 3, 0, false};
