/* sampler_dpm_multistep.c - the multistep DPM solvers as diffusers configures them: DPM-Solver (Lu et al.
 * 2022a, arXiv:2206.00927), DPM-Solver++ (2022b, arXiv:2211.01095) and their SDE forms, of order 1 to 3,
 * on VP latents.
 *
 * With lambda = log(alpha / sigma), h the step in lambda, and m_0, m_1, m_2 the newest predictions (of
 * x_0 for ++, of the noise otherwise):
 *
 *     D_0 = m_0    D_1 = (m_0 - m_1) / r_0 + ...    D_2 = second difference
 *     x'  = c_x x + c_0 D_0 + c_1 D_1 + c_2 D_2 + c_n noise
 *
 * The four algorithms differ only in the coefficients. The order is lowered at the first steps, and at
 * the last ones as the config says. */
#include "diffusion/samplers.h"

#include "diffusion/linspace.h"
#include "diffusion/prediction.h"

#include <math.h>
#include <string.h>

enum { ORDERS = 3, NOISE = 3, X0 = 4 };

vp_level vp_level_of(float sigma)
{
    vp_level at;
    at.alpha = 1 / sqrtf(sigma * sigma + 1);
    at.sigma = sigma * at.alpha;
    at.lambda = logf(at.alpha) - logf(at.sigma);
    return at;
}

static dpm_weights data_weights(vp_level from, vp_level to, float h, bool midpoint, bool sde)
{
    dpm_weights w = {0};
    if (sde) {
        float e = 1 - expf(-2 * h);
        w.x = to.sigma / from.sigma * expf(-h);
        w.d0 = to.alpha * e;
        w.d1 = midpoint ? 0.5f * w.d0 : to.alpha * (e / (-2 * h) + 1);
        w.d2 = to.alpha * ((e - 2 * h) / (4 * h * h) - 0.5f);
        w.noise = to.sigma * sqrtf(e);
    } else {
        float e = expf(-h) - 1;
        w.x = to.sigma / from.sigma;
        w.d0 = -(to.alpha * e);
        w.d1 = midpoint ? 0.5f * w.d0 : to.alpha * (e / h + 1);
        w.d2 = -(to.alpha * ((e + h) / (h * h) - 0.5f));
    }
    return w;
}

static dpm_weights noise_weights(vp_level from, vp_level to, float h, bool midpoint, bool sde)
{
    float e = expf(h) - 1, twice = sde ? 2 : 1;
    dpm_weights w = {0};
    w.x = to.alpha / from.alpha;
    w.d0 = -twice * (to.sigma * e);
    w.d1 = midpoint ? 0.5f * w.d0 : -twice * (to.sigma * (e / h - 1));
    w.d2 = -twice * (to.sigma * ((e - h) / (h * h) - 0.5f));
    if (sde)
        w.noise = to.sigma * sqrtf(expf(2 * h) - 1);
    return w;
}

bool dpm_of_data(dpm_algorithm algorithm)
{
    return algorithm == DPM_PLUS_PLUS || algorithm == DPM_SDE_PLUS_PLUS;
}

bool dpm_is_sde(dpm_algorithm algorithm)
{
    return algorithm == DPM_SDE || algorithm == DPM_SDE_PLUS_PLUS;
}

dpm_weights dpm_weights_of(dpm_algorithm algorithm, vp_level from, vp_level to, bool midpoint)
{
    bool sde = dpm_is_sde(algorithm);
    float h = to.lambda - from.lambda;
    return dpm_of_data(algorithm) ? data_weights(from, to, h, midpoint, sde)
                                  : noise_weights(from, to, h, midpoint, sde);
}

static int order_at(const sampler_plan *plan, int i)
{
    const schedule_config *config = &plan->config;
    int order = config->solver_order, known = i - plan->first + 1;
    bool few = config->lower_order_final && plan->count < 15;
    if (order > known)
        order = known;
    if (i == plan->count - 1 && (config->euler_at_final || few || config->final_sigmas == FINAL_SIGMA_ZERO))
        order = 1;
    if (i == plan->count - 2 && few && order > 2)
        order = 2;
    return order;
}

