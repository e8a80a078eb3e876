/* sampler_pndm.c - PNDM: Liu et al. 2022, arXiv:2202.09778, eq. 9 (the step) and 12 (the multistep noise).
 *
 * Runge-Kutta beginnings (four evaluations for each of the first three steps) unless the config says
 * skip_prk_steps; then the beginning is Heun-like: the first step is evaluated at both ends, and the list
 * of timesteps holds its end twice. PLMS of CompVis is the same thing with its own spacing.
 *
 * Beginning in the middle of the list (drawing from an image) takes the entries as they stand, as
 * diffusers does: the second evaluation then already stands one timestep lower, and one evaluation more
 * than needed is made. */
#include "diffusion/samplers.h"

#include "diffusion/prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY = 4, OUTPUT = 4, START = 5, SUM = 6, X0 = 7, ROWS = 8 };

/* Eq. 9, from timestep `from` to `to`. `output` is what the network gives, combined over steps. */
static void transfer(const sampling *s, const float *start, const float *output, int from, int to, float *x)
{
    const sampler_plan *plan = s->plan;
    float a = schedule_alpha_bar(plan->schedule, from, plan->final_alpha);
    float next = schedule_alpha_bar(plan->schedule, to, plan->final_alpha);
    float of_x = sqrtf(next / a), alpha = sqrtf(a), sigma = sqrtf(1 - a);
    float under = a * sqrtf(1 - next) + sqrtf(a * (1 - a) * next);
    bool velocity = plan->config.prediction == PREDICTION_V;
    for (size_t k = 0; k < s->n; k++) {
        float eps = velocity ? alpha * output[k] + sigma * start[k] : output[k];
        x[k] = of_x * start[k] - (next - a) * eps / under;
    }
}

/* x_0 as seen from the state before a step, for previews. */
static void look_ahead(const sampling *s, const float *x, const float *output, int t)
{
    float a = schedule_alpha_bar(s->plan->schedule, t, s->plan->final_alpha);
    prediction_to_x0_vp(s->plan->config.prediction, x, output, a, sampling_row(s, X0), NULL, s->n);
}

/* Eq. 12: Adams-Bashforth of the order that the history allows; e[0] is the newest. */
static void combine(const sampling *s, float *const e[HISTORY], int known, float *out)
{
    for (size_t k = 0; k < s->n; k++) {
        if (known == 1)
            out[k] = e[0][k];
        else if (known == 2)
            out[k] = (3 * e[0][k] - e[1][k]) / 2;
        else if (known == 3)
            out[k] = (23 * e[0][k] - 16 * e[1][k] + 5 * e[2][k]) / 12;
        else
            out[k] = (float)(1.0 / 24) * (55 * e[0][k] - 59 * e[1][k] + 37 * e[2][k] - 9 * e[3][k]);
    }
}

static void push(float *e[HISTORY], int *known)
{
    float *oldest = e[HISTORY - 1];
    memmove(e + 1, e, (HISTORY - 1) * sizeof *e);
    e[0] = oldest;
    if (*known < HISTORY)
        (*known)++;
}

/* One evaluation of the linear multistep part; `counter` counts evaluations from the beginning. */
static kiln_status multistep(const sampling *s, float *x, int i, int counter, float *e[HISTORY], int *known,
                             kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, OUTPUT), *start = sampling_row(s, START), *sum = sampling_row(s, SUM);
    int t = (int)plan->timesteps[i], from = t, to = t - plan->stride;
    kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
    if (status)
        return status;
    look_ahead(s, x, output, t);
    if (counter == 1) { /* the first step again, with the mean of both ends */
        from = t + plan->stride;
        to = t;
        for (size_t k = 0; k < s->n; k++)
            sum[k] = (output[k] + e[0][k]) / 2;
        transfer(s, start, sum, from, to, x);
        return KILN_OK;
    }
    push(e, known);
    memcpy(e[0], output, s->n * sizeof *output);
    if (counter == 0)
        memcpy(start, x, s->n * sizeof *x);
    combine(s, e, *known, sum);
    transfer(s, x, sum, from, to, x);
    return KILN_OK;
}

