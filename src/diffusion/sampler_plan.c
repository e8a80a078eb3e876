/* sampler_plan.c - from a request to a plan: which sampler, which view, timesteps and noise levels.
 *
 * Easy to get wrong:
 *  - diffusers' Euler family keeps fractional timesteps with linspace spacing, DDIM and PNDM round them;
 *  - DDIM and PNDM step from t to t - T/steps whatever the spacing, not to the next timestep;
 *  - the initial spread is sqrt(sigma^2 + 1) for leading spacing and sigma for the others;
 * - the curves (karras ...) span the levels of the spaced timesteps in the Euler family, the whole table
 * in the
 *    multistep solver;
 *  - the log_linear interpolation makes one level more than there are steps. */
#include "diffusion/linspace.h"
#include "diffusion/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

sampler_request sampler_request_default(void)
{
    return (sampler_request){.steps = 20,
                             .strength = NAN,
                             .eta = NAN,
                             .s_noise = NAN,
                             .s_churn = NAN,
                             .s_tmin = NAN,
                             .s_tmax = NAN,
                             .rtol = NAN,
                             .atol = NAN};
}

float plan_timestep(const sampler_plan *plan, float sigma)
{
    if (plan->flow_as_ve)
        sigma = sigma / (1 + sigma);
    return schedule_timestep_f32(plan->schedule, sigma);
}

float plan_sigma(const sampler_plan *plan, float timestep)
{
    const schedule *table = plan->schedule;
    if (table->kind != SCHEDULE_FLOW)
        return schedule_sigma(table, timestep);
    float sigma = timestep / (float)table->count;
    return plan->flow_as_ve ? sigma / (1 - sigma) : sigma;
}

kiln_status plan_reserve(sampler_plan *plan, int count, kiln_error *err)
{
    plan->timesteps = calloc((size_t)count, sizeof(float));
    /* One more than count + 1: log_linear interpolation. */
    plan->sigmas = calloc((size_t)count + 2, sizeof(float));
    if (!plan->timesteps || !plan->sigmas)
        return fail(err, KILN_NO_MEMORY, "no memory for a plan of %d steps", count);
    plan->count = count;
    return KILN_OK;
}

kiln_status plan_spaced_timesteps(sampler_plan *plan, bool fractional, kiln_error *err)
{
    const schedule_config *config = &plan->config;
    int total = plan->schedule->count, steps = plan->steps;
    kiln_status status = plan_reserve(plan, steps, err);
    if (status)
        return status;
    int stride = total / steps;
    for (int i = 0; i < steps; i++) {
        double t = 0;
        switch (config->spacing) {
        case SPACING_LEADING:
            t = (double)(steps - 1 - i) * stride + config->steps_offset;
            break;
        case SPACING_TRAILING:
            t = rint(total - (double)i * ((double)total / steps)) - 1;
            break;
        case SPACING_LINSPACE:
            t = linspace_f64(0, total - 1, steps, steps - 1 - i);
            t = fractional ? t : rint(t);
            break;
        }
        /* Only a large steps_offset or steps = T with an offset leaves the table. */
        plan->timesteps[i] = (float)fmin(fmax(t, 0), total - 1);
    }
    return KILN_OK;
}

static float table_sigma_linear(const schedule *s, float timestep)
{
    double t = (double)timestep;
    int low = t >= s->count - 1 ? s->count - 2 : (int)t;
    double left = (double)s->sigma[low], right = (double)s->sigma[low + 1];
    return (float)((right - left) * (t - low) + left);
}

bool plan_use_config_curve(sampler_plan *plan, double low, double high)
{
    const schedule_config *config = &plan->config;
    int steps = plan->count;
    if (!config->use_karras_sigmas && !config->use_exponential_sigmas && !config->use_beta_sigmas)
        return false;
    low = config->sigma_min > 0 ? config->sigma_min : low;
    high = config->sigma_max > 0 ? config->sigma_max : high;
    for (int i = 0; i < steps; i++) {
        double sigma;
        if (config->use_karras_sigmas)
            sigma = sigma_karras(low, high, 7, linspace_f64(0, 1, steps, i));
        else if (config->use_exponential_sigmas)
            sigma = exp(linspace_f64(log(high), log(low), steps, i));
        else
            sigma = low + beta_quantile(1 - linspace_f64(0, 1, steps, i)) * (high - low);
        plan->sigmas[i] = (float)sigma;
        plan->timesteps[i] = (float)schedule_timestep(plan->schedule, sigma);
    }
    return true;
}