vp_level plan_level(const sampler_plan *plan, float sigma)
{
    vp_level at = {1, sigma, -logf(sigma)};
    if (plan->schedule->kind == SCHEDULE_VP)
        return vp_level_of(sigma);
    if (plan->schedule->kind == SCHEDULE_FLOW) {
        at.alpha = 1 - sigma;
        at.lambda = logf(at.alpha) - logf(sigma);
    }
    return at;
}

/* x_0 and the noise of a VP latent from the output in m, which gets the noise. */
static void convert_vp(const sampling *s, const float *x, vp_level at, float *m, float *x0)
{
    prediction_type type = s->plan->config.prediction;
    for (size_t k = 0; k < s->n; k++) {
        float eps = m[k];
        if (type == PREDICTION_V) {
            x0[k] = at.alpha * x[k] - at.sigma * m[k];
            eps = at.alpha * m[k] + at.sigma * x[k];
        } else if (type == PREDICTION_SAMPLE) {
            x0[k] = m[k];
            eps = (x[k] - at.alpha * m[k]) / at.sigma;
        } else {
            x0[k] = (x[k] - at.sigma * m[k]) / at.alpha;
        }
        m[k] = eps;
    }
}

kiln_status multistep_predict(const sampling *s, const float *x, int i, float *m, float *x0, kiln_error *err)
{
    const schedule_config *config = &s->plan->config;
    bool of_data = dpm_of_data(config->algorithm), vp = s->plan->schedule->kind == SCHEDULE_VP;
    vp_level at = plan_level(s->plan, s->plan->sigmas[i]);
    kiln_status status =
        vp ? sampling_predict(s, x, s->plan->timesteps[i], m, err) : sampling_denoise(s, x, i, x0, err);
    if (status)
        return status;
    if (vp) {
        convert_vp(s, x, at, m, x0);
        if (config->thresholding)
            sampling_limit_x0(s, x0);
    }
    if (of_data) {
        memcpy(m, x0, s->n * sizeof *m);
    } else if (!vp || config->thresholding) {
        for (size_t k = 0; k < s->n; k++)
            m[k] = (x[k] - at.alpha * x0[k]) / at.sigma;
    }
    return KILN_OK;
}

static void advance(const sampling *s, float *x, int i, float *const m[ORDERS], const float *noise)
{
    const sampler_plan *plan = s->plan;
    int order = order_at(plan, i);
    vp_level from = plan_level(plan, plan->sigmas[i]), to = plan_level(plan, plan->sigmas[i + 1]);
    float h = to.lambda - from.lambda, r0 = 1, r1 = 1;
    if (h == 0) /* final_sigmas_type sigma_min below a curve that already ends there */
        return;
    bool midpoint = order < 3 && plan->config.solver != DPM_HEUN;
    dpm_weights w = dpm_weights_of(plan->config.algorithm, from, to, midpoint);
    if (order > 1)
        r0 = (from.lambda - plan_level(plan, plan->sigmas[i - 1]).lambda) / h;
    if (order > 2)
        r1 =
            (plan_level(plan, plan->sigmas[i - 1]).lambda - plan_level(plan, plan->sigmas[i - 2]).lambda) / h;
    for (size_t k = 0; k < s->n; k++) {
        float next = w.x * x[k] + w.d0 * m[0][k];
        if (order > 1) {
            float d1 = 1 / r0 * (m[0][k] - m[1][k]);
            if (order > 2) {
                float older = 1 / r1 * (m[1][k] - m[2][k]), difference = d1 - older;
                d1 = d1 + r0 / (r0 + r1) * difference;
                next += w.d2 * (1 / (r0 + r1) * difference);
            }
            next += w.d1 * d1;
        }
        if (noise)
            next += w.noise * noise[k];
        x[k] = next;
    }
}