/* One of the four evaluations of a Runge-Kutta step (eq. 13). */
static kiln_status runge_kutta(const sampling *s, float *x, int i, float *e[HISTORY], int *known,
                               kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *output = sampling_row(s, OUTPUT), *start = sampling_row(s, START), *sum = sampling_row(s, SUM);
    int part = i % 4, half = plan->stride / 2;
    int t = (int)plan->timesteps[i], from = (int)plan->timesteps[i / 4 * 4], to = t - (i % 2 ? 0 : half);
    kiln_status status = sampling_predict(s, x, plan->timesteps[i], output, err);
    if (status)
        return status;
    look_ahead(s, x, output, t);
    if (part == 0) {
        push(e, known);
        memcpy(e[0], output, s->n * sizeof *output);
        memcpy(start, x, s->n * sizeof *x);
        memset(sum, 0, s->n * sizeof *sum);
    }
    float weight = part == 0 || part == 3 ? (float)(1.0 / 6) : (float)(1.0 / 3);
    for (size_t k = 0; k < s->n; k++)
        sum[k] += weight * output[k];
    transfer(s, start, part == 3 ? sum : output, from, to, x);
    return KILN_OK;
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    bool prk = plan->folder_view && !plan->config.skip_prk_steps;
    float *e[HISTORY];
    for (int k = 0; k < HISTORY; k++)
        e[k] = sampling_row(s, k);
    int known = 0;
    for (int i = plan->first; i < plan->count; i++) {
        /* After a Runge-Kutta beginning the special second evaluation is past. */
        kiln_status status = prk && i < 12 ? runge_kutta(s, x, i, e, &known, err)
                                           : multistep(s, x, i, prk ? 2 : i - plan->first, e, &known, err);
        if (!status)
            status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* Put entry `at` in twice. */
static kiln_status repeat_entry(sampler_plan *plan, int at, kiln_error *err)
{
    int count = plan->count;
    if (at >= count)
        return KILN_OK;
    float *timesteps = plan->timesteps, *sigmas = plan->sigmas;
    plan->timesteps = plan->sigmas = NULL;
    kiln_status status = plan_reserve(plan, count + 1, err);
    for (int i = 0; i <= count && !status; i++)
        plan->timesteps[i] = timesteps[i <= at ? i : i - 1];
    for (int i = 0; i <= count + 1 && !status; i++)
        plan->sigmas[i] = sigmas[i <= at ? i : i - 1];
    free(timesteps);
    free(sigmas);
    return status;
}

/* The first three steps as four evaluations each: at both ends and twice in the middle. */
static kiln_status expand_runge_kutta(sampler_plan *plan, kiln_error *err)
{
    if (plan->steps < 4)
        return fail(err, KILN_UNSUPPORTED, "PNDM without skip_prk_steps needs at least 4 steps, found %d",
                    plan->steps);
    float *timesteps = plan->timesteps, *sigmas = plan->sigmas;
    int steps = plan->count, half = plan->stride / 2;
    float last = (float)(plan->schedule->count - 1);
    plan->timesteps = plan->sigmas = NULL;
    kiln_status status = plan_reserve(plan, steps + 9, err);
    for (int i = 0; i < plan->count && !status; i++) {
        int step = i < 12 ? i / 4 : i - 9, part = i % 4;
        float t = timesteps[step];
        if (i < 12 && part)
            t = fminf(timesteps[step + 1] + (float)(part == 3 ? 0 : half), last);
        plan->timesteps[i] = t;
        plan->sigmas[i] = sigmas[step];
    }
    if (!status)
        plan->sigmas[plan->count] = sigmas[steps];
    free(timesteps);
    free(sigmas);
    return status;
}

static kiln_status plan_pndm(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    const schedule_config *config = &plan->config;
    if (config->prediction == PREDICTION_SAMPLE)
        return fail(err, KILN_UNSUPPORTED, "PNDM does not draw with a model that predicts the sample");
    kiln_status status = plan_vp_of_config(plan, request, err);
    if (!status)
        status = config->skip_prk_steps ? repeat_entry(plan, 1, err) : expand_runge_kutta(plan, err);
    if (!status)
        plan->begin_alpha = schedule_alpha_bar(plan->schedule, (int)plan->timesteps[plan->first], 1);
    if (!status && plan->begin_alpha == 0)
        status = fail(err, KILN_UNSUPPORTED, "PNDM cannot begin at zero terminal SNR");
    if (!status && plan->first > 0 && !config->skip_prk_steps)
        status = fail(err, KILN_UNSUPPORTED, "PNDM draws from an image only with skip_prk_steps");
    return status;
}

static kiln_status plan_plms(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    if (plan->config.prediction == PREDICTION_SAMPLE)
        return fail(err, KILN_UNSUPPORTED, "PLMS does not draw with a model that predicts the sample");
    kiln_status status = plan_compvis(plan, request, err);
    if (!status && plan->begin_alpha == 0)
        status = fail(err, KILN_UNSUPPORTED, "PLMS cannot begin at zero terminal SNR");
    return status ? status : repeat_entry(plan, plan->first + 1, err);
}

const sampler_method pndm_folder = {plan_pndm, run, ROWS, 0, false};
const sampler_method plms_named = {plan_plms, run, ROWS, 0, false};
