/* sampler_dpmpp_2m.c - DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095, algorithm 2, in VE terms
 * (alpha = 1, t = -log sigma):
 *
 *     D  = (1 + 1/2r) x_0 - 1/2r x_0,last        r = h_last / h,  h = t' - t
 *     x' = sigma'/sigma x - (e^-h - 1) D
 *
 * The first step and the last, down to 0, are of first order. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *last = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        float h = -logf(next) + logf(sigma);
        float of_x = next / sigma, of_d = -expm1f(-h), w = 0;
        if (i > plan->first && next > 0)
            w = 1 / (2 * ((logf(plan->sigmas[i - 1]) - logf(sigma)) / h));
        for (size_t k = 0; k < s->n; k++)
            x[k] = of_x * x[k] + of_d * ((1 + w) * x0[k] - w * last[k]);
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
        memcpy(last, x0, s->n * sizeof *x0);
    }
    return KILN_OK;
}

const sampler_method dpmpp_2m_named = {plan_sigmas_of_curve, run, 2, EVERY_KIND, false};
