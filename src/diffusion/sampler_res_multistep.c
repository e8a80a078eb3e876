/* sampler_res_multistep.c - RES, the refined exponential solver, in its multistep form of order 2: Zhang et al.
 * 2023, arXiv:2308.02157, eq. 29, in VE terms (t = -log sigma, h the step in t, c_2 the step back over h):
 *
 *     x' = e^-h x + h (b_1 x_0 + b_2 x_0,last)
 *     b_2 = phi_2(-h) / c_2,  b_1 = phi_1(-h) - b_2,  phi_1(z) = (e^z - 1) / z,  phi_2(z) = (phi_1(z) - 1) / z
 *
 * Ancestral: the step ends below its level, and noise brings it back up; the step back is then measured from where
 * the last one ended before its noise. CFG++: the solver runs on the unguided x_0, and what guidance adds moves x. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

static double step_length(double from, double to)
{
    return log(from) - log(to);
}

/* of_x, and the weights of x_0 and of the last one. */
typedef struct res_step {
    float of_x, now, last;
} res_step;

static res_step weights_of(float sigma, float down, float before, float down_before)
{
    double h = step_length((double)sigma, (double)down);
    double c2 = step_length((double)down_before, (double)before) / h;
    double phi_1 = -expm1(-h) / h, phi_2 = (1 - phi_1) / h;
    double last = c2 != 0 ? phi_2 / c2 : 0;
    return (res_step){(float)exp(-h), (float)(h * (phi_1 - last)), (float)(h * last)};
}

static kiln_status run(const sampling *s, float *x, double eta, bool plus, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1), *last = sampling_row(s, 2);
    float *unguided = plus ? sampling_row(s, 3) : x0, down_before = 0;
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], down, up;
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        if (plus)
            sampling_unguided(s, x, sigma, x0, unguided);
        ancestral_step(sigma, next, eta, &down, &up);
        /* From below pure noise there is no step back to measure: one of order 1 then, Euler's. */
        res_step w = {down / sigma, 1 - down / sigma, 0};
        if (down > 0 && i > plan->first)
            w = weights_of(sigma, down, plan->sigmas[i - 1], down_before);
        bool first = !(down > 0 && i > plan->first);
        float of_guidance = first ? 1 : w.of_x;
        for (size_t k = 0; k < s->n; k++) {
            float guidance = x0[k] - unguided[k];
            x[k] = w.of_x * x[k] + w.now * unguided[k] + w.last * last[k] + of_guidance * guidance;
        }
        status = sampling_add_noise(s, x, sigma, next, up, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
        memcpy(last, unguided, s->n * sizeof *last);
        down_before = down;
    }
    return KILN_OK;
}

static kiln_status run_plain(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, 0, false, err);
}

static kiln_status run_ancestral(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, s->plan->eta, false, err);
}

static kiln_status run_cfg_pp(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, 0, true, err);
}

static kiln_status run_ancestral_cfg_pp(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, s->plan->eta, true, err);
}

const sampler_method res_multistep_named = {plan_sigmas_of_curve, run_plain, 3, EVERY_KIND, false};
const sampler_method res_multistep_a_named = {plan_sigmas_of_curve, run_ancestral, 3, EVERY_KIND, true};
const sampler_method res_multistep_cfg_pp_named = {plan_sigmas_of_curve, run_cfg_pp, 4, EVERY_KIND, true};
const sampler_method res_multistep_a_cfg_pp_named = {plan_sigmas_of_curve, run_ancestral_cfg_pp, 4,
                                                     EVERY_KIND, true};
