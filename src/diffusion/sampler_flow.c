/* sampler_flow.c - flow matching as diffusers configures it: Euler and Heun on dx/dsigma = v with
 * x = (1 - sigma) x_0 + sigma noise and the network giving v = noise - x_0 (Lipman et al. 2023,
 * arXiv:2210.02747; Esser et al. 2024, arXiv:2403.03206, section 3).
 *
 *     Euler   x' = x + (sigma' - sigma) v
 *     Heun    the mean of v at both ends; the last step is Euler's
 *
 * The levels are even between the ends of the training levels and then shifted, so that a static shift counts
 * twice near the lower end: that is what diffusers does, and ComfyUI's "normal" too. */
#include "diffusion/samplers.h"

#include "diffusion/linspace.h"

#include <math.h>

/* x_0 = x - (sigma - end) v: `end` is 1 where the levels run upwards. */
static void look_ahead(const sampling *s, const float *x, const float *v, float sigma, float *x0)
{
    float end = s->plan->config.invert_sigmas ? 1 : 0;
    for (size_t k = 0; k < s->n; k++)
        x0[k] = x[k] - (sigma - end) * v[k];
}

static kiln_status run_flow_euler(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *v = sampling_row(s, 0), *x0 = sampling_row(s, 1);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], v, err);
        if (status)
            return status;
        look_ahead(s, x, v, sigma, x0);
        if (plan->config.stochastic_sampling) {
            status = sampling_noise(s, sigma, next, v, err);
            for (size_t k = 0; k < s->n; k++)
                x[k] = (1 - next) * x0[k] + next * v[k];
        } else {
            for (size_t k = 0; k < s->n; k++)
                x[k] = x[k] + (next - sigma) * v[k];
        }
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_flow_heun(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *v = sampling_row(s, 0), *x0 = sampling_row(s, 1), *ahead = sampling_row(s, 2);
    float *v_ahead = sampling_row(s, 3);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1], dt = next - sigma;
        bool last = i + 1 == plan->count;
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], v, err);
        if (status)
            return status;
        look_ahead(s, x, v, sigma, x0);
        for (size_t k = 0; k < s->n; k++)
            ahead[k] = x[k] + dt * v[k];
        if (!last)
            status = sampling_predict(s, ahead, plan->timesteps[i + 1], v_ahead, err);
        for (size_t k = 0; k < s->n; k++)
            x[k] = last ? ahead[k] : x[k] + dt * (0.5f * (v[k] + v_ahead[k]));
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* One level of the curves that the config may name, between the ends of the even levels. */
static double curve_level(const schedule_config *config, double low, double high, double ramp)
{
    if (config->use_karras_sigmas)
        return sigma_karras(low, high, 7, ramp);
    if (config->use_exponential_sigmas)
        return exp(log(high) + ramp * (log(low) - log(high)));
    return low + beta_quantile(1 - ramp) * (high - low);
}

static double even_level(const sampler_plan *plan, int i)
{
    const schedule *table = plan->schedule;
    double high = (double)table->sigma[table->count - 1], low = (double)table->sigma[0];
    double u = linspace_f64(high * table->count, low * table->count, plan->count, i) / table->count;
    return table->config.use_dynamic_shifting ? schedule_dynamic_shift(&table->config, plan->image_tokens, u)
                                              : schedule_shift(table->config.shift, u);
}

static kiln_status plan_euler(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    kiln_status status = plan_reserve(plan, plan->steps, err);
    if (status)
        return status;
    int count = plan->count;
    double last = even_level(plan, count - 1);
    double stretch = config->shift_terminal > 0 && last < 1 ? (1 - last) / (1 - config->shift_terminal) : 1;
    double high = 1 - (1 - even_level(plan, 0)) / stretch;
    double end = 1 - (1 - last) / stretch;
    bool curve = config->use_karras_sigmas || config->use_exponential_sigmas || config->use_beta_sigmas;
    for (int i = 0; i < count; i++) {
        double sigma = 1 - (1 - even_level(plan, i)) / stretch;
        if (curve)
            sigma = curve_level(config, end, high, linspace_f64(0, 1, count, i));
        else if (stretch == 1)
            sigma = even_level(plan, i);
        plan->sigmas[i] = config->invert_sigmas ? 1 - (float)sigma : (float)sigma;
        plan->timesteps[i] = plan->sigmas[i] * (float)plan->schedule->count;
    }
    plan->sigmas[count] = config->invert_sigmas ? 1 : 0;
    plan->init_noise_sigma = 1;
    return plan_begin_folder(plan, request, err);
}

/* The class knows the static shift only. */
static kiln_status plan_heun(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    if (config->use_dynamic_shifting)
        return fail(err, KILN_UNSUPPORTED, "Flow Heun does not shift by the picture's size: take Heun");
    config->use_karras_sigmas = config->use_exponential_sigmas = config->use_beta_sigmas = false;
    config->invert_sigmas = config->stochastic_sampling = false;
    config->shift_terminal = 0;
    return plan_euler(plan, request, err);
}

const sampler_method flow_euler_folder = {plan_euler, run_flow_euler, 2, 1 << SCHEDULE_FLOW, false};
const sampler_method flow_heun_folder = {plan_heun, run_flow_heun, 4, 1 << SCHEDULE_FLOW, false};