kiln_status plan_begin_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    if (isnan(request->strength))
        return KILN_OK;
    int kept = (int)(plan->steps * request->strength);
    if (kept < 1)
        return fail(err, KILN_BAD_ARGUMENT, "strength %g leaves no step of %d: at least %g is needed",
                    request->strength, plan->steps, 1.0 / plan->steps);
    plan->first = plan->steps - kept;
    return KILN_OK;
}

kiln_status plan_sigmas_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    const schedule *table = plan->schedule;
    const schedule_config *config = &plan->config;
    kiln_status status = plan_spaced_timesteps(plan, true, err);
    if (status)
        return status;
    int count = plan->count, levels = count;
    for (int i = 0; i < count; i++)
        plan->sigmas[i] = table_sigma_linear(table, plan->timesteps[i]);
    if (config->interpolation == SIGMA_LOG_LINEAR) {
        levels = count + 1;
        for (int i = 0; i < levels; i++)
            plan->sigmas[i] =
                expf(linspace_f32(table->log_sigma[table->count - 1], table->log_sigma[0], levels, i));
    }
    if (plan_use_config_curve(plan, (double)plan->sigmas[levels - 1], (double)plan->sigmas[0]))
        levels = count;
    plan->sigmas[levels] = config->final_sigmas == FINAL_SIGMA_MIN ? table->sigma[0] : 0;
    if (config->timesteps == TIMESTEP_CONTINUOUS && config->prediction == PREDICTION_V)
        for (int i = 0; i < count; i++)
            plan->timesteps[i] = 0.25f * logf(plan->sigmas[i]);
    float most = plan->sigmas[0];
    plan->init_noise_sigma = config->spacing == SPACING_LEADING ? sqrtf(most * most + 1) : most;
    return plan_begin_folder(plan, request, err);
}

kiln_status plan_plain_sigmas_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    config->clip_sample = config->thresholding = false;
    config->sigma_min = config->sigma_max = 0;
    config->interpolation = SIGMA_LINEAR;
    config->final_sigmas = FINAL_SIGMA_ZERO;
    config->timesteps = TIMESTEP_DISCRETE;
    return plan_sigmas_of_config(plan, request, err);
}

kiln_status plan_require_falling(const sampler_plan *plan, kiln_error *err)
{
    for (int i = 1; i < plan->count; i++)
        if (!(plan->sigmas[i] < plan->sigmas[i - 1]))
            return fail(err, KILN_BAD_ARGUMENT, "%d steps: %s needs fewer steps, two are at timestep %g",
                        plan->steps, plan->row->label, (double)plan->timesteps[i]);
    return KILN_OK;
}

/* img2img of A1111: int(min(strength, 0.999) * steps) + 1 steps are run. */
static void begin_named(sampler_plan *plan, const sampler_request *request)
{
    if (isnan(request->strength))
        return;
    int first = plan->count - (int)(fmin(request->strength, 0.999) * plan->steps) - 1;
    plan->first = first < 0 ? 0 : first;
}

static kiln_status copy_levels(sampler_plan *plan, const float *levels, int count, bool discard,
                               kiln_error *err)
{
    int kept = discard ? count - 1 : count;
    kiln_status status = plan_reserve(plan, kept, err);
    if (status)
        return status;
    for (int i = 0; i < kept; i++)
        plan->sigmas[i] = levels[i];
    plan->sigmas[kept] = levels[count];
    for (int i = 0; i < kept; i++) {
        float next = plan->sigmas[i + 1];
        if (!(plan->sigmas[i] > next && next >= 0) || !isfinite(plan->sigmas[i]))
            return fail(err, KILN_BAD_ARGUMENT, "noise levels should fall: level %d is %g and the next %g", i,
                        (double)plan->sigmas[i], (double)next);
        plan->timesteps[i] = plan_timestep(plan, plan->sigmas[i]);
    }
    plan->init_noise_sigma = plan->sigmas[0];
    return KILN_OK;
}

