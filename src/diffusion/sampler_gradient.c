/* sampler_gradient.c - gradient estimation: Permenter and Yuan 2024, arXiv:2306.04848, section 5. The denoiser's
 * direction is extrapolated from the last one,
 *
 *     d = (x - x_0) / sigma     x' = x + (sigma' - sigma) (gamma d + (1 - gamma) d_last)     gamma = 2
 *
 * and the last step goes to x_0. CFG++: d is that of the unguided x_0, and the step leads on from the guided one. */
#include "diffusion/samplers.h"

static const float gamma_2 = 2;

static kiln_status run(const sampling *s, float *x, bool plus, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *last = sampling_row(s, 1), *unguided = plus ? sampling_row(s, 2) : x0;
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], dt = next - sigma;
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        if (plus)
            sampling_unguided(s, x, sigma, x0, unguided);
        float more = i > plan->first && next > 0 ? gamma_2 - 1 : 0;
        for (size_t k = 0; k < s->n; k++) {
            float d = (x[k] - unguided[k]) / sigma, guidance = x0[k] - unguided[k];
            x[k] = x[k] + d * dt + guidance + more * (d - last[k]) * dt;
            last[k] = d;
        }
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_plain(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, false, err);
}

static kiln_status run_cfg_pp(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, true, err);
}

const sampler_method gradient_named = {plan_sigmas_of_curve, run_plain, 2, EVERY_KIND, false};
const sampler_method gradient_cfg_pp_named = {plan_sigmas_of_curve, run_cfg_pp, 3, EVERY_KIND, true};
