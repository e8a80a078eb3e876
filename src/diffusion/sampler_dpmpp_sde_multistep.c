/* sampler_dpmpp_sde_multistep.c - DPM-Solver++ for the SDE with history, in VE terms (Lu et al. 2022,
 * arXiv:2211.01095, section 4 and appendix; eta scales the noise, t = -log sigma, h the step in t):
 *
 *     2M SDE   second order, midpoint or Heun
 *     3M SDE   third order
 *
 * The step down to 0 is the prediction itself. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

typedef struct history {
    float *x0, *x0_1, *x0_2; /* newest first */
    float h, h_1, h_2;
    int known; /* how many steps lie behind */
} history;

static void step_2m(const sampling *s, float *x, float sigma, float next, const history *m, bool heun)
{
    float eta_h = (float)s->plan->eta * m->h, all = -expm1f(-m->h - eta_h);
    float of_x = next / sigma * expf(-eta_h), of_difference = 0;
    if (m->known > 0)
        of_difference = (heun ? all / (-m->h - eta_h) + 1 : 0.5f * all) * (1 / (m->h_1 / m->h));
    for (size_t k = 0; k < s->n; k++) {
        x[k] = of_x * x[k] + all * m->x0[k];
        if (m->known > 0)
            x[k] = x[k] + of_difference * (m->x0[k] - m->x0_1[k]);
    }
}

static void step_3m(const sampling *s, float *x, const history *m)
{
    float h_eta = m->h * ((float)s->plan->eta + 1), of_x = expf(-h_eta), all = -expm1f(-h_eta);
    float phi_2 = expm1f(-h_eta) / h_eta + 1, phi_3 = phi_2 / h_eta - 0.5f;
    float r0 = m->known > 0 ? m->h_1 / m->h : 1, r1 = m->known > 1 ? m->h_2 / m->h : 1;
    for (size_t k = 0; k < s->n; k++) {
        x[k] = of_x * x[k] + all * m->x0[k];
        if (m->known == 0)
            continue;
        float d1 = (m->x0[k] - m->x0_1[k]) / r0;
        if (m->known > 1) {
            float difference = d1 - (m->x0_1[k] - m->x0_2[k]) / r1;
            d1 = d1 + difference * r0 / (r0 + r1);
            x[k] = x[k] + phi_2 * d1 - phi_3 * (difference / (r0 + r1));
        } else {
            x[k] = x[k] + phi_2 * d1;
        }
    }
}

typedef enum solver { MIDPOINT_2M, HEUN_2M, THIRD_ORDER } solver;

static kiln_status one_step(const sampling *s, float *x, int i, history *m, solver kind, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
    kiln_status status = sampling_denoise(s, x, i, m->x0, err);
    if (status)
        return status;
    if (!(next > 0)) {
        memcpy(x, m->x0, s->n * sizeof *x);
        return KILN_OK;
    }
    m->h = logf(sigma) - logf(next);
    if (kind == THIRD_ORDER)
        step_3m(s, x, m);
    else
        step_2m(s, x, sigma, next, m, kind == HEUN_2M);
    float spread = next * sqrtf(-expm1f(-2 * m->h * (float)plan->eta));
    return sampling_add_noise(s, x, sigma, next, spread, sampling_row(s, 3), err);
}

static kiln_status run(const sampling *s, float *x, solver kind, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    history m = {.x0 = sampling_row(s, 0), .x0_1 = sampling_row(s, 1), .x0_2 = sampling_row(s, 2)};
    for (int i = plan->first; i < plan->count; i++) {
        kiln_status status = one_step(s, x, i, &m, kind, err);
        if (!status)
            status = sampling_step_done(s, i, x, m.x0, err);
        if (status)
            return status;
        float *oldest = m.x0_2;
        m = (history){oldest, m.x0, m.x0_1, 0, m.h, m.h_1, m.known + 1};
    }
    return KILN_OK;
}

static kiln_status run_2m(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, MIDPOINT_2M, err);
}

static kiln_status run_2m_heun(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, HEUN_2M, err);
}

static kiln_status run_3m(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, THIRD_ORDER, err);
}

const sampler_method dpmpp_2m_sde_named = {plan_sigmas_of_curve, run_2m, 4, EVERY_KIND, true};
const sampler_method dpmpp_2m_sde_heun_named = {plan_sigmas_of_curve, run_2m_heun, 4, EVERY_KIND, true};
const sampler_method dpmpp_3m_sde_named = {plan_sigmas_of_curve, run_3m, 4, EVERY_KIND, true};
