/* sampling.c - what every sampler's loop does: scale, call the network, convert, draw noise, report. */
#include "diffusion/sampling.h"

#include "diffusion/prediction.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

float *sampling_row(const sampling *s, int k)
{
    return s->scratch + (size_t)(SAMPLING_OWN_ROWS + k) * s->n;
}

kiln_status sampling_predict(const sampling *s, const float *x_scaled, float timestep, float *output,
                             kiln_error *err)
{
    if (s->calls->evaluations)
        ++*s->calls->evaluations;
    return s->calls->predict(s->calls->predict_self, x_scaled, timestep, output, err);
}

void sampling_limit_x0(const sampling *s, float *x0)
{
    const schedule_config *config = &s->plan->config;
    if (config->thresholding)
        threshold_x0(x0, config->dynamic_thresholding_ratio, config->sample_max_value, s->scratch + s->n,
                     s->n);
    else if (config->clip_sample)
        clip_x0(x0, (float)config->clip_sample_range, s->n);
}

/* What the network is to see of x at a noise level. */
static const float *scale_input(const sampling *s, const float *x, float sigma)
{
    float *scaled = s->scratch, scale = sqrtf(sigma * sigma + 1);
    const schedule *table = s->plan->schedule;
    if (table->kind == SCHEDULE_FLOW) {
        if (!s->plan->flow_as_ve)
            return x;
        scale = 1 + sigma;
    } else if (table->kind == SCHEDULE_EDM) {
        float data = (float)table->config.sigma_data;
        scale = sqrtf(sigma * sigma + data * data);
    }
    for (size_t i = 0; i < s->n; i++)
        scaled[i] = x[i] / scale;
    return scaled;
}

/* The network's output at x to x_0; `out` may be `output`. */
static void to_x0(const sampling *s, const float *x, const float *output, float sigma, float *out)
{
    const schedule *table = s->plan->schedule;
    prediction_type type = s->plan->config.prediction;
    if (table->kind == SCHEDULE_EDM) { /* Karras et al. 2022, table 1, last column */
        float data = (float)table->config.sigma_data, square = sigma * sigma + data * data;
        float of_x = data * data / square, of_output = sigma * data / sqrtf(square);
        if (type == PREDICTION_V)
            of_output = -of_output;
        for (size_t i = 0; i < s->n; i++)
            out[i] = of_x * x[i] + of_output * output[i];
    } else if (s->plan->flow_as_ve) {
        float scale = 1 / (1 + sigma), time = sigma * scale;
        for (size_t i = 0; i < s->n; i++)
            out[i] = x[i] * scale - time * output[i];
    } else {
        prediction_to_x0_ve(type, x, output, sigma, out, s->n);
    }
    sampling_limit_x0(s, out);
}

static kiln_status denoise(const sampling *s, const float *x, float sigma, float timestep, float *x0,
                           kiln_error *err)
{
    kiln_status status = sampling_predict(s, scale_input(s, x, sigma), timestep, x0, err);
    if (status)
        return status;
    to_x0(s, x, x0, sigma, x0);
    return KILN_OK;
}

void sampling_unguided(const sampling *s, const float *x, float sigma, const float *x0, float *out)
{
    const float *output = s->calls->unguided ? s->calls->unguided(s->calls->predict_self) : NULL;
    if (output)
        to_x0(s, x, output, sigma, out);
    else
        memcpy(out, x0, s->n * sizeof *out);
}

kiln_status sampling_denoise(const sampling *s, const float *x, int i, float *x0, kiln_error *err)
{
    return denoise(s, x, s->plan->sigmas[i], s->plan->timesteps[i], x0, err);
}

kiln_status sampling_denoise_at(const sampling *s, const float *x, float sigma, float *x0, kiln_error *err)
{
    return denoise(s, x, sigma, plan_timestep(s->plan, sigma), x0, err);
}

kiln_status sampling_noise(const sampling *s, float sigma_from, float sigma_to, float *out, kiln_error *err)
{
    if (!s->calls->noise)
        return fail(err, KILN_BAD_ARGUMENT, "sampler %s needs a source of noise", s->plan->row->label);
    return s->calls->noise(s->calls->noise_self, sigma_from, sigma_to, out, s->n, err);
}

kiln_status sampling_add_noise(const sampling *s, float *x, float sigma_from, float sigma_to, float scale,
                               float *noise, kiln_error *err)
{
    if (!(scale > 0))
        return KILN_OK;
    kiln_status status = sampling_noise(s, sigma_from, sigma_to, noise, err);
    if (status)
        return status;
    for (size_t k = 0; k < s->n; k++)
        x[k] = x[k] + noise[k] * (float)s->plan->s_noise * scale;
    return KILN_OK;
}

kiln_status sampling_step_done(const sampling *s, int i, float *x, const float *x0, kiln_error *err)
{
    if (!s->calls->on_step)
        return KILN_OK;
    return s->calls->on_step(s->calls->on_step_self, i - s->plan->first + 1, sampler_plan_steps(s->plan), x,
                             x0, err);
}

