/* sampler_cfg_pp.c - CFG++: Chung et al. 2024, arXiv:2406.08070, algorithm 2. The guided x_0 is taken, but the noise
 * that leads on is that of the unguided one, x_u, so that guidance stays near the model's own manifold: with a
 * guidance scale of about 1 to 2 where plain guidance takes 5 to 12.
 *
 *     Euler      x' = alpha' x_0 + sigma'_down (x - alpha x_u) / sigma (+ noise: ancestral, in the ratio of noise
 *                to signal)
 *     2S a       DPM-Solver++(2S) on x_u, ancestral, with the guidance x_0 - x_u added at the end of each step
 *     2M         DPM-Solver++(2M) on x_u likewise
 *     DDIM       A1111's form on its own timesteps: the scale is the user's divided by 12.5
 *
 * Formulas of ComfyUI (and for DDIM of A1111), whose pictures these names promise. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>
#include <string.h>

static float alpha_of(const sampler_plan *plan, float sigma)
{
    return plan->schedule->kind == SCHEDULE_FLOW && !plan->flow_as_ve ? 1 - sigma : 1;
}

static kiln_status run_euler_any(const sampling *s, float *x, double eta, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1), *unguided = sampling_row(s, 2);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], down = 0, up = 0;
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        sampling_unguided(s, x, sigma, x0, unguided);
        float alpha = alpha_of(plan, sigma), alpha_next = alpha_of(plan, next);
        if (alpha > 0)
            ancestral_step(sigma / alpha, next / alpha_next, eta, &down, &up);
        else /* from pure noise: as from an endless ratio */
            ancestral_step(1e6f, next / alpha_next, eta, &down, &up);
        down *= alpha_next;
        for (size_t k = 0; k < s->n; k++)
            x[k] = alpha_next * x0[k] + down * ((x[k] - alpha * unguided[k]) / sigma);
        status = sampling_add_noise(s, x, sigma, next, alpha_next * up, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_euler_cfg_pp(const sampling *s, float *x, kiln_error *err)
{
    return run_euler_any(s, x, 0, err);
}

static kiln_status run_euler_a_cfg_pp(const sampling *s, float *x, kiln_error *err)
{
    return run_euler_any(s, x, s->plan->eta, err);
}

/* out = to/from x + (1 - to/from) d */
static void toward(const float *x, const float *d, float ratio, float *out, size_t n)
{
    for (size_t k = 0; k < n; k++)
        out[k] = ratio * x[k] + (1 - ratio) * d[k];
}

static kiln_status run_2s_a(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *noise = sampling_row(s, 1), *unguided = sampling_row(s, 2);
    float *ahead = sampling_row(s, 3), *guidance = sampling_row(s, 4), *x0_ahead = sampling_row(s, 5);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        renoise r = renoise_of(plan, sigma, next);
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        sampling_unguided(s, x, sigma, x0, unguided);
        for (size_t k = 0; k < s->n; k++)
            guidance[k] = x0[k] - unguided[k];
        if (r.down > 0) {
            float middle = sqrtf(sigma * r.down);
            toward(x, unguided, middle / sigma, ahead, s->n);
            status = sampling_denoise_at(s, ahead, middle, x0_ahead, err);
            if (!status)
                sampling_unguided(s, ahead, middle, x0_ahead, unguided);
        }
        toward(x, unguided, r.down / sigma, x, s->n);
        if (!status)
            status = sampling_renoise(s, x, sigma, next, r, noise, err);
        float alpha_next = alpha_of(plan, next);
        for (size_t k = 0; k < s->n; k++)
            x[k] += alpha_next * guidance[k];
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_2m(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *unguided = sampling_row(s, 1), *last = sampling_row(s, 2);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], ratio = next / sigma, of_slope = 0;
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        sampling_unguided(s, x, sigma, x0, unguided);
        if (i > plan->first && next > 0)
            of_slope =
                (1 - ratio) * (logf(sigma) - logf(next)) / (2 * (logf(plan->sigmas[i - 1]) - logf(sigma)));
        for (size_t k = 0; k < s->n; k++)
            x[k] = x0[k] + ratio * (x[k] - unguided[k]) + of_slope * (x0[k] - last[k]);
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
        memcpy(last, unguided, s->n * sizeof *last);
    }
    return KILN_OK;
}

static kiln_status run_ddim(const sampling *s, float *x, kiln_error *err)
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
        const float *without = s->calls->unguided ? s->calls->unguided(s->calls->predict_self) : NULL;
        if (without)
            prediction_to_x0_vp(plan->config.prediction, x, without, a, NULL, eps, s->n);
        float spread = (float)plan->eta * sqrtf((1 - next) / (1 - a) * (1 - a / next));
        float of_eps = sqrtf(fmaxf(1 - next - spread * spread, 0));
        for (size_t k = 0; k < s->n; k++)
            x[k] = sqrtf(next) * x0[k] + of_eps * eps[k];
        status = sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1], spread, output, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_ddim(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->guidance_factor = 1 / 12.5;
    return plan_compvis_a1111(plan, request, err);
}

const sampler_method euler_cfg_pp_named = {plan_sigmas_of_curve, run_euler_cfg_pp, 3, EVERY_KIND, false};
const sampler_method euler_a_cfg_pp_named = {plan_sigmas_of_curve, run_euler_a_cfg_pp, 3, EVERY_KIND, false};
const sampler_method dpmpp_2s_a_cfg_pp_named = {plan_sigmas_of_curve, run_2s_a, 6, EVERY_KIND, false};
const sampler_method dpmpp_2m_cfg_pp_named = {plan_sigmas_of_curve, run_2m, 3, EVERY_KIND, true};
const sampler_method ddim_cfg_pp_named = {plan_ddim, run_ddim, 3, 0, false};