/* The curve's levels, of which `count` steps are made, as the plan has them: shifted by the picture's size, and
 * for some samplers as levels of VE latents. Pure noise has no such level; a bit below it stands in. */
static void convert_flow_levels(sampler_plan *plan, float *levels, int count)
{
    const schedule *table = plan->schedule;
    bool as_ve = plan->method->as_ve && !plan->keeps_flow;
    for (int i = 0; i <= count; i++) {
        double sigma = schedule_dynamic_shift(&table->config, plan->image_tokens, (double)levels[i]);
        if (as_ve) {
            double most = schedule_shift(table->config.shift, 1 - 1e-4);
            sigma = fmin(sigma, most);
            sigma = sigma / (1 - sigma);
        }
        levels[i] = (float)sigma;
    }
    plan->flow_as_ve = as_ve;
}

kiln_status plan_sigmas_of_curve(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status;
    float *levels = NULL;
    int count = plan->steps;
    bool discard = plan->row->discard_penultimate && plan->steps < plan->schedule->count && !request->levels;
    if (request->levels) {
        levels = calloc((size_t)count + 1, sizeof *levels);
        status = levels ? KILN_OK : fail(err, KILN_NO_MEMORY, "no memory for %d noise levels", count);
        for (int i = 0; !status && i <= count; i++)
            levels[i] = request->levels[i];
    } else {
        status = sigmas_new(plan->schedule, plan->curve, plan->steps + discard, &request->sigmas, &levels,
                            &count, err);
    }
    if (!status && plan->schedule->kind == SCHEDULE_FLOW)
        convert_flow_levels(plan, levels, count);
    if (!status)
        status = copy_levels(plan, levels, count, discard && count > 1, err);
    free(levels);
    plan->on_curve = true;
    if (!status)
        begin_named(plan, request);
    return status;
}

void plan_fill_vp_levels(sampler_plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        float a = schedule_alpha_bar(plan->schedule, (int)plan->timesteps[i], 1);
        plan->sigmas[i] = sqrtf((1 - a) / a);
    }
    plan->sigmas[plan->count] = sqrtf((1 - plan->final_alpha) / plan->final_alpha);
    plan->variance_preserving = true;
    plan->init_noise_sigma = 1;
    plan->begin_alpha = schedule_alpha_bar(plan->schedule, (int)plan->timesteps[plan->first], 1);
}

kiln_status plan_vp_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_spaced_timesteps(plan, false, err);
    if (status)
        return status;
    plan->stride = plan->schedule->count / plan->steps;
    plan->final_alpha = plan->config.set_alpha_to_one ? 1 : plan->schedule->alpha_bar[0];
    status = plan_begin_folder(plan, request, err);
    if (!status)
        plan_fill_vp_levels(plan);
    return status;
}

kiln_status plan_compvis(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    int total = plan->schedule->count;
    plan->stride = total / plan->steps;
    int count = (total - 1) / plan->stride + 1;
    kiln_status status = plan_reserve(plan, count, err);
    if (status)
        return status;
    for (int i = 0; i < count; i++) {
        int t = (count - 1 - i) * plan->stride + 1;
        plan->timesteps[i] = (float)(t < total ? t : total - 1);
    }
    plan->final_alpha = plan->schedule->alpha_bar[0];
    int beyond = 0;
    if (!isnan(request->strength)) {
        int kept = (int)(fmin(request->strength, 0.999) * plan->steps);
        kept = kept < 1 ? 1 : kept;
        plan->first = count - kept;
        /* CompVis noises the image one timestep higher than the first that it evaluates. */
        beyond = plan->first > 0;
    }
    plan_fill_vp_levels(plan);
    plan->begin_alpha = schedule_alpha_bar(plan->schedule, (int)plan->timesteps[plan->first - beyond], 1);
    return KILN_OK;
}

void sampler_plan_free(sampler_plan *plan)
{
    if (!plan)
        return;
    free(plan->timesteps);
    free(plan->sigmas);
    free(plan->step_ends);
    free(plan);
}