kiln_status sampling_churn(const sampling *s, float *x, int i, float *noise, float *sigma_hat,
                           kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float sigma = plan->sigmas[i];
    *sigma_hat = sigma;
    if (!(plan->s_churn > 0))
        return KILN_OK;
    /* Noise is drawn at every step, used or not, so that s_tmin and s_tmax do not shift the later draws. */
    kiln_status status = sampling_noise(s, sigma, plan->sigmas[i + 1], noise, err);
    if (status)
        return status;
    bool inside = plan->s_tmin <= (double)sigma && (double)sigma <= plan->s_tmax;
    if (!inside)
        return KILN_OK;
    int levels = plan->count - plan->first;
    float hat = sigma * (float)(fmin(plan->s_churn / levels, sqrt(2) - 1) + 1);
    float add = sqrtf(hat * hat - sigma * sigma);
    for (size_t k = 0; k < s->n; k++)
        x[k] = x[k] + noise[k] * (float)plan->s_noise * add;
    *sigma_hat = hat;
    return KILN_OK;
}

kiln_status sampler_run(const sampler_plan *plan, const sampler_calls *calls, float *x, size_t n,
                        kiln_error *err)
{
    size_t rows = (size_t)plan->method->scratch + SAMPLING_OWN_ROWS;
    if (n == 0 || n > SIZE_MAX / sizeof(float) / rows)
        return fail(err, KILN_BAD_ARGUMENT, "sampler %s: a latent of %zu elements", plan->row->label, n);
    sampling s = {plan, calls, n, calloc(rows * n, sizeof(float))};
    if (!s.scratch)
        return fail(err, KILN_NO_MEMORY, "sampler %s: no memory for %zu rows of %zu elements",
                    plan->row->label, rows, n);
    kiln_status status = plan->method->run(&s, x, err);
    free(s.scratch);
    return status;
}

int sampler_plan_steps(const sampler_plan *plan)
{
    return plan->count - plan->first;
}

bool sampler_plan_is_brownian(const sampler_plan *plan)
{
    return plan->row->brownian && plan->on_curve;
}

bool sampler_plan_is_stochastic(const sampler_plan *plan)
{
    const schedule_config *config = &plan->config;
    bool by_config =
        plan->folder_view && (config->algorithm == DPM_SDE || config->algorithm == DPM_SDE_PLUS_PLUS);
    bool restarts = plan->step_ends != NULL;
    return by_config || restarts || plan->s_churn > 0 || (plan->row->stochastic && plan->eta > 0);
}

sampler_equation sampler_plan_equation(const sampler_plan *plan, bool guided)
{
    if (plan->row->no_equation || (plan->row->unguided && guided))
        return EQUATION_NONE;
    if (!sampler_plan_is_stochastic(plan))
        return EQUATION_ODE;
    return sampler_plan_is_brownian(plan) && !(plan->s_churn > 0) ? EQUATION_SDE : EQUATION_NONE;
}

void sampler_start(const sampler_plan *plan, const float *noise, const float *image, float *x, size_t n)
{
    if (!image) {
        for (size_t i = 0; i < n; i++)
            x[i] = noise[i] * plan->init_noise_sigma;
    } else if (plan->variance_preserving && plan->begin_alpha >= 0) {
        add_noise_vp(image, noise, plan->begin_alpha, x, n);
    } else {
        sampler_noised_image(plan, plan->first, image, noise, x, n);
    }
}

void sampler_noised_image(const sampler_plan *plan, int index, const float *image, const float *noise,
                          float *x, size_t n)
{
    if (index >= plan->count) {
        memmove(x, image, n * sizeof *x);
        return;
    }
    float sigma = plan->step_ends && index > plan->first ? plan->step_ends[index - 1] : plan->sigmas[index];
    if (plan->schedule->kind == SCHEDULE_FLOW && !plan->flow_as_ve) {
        for (size_t i = 0; i < n; i++)
            x[i] = (1 - sigma) * image[i] + sigma * noise[i];
        return;
    }
    if (!plan->variance_preserving) {
        add_noise_ve(image, noise, sigma, x, n);
        return;
    }
    if (plan->stride > 0) {
        add_noise_vp(image, noise, schedule_alpha_bar(plan->schedule, (int)plan->timesteps[index], 1), x, n);
        return;
    }
    float alpha = 1 / sqrtf(sigma * sigma + 1), sigma_vp = sigma * alpha;
    for (size_t i = 0; i < n; i++)
        x[i] = alpha * image[i] + sigma_vp * noise[i];
}

float sampler_level(const sampler_plan *plan, float timestep)
{
    const schedule *table = plan->schedule;
    if (table->kind == SCHEDULE_FLOW)
        return timestep / (float)table->count;
    if (plan->folder_view && plan->config.timesteps == TIMESTEP_CONTINUOUS)
        return expf(4 * timestep);
    return schedule_sigma(table, timestep);
}

void sampler_x0_line(const sampler_plan *plan, float sigma, float *of_seen, float *of_output)
{
    const schedule *table = plan->schedule;
    float root = sqrtf(sigma * sigma + 1), data = (float)table->config.sigma_data;
    *of_seen = 1;
    *of_output = -sigma;
    if (table->kind == SCHEDULE_FLOW)
        return;
    if (table->kind == SCHEDULE_EDM) {
        float square = sigma * sigma + data * data;
        *of_seen = data * data / sqrtf(square);
        *of_output = sigma * data / sqrtf(square) * (plan->config.prediction == PREDICTION_V ? -1.0f : 1.0f);
        return;
    }
    switch (plan->config.prediction) {
    case PREDICTION_V:
        *of_seen = 1 / root;
        *of_output = -sigma / root;
        break;
    case PREDICTION_SAMPLE:
        *of_seen = 0;
        *of_output = 1;
        break;
    default:
        *of_seen = root;
        break;
    }
}
