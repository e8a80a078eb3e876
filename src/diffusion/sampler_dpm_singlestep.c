/* sampler_dpm_singlestep.c - the singlestep DPM solvers as diffusers configures them: DPM-Solver-1, 2 and 3 (Lu
 * et al. 2022a, arXiv:2206.00927, algorithms 1 and 2) and their ++ forms, the steps of a block being those of the
 * list: a block of order k begins k - 1 steps back and ends one ahead, with r_1, r_2 as the list has them.
 *
 *     order 2   x' = c_x x + c_0 m_1 + c_1 (m_0 - m_1) / r_0
 *     order 3   the same with the slope (midpoint), or slope and curvature (heun), through three predictions
 *
 * Orders run 1, 2, 3, 1, 2, 3 ...: each block is first taken with the order that its predictions allow. */
#include "diffusion/samplers.h"

#include <string.h>

enum { ORDERS = 3, NOISE = 3, X0 = 4, BASE = 5, ROWS = 6 };

static int order_at(const sampler_plan *plan, int i)
{
    const schedule_config *config = &plan->config;
    int order = config->solver_order, steps = plan->count, left = steps - i;
    bool lower = config->lower_order_final || steps % order != 0 || config->final_sigmas == FINAL_SIGMA_ZERO;
    if (order == 1 || (left == 1 && config->final_sigmas == FINAL_SIGMA_ZERO))
        return 1;
    /* The last block is one lower when it would be whole: [1, 2] then [1] for order 3, [1] then [1] for 2. */
    if (lower && steps % order == 0 && left == 1)
        return 1;
    return i % order + 1;
}

/* m[0] is the newest prediction; x the state at the beginning of the block. */
static void advance(const sampling *s, float *x, const float *base, int i, int order, float *const m[ORDERS],
                    const float *noise)
{
    const sampler_plan *plan = s->plan;
    vp_level level[ORDERS] = {{0, 0, 0}}, to = plan_level(plan, plan->sigmas[i + 1]);
    for (int k = 0; k < order; k++)
        level[k] = plan_level(plan, plan->sigmas[i - k]);
    vp_level from = level[order - 1];
    bool heun = plan->config.solver == DPM_HEUN;
    float h = to.lambda - from.lambda;
    if (h == 0)
        return;
    dpm_weights w = dpm_weights_of(plan->config.algorithm, from, to, order < 3 && !heun);
    float r0 = (level[0].lambda - from.lambda) / h, r1 = order > 2 ? (level[1].lambda - from.lambda) / h : 0;
    for (size_t k = 0; k < s->n; k++) {
        float oldest = m[order - 1][k], next = w.x * base[k] + w.d0 * oldest;
        if (order > 1) {
            float slope = (m[0][k] - oldest) / r0;
            if (order > 2 && heun) {
                float inner = (m[1][k] - oldest) / r1;
                next += w.d2 * (2 * (slope - inner) / (r0 - r1));
                slope = (r0 * inner - r1 * slope) / (r0 - r1);
            }
            next += w.d1 * slope;
        }
        x[k] = noise ? next + w.noise * noise[k] : next;
    }
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    bool sde = dpm_is_sde(plan->config.algorithm);
    float *m[ORDERS], *noise = sampling_row(s, NOISE), *base = sampling_row(s, BASE);
    for (int k = 0; k < ORDERS; k++)
        m[k] = sampling_row(s, k);
    for (int i = plan->first; i < plan->count; i++) {
        float *oldest = m[ORDERS - 1];
        memmove(m + 1, m, (ORDERS - 1) * sizeof *m);
        m[0] = oldest;
        kiln_status status = multistep_predict(s, x, i, m[0], sampling_row(s, X0), err);
        if (!status && sde)
            status = sampling_noise(s, plan->sigmas[i], plan->sigmas[i + 1], noise, err);
        if (status)
            return status;
        int order = order_at(plan, i), known = i - plan->first + 1;
        if (order > known)
            order = known;
        if (order == 1)
            memcpy(base, x, s->n * sizeof *x);
        advance(s, x, base, i, order, m, sde ? noise : NULL);
        status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->config.spacing = SPACING_LINSPACE;
    plan->config.use_lu_lambdas = plan->config.euler_at_final = false;
    return plan_multistep_levels(plan, request, err);
}

const sampler_method dpm_singlestep_folder = {plan_folder, run, ROWS, 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW,
                                              false};