kiln_status run_dpm_multistep(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    bool sde = dpm_is_sde(plan->config.algorithm);
    float *m[ORDERS], *noise = sampling_row(s, NOISE);
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
        advance(s, x, i, m, sde ? noise : NULL);
        status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* ----------------------------------------------------------------------------------------- plan */

/* The last timestep whose lambda is not below lambda_min_clipped. */
static int last_timestep(const sampler_plan *plan)
{
    const schedule *table = plan->schedule;
    int last = table->count;
    while (last > 1 && -(double)table->log_sigma[last - 1] < plan->config.lambda_min_clipped)
        last--;
    return last;
}

/* Spacing of this class: over one step more than asked, the lowest of which is left out. */
static void space(sampler_plan *plan)
{
    const schedule *table = plan->schedule;
    int last = last_timestep(plan), steps = plan->steps, stride = last / (steps + 1);
    for (int i = 0; i < steps; i++) {
        double t = 0;
        switch (plan->config.spacing) {
        case SPACING_LEADING:
            t = (double)(steps - i) * stride + plan->config.steps_offset;
            break;
        case SPACING_TRAILING:
            t = rint(last - (double)i * ((double)table->count / steps)) - 1;
            break;
        case SPACING_LINSPACE:
            t = rint(linspace_f64(0, last - 1, steps + 1, steps - i));
            break;
        }
        int whole = (int)fmin(fmax(t, 0), table->count - 1);
        plan->timesteps[i] = (float)whole;
        plan->sigmas[i] = table->sigma[whole];
    }
}

static void use_lu_lambdas(sampler_plan *plan)
{
    const schedule *table = plan->schedule;
    double high = (double)table->log_sigma[table->count - 1], low = (double)table->log_sigma[0];
    for (int i = 0; i < plan->count; i++) {
        double sigma = exp(high + linspace_f64(0, 1, plan->count, i) * (low - high));
        plan->sigmas[i] = (float)sigma;
        plan->timesteps[i] = (float)rint(schedule_timestep(table, sigma));
    }
}

/* use_flow_sigmas: even signal from 1 down to 1 / T, shifted. */
static void use_flow_sigmas(sampler_plan *plan)
{
    const schedule *table = plan->schedule;
    for (int i = 0; i < plan->count; i++) {
        double u = 1 - linspace_f64(1, 1.0 / table->count, plan->count + 1, plan->count - i);
        double sigma = table->config.use_dynamic_shifting
                           ? schedule_dynamic_shift(&table->config, plan->image_tokens, u)
                           : schedule_shift(table->config.shift, u);
        plan->sigmas[i] = (float)sigma;
        plan->timesteps[i] = (float)floor(sigma * table->count);
    }
}

kiln_status plan_multistep_levels(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    const schedule *table = plan->schedule;
    schedule_config *config = &plan->config;
    config->clip_sample = false;
    if (!dpm_of_data(config->algorithm) && config->final_sigmas == FINAL_SIGMA_ZERO)
        return fail(err, KILN_UNSUPPORTED,
                    "this DPM solver of the noise needs final_sigmas_type 'sigma_min'");
    kiln_status status = plan_reserve(plan, plan->steps, err);
    if (status)
        return status;
    bool flow = table->kind == SCHEDULE_FLOW;
    bool curve =
        !flow && plan_use_config_curve(plan, (double)table->sigma[0], (double)table->sigma[table->count - 1]);
    if (flow)
        use_flow_sigmas(plan);
    /* Timesteps are whole here: rounded for karras, cut off for the other curves. */
    for (int i = 0; curve && i < plan->count; i++)
        plan->timesteps[i] =
            config->use_karras_sigmas ? rintf(plan->timesteps[i]) : floorf(plan->timesteps[i]);
    if (!curve && !flow && config->use_lu_lambdas)
        use_lu_lambdas(plan);
    else if (!curve && !flow)
        space(plan);
    plan->sigmas[plan->count] = config->final_sigmas == FINAL_SIGMA_MIN ? table->sigma[0] : 0;
    status = plan_require_falling(plan, err);
    if (status)
        return status;
    plan->variance_preserving = !flow;
    plan->init_noise_sigma = 1;
    return plan_begin_folder(plan, request, err);
}

const sampler_method dpm_multistep_folder = {plan_multistep_levels, run_dpm_multistep, DPM_MULTISTEP_ROWS,
                                             1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW, false};
