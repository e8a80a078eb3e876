/* sampler_dpm_solver.c - DPM-Solver on VE latents, t = -log sigma, of the noise eps (Lu et al. 2022,
 * arXiv:2206.00927):
 *
 *     DPM fast       its section 3.4: as many evaluations as steps, in blocks of order 3 even in t, and what is
 *                    left over at the end
 *     DPM adaptive   its appendix C: order 3, the step held by the difference from order 2 (h grows and shrinks
 *                    by an integral controller on it)
 *
 * With eta, each step ends below its level and noise brings it back up. Neither goes down to 0: both end at the
 * lowest level. */
#include "diffusion/samplers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EPS = 0, EPS_1 = 1, EPS_2 = 2, AHEAD = 3, X0 = 4, LOW = 5, PREVIOUS = 6, ROWS = 7 };

static float level(double t)
{
    return (float)exp(-t);
}

/* The noise at x and t, into row `to`. */
static kiln_status find_noise(const sampling *s, const float *x, double t, int to, kiln_error *err)
{
    float *x0 = sampling_row(s, X0), *eps = sampling_row(s, to), sigma = level(t);
    kiln_status status = sampling_denoise_at(s, x, sigma, x0, err);
    for (size_t k = 0; k < s->n; k++)
        eps[k] = (x[k] - x0[k]) / sigma;
    return status;
}

/* out = x - of_eps eps - of_difference (eps_late - eps) */
static void combine(const sampling *s, const float *x, double of_eps, double of_difference, int late,
                    float *out)
{
    const float *eps = sampling_row(s, EPS), *eps_late = sampling_row(s, late);
    for (size_t k = 0; k < s->n; k++)
        out[k] = x[k] - (float)of_eps * eps[k] - (float)of_difference * (eps_late[k] - eps[k]);
}

/* eps at x and t is known in row EPS. Second evaluation at the share r of the step. */
static kiln_status inner_point(const sampling *s, const float *x, double t, double h, double r,
                               kiln_error *err)
{
    float *ahead = sampling_row(s, AHEAD);
    combine(s, x, exp(-(t + r * h)) * expm1(r * h), 0, EPS, ahead);
    return find_noise(s, ahead, t + r * h, EPS_1, err);
}

static void order_2(const sampling *s, const float *x, double t, double h, double r, float *out)
{
    double scale = exp(-(t + h)) * expm1(h);
    combine(s, x, scale, scale / (2 * r), EPS_1, out);
}

static kiln_status order_3(const sampling *s, const float *x, double t, double h, float *out, kiln_error *err)
{
    const double r1 = 1.0 / 3, r2 = 2.0 / 3;
    float *ahead = sampling_row(s, AHEAD);
    double middle = exp(-(t + r2 * h)), end = exp(-(t + h));
    combine(s, x, middle * expm1(r2 * h), middle * (r2 / r1) * (expm1(r2 * h) / (r2 * h) - 1), EPS_1, ahead);
    kiln_status status = find_noise(s, ahead, t + r2 * h, EPS_2, err);
    if (!status)
        combine(s, x, end * expm1(h), end / r2 * (expm1(h) / h - 1), EPS_2, out);
    return status;
}

/* Where a step to t ends before its noise, and how much noise. */
static double aim(const sampler_plan *plan, double from, double to, double end, float *up)
{
    float down;
    *up = 0;
    if (!(plan->eta > 0))
        return to;
    ancestral_step(level(from), level(to), plan->eta, &down, up);
    double aimed = fmin(end, -log((double)down));
    *up = (float)sqrt(fmax(exp(-2 * to) - exp(-2 * aimed), 0));
    return aimed;
}

/* ------------------------------------------------------------------------------------------ fast */

static kiln_status fast_step(const sampling *s, float *x, double t, double to, int order, kiln_error *err)
{
    double h = to - t;
    kiln_status status = find_noise(s, x, t, EPS, err);
    if (!status && s->calls->on_step) /* the preview is made from the step's first evaluation */
        memcpy(sampling_row(s, PREVIOUS), sampling_row(s, X0), s->n * sizeof *x);
    if (!status && order > 1)
        status = inner_point(s, x, t, h, order == 3 ? 1.0 / 3 : 0.5, err);
    if (status)
        return status;
    if (order == 1)
        combine(s, x, exp(-to) * expm1(h), 0, EPS, x);
    else if (order == 2)
        order_2(s, x, t, h, 0.5, x);
    else
        status = order_3(s, x, t, h, x, err);
    return status;
}

/* Blocks of order 3 for n evaluations, the rest in the last one or two. */
static int fast_order(int n, int i)
{
    int blocks = n / 3 + 1;
    if (n % 3 == 0)
        return i < blocks - 2 ? 3 : i == blocks - 2 ? 2 : 1;
    return i < blocks - 1 ? 3 : n % 3;
}

static kiln_status run_fast(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    int n = plan->steps; /* evaluations: see plan_fast */
    double end = -log((double)plan->sigmas[plan->count]);
    for (int i = 0; i < plan->count; i++) {
        double t = -log((double)plan->sigmas[i]), to = -log((double)plan->sigmas[i + 1]);
        float up;
        double aimed = aim(plan, t, to, end, &up);
        kiln_status status = fast_step(s, x, t, aimed, fast_order(n, i), err);
        if (!status)
            status = sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1], up,
                                        sampling_row(s, AHEAD), err);
        if (!status)
            status = sampling_step_done(s, i, x, sampling_row(s, PREVIOUS), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* Replace the curve's levels by `count` even ones in t from where it begins to its lowest level above 0. */
static kiln_status respace(sampler_plan *plan, int count, kiln_error *err)
{
    int lowest = plan->count;
    while (lowest > plan->first && !(plan->sigmas[lowest] > 0))
        lowest--;
    double begin = -log((double)plan->sigmas[plan->first]), end = -log((double)plan->sigmas[lowest]);
    if (!(end > begin))
        end = -log((double)plan_sigma(plan, plan->schedule->kind == SCHEDULE_FLOW ? 1 : 0));
    if (!(end > begin))
        return fail(err, KILN_BAD_ARGUMENT, "%s: there is no way from the first noise level to the last",
                    plan->row->label);
    float *timesteps = plan->timesteps, *sigmas = plan->sigmas;
    free(timesteps);
    free(sigmas);
    plan->timesteps = plan->sigmas = NULL;
    kiln_status status = plan_reserve(plan, count, err);
    for (int i = 0; !status && i <= count; i++) {
        plan->sigmas[i] = level(begin + (end - begin) * i / count);
        if (i < count)
            plan->timesteps[i] = plan_timestep(plan, plan->sigmas[i]);
    }
    plan->first = 0;
    return status;
}

static kiln_status plan_fast(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->keeps_flow = !(plan->eta > 0);
    kiln_status status = plan_sigmas_of_curve(plan, request, err);
    if (status)
        return status;
    plan->steps = plan->count - plan->first;
    return respace(plan, plan->steps / 3 + (plan->steps > 0), err);
}

/* -------------------------------------------------------------------------------------- adaptive */

enum { PROGRESS_PARTS = 20, MOST_TRIES = 10000 };

static double difference(const sampling *s, const float *low, const float *high, const float *previous)
{
    const sampler_plan *plan = s->plan;
    double sum = 0;
    for (size_t k = 0; k < s->n; k++) {
        double size = fmax(fabs((double)low[k]), fabs((double)previous[k]));
        double part = ((double)low[k] - (double)high[k]) / fmax(plan->atol, plan->rtol * size);
        sum += part * part;
    }
    return sqrt(sum / (double)s->n);
}

typedef struct progress {
    double begin, end, at, h;
    int told;
} progress;

static kiln_status tell(const sampling *s, progress *p, float *x, kiln_error *err)
{
    int part = (int)(s->plan->count * (p->at - p->begin) / (p->end - p->begin));
    part = p->at >= p->end - 1e-5 ? s->plan->count : part;
    kiln_status status = KILN_OK;
    while (!status && p->told < part)
        status = sampling_step_done(s, p->told++, x, sampling_row(s, X0), err);
    return status;
}

/* Try a step; the controller's verdict and next h as in the appendix, with the factor softened by an arc tangent. */
static kiln_status try_step(const sampling *s, progress *p, float *x, kiln_error *err)
{
    float *low = sampling_row(s, LOW), *previous = sampling_row(s, PREVIOUS), *high = sampling_row(s, AHEAD),
          up;
    double to = fmin(p->end, p->at + p->h), aimed = aim(s->plan, p->at, to, p->end, &up), h = aimed - p->at;
    kiln_status status = find_noise(s, x, p->at, EPS, err);
    if (!status)
        status = inner_point(s, x, p->at, h, 1.0 / 3, err);
    if (status)
        return status;
    order_2(s, x, p->at, h, 1.0 / 3, low);
    status = order_3(s, x, p->at, h, high, err);
    if (status)
        return status;
    double order = s->plan->eta > 0 ? 1.5 : 3;
    double factor = pow(1 / (difference(s, low, high, previous) + 1e-8), 1 / order);
    factor = 1 + atan(factor - 1);
    p->h *= factor;
    if (!(factor >= 0.81))
        return KILN_OK;
    memcpy(previous, low, s->n * sizeof *low);
    memcpy(x, high, s->n * sizeof *x);
    status = sampling_add_noise(s, x, level(p->at), level(to), up, low, err);
    p->at = to;
    return status ? status : tell(s, p, x, err);
}

/* The error allowed to a step is a share of x where it begins: more than all of x where it ends, from noise alone. So
 * the first step is Euler's, to the highest level that EDM knows, which hides a picture as well. */
static kiln_status leave_noise_alone(const sampling *s, progress *p, float *x, kiln_error *err)
{
    const float hidden = 80, sigma = level(p->at);
    if (!sampling_is_noise_alone(sigma) || hidden <= level(p->end))
        return KILN_OK;
    kiln_status status = find_noise(s, x, p->at, EPS, err);
    const float *eps = sampling_row(s, EPS), *x0 = sampling_row(s, X0);
    for (size_t k = 0; k < s->n; k++)
        x[k] = x0[k] + hidden * eps[k];
    p->at = -log((double)hidden);
    return status ? status : tell(s, p, x, err);
}

static kiln_status run_adaptive(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    progress p = {
        .begin = -log((double)plan->sigmas[0]), .end = -log((double)plan->sigmas[plan->count]), .h = 0.05};
    p.at = p.begin;
    kiln_status begun = leave_noise_alone(s, &p, x, err);
    if (begun)
        return begun;
    memcpy(sampling_row(s, PREVIOUS), x, s->n * sizeof *x);
    for (int tries = 0; p.at < p.end - 1e-5; tries++) {
        kiln_status status = try_step(s, &p, x, err);
        if (!status && tries == MOST_TRIES)
            status =
                fail(err, KILN_UNSUPPORTED, "%s: no end after %d tries: the network's answers are not smooth",
                     plan->row->label, tries);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_adaptive(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    plan->keeps_flow = !(plan->eta > 0);
    kiln_status status = plan_sigmas_of_curve(plan, request, err);
    plan->adaptive = true;
    return status ? status : respace(plan, PROGRESS_PARTS, err);
}

const sampler_method dpm_fast_named = {plan_fast, run_fast, ROWS, EVERY_KIND, true};
const sampler_method dpm_adaptive_named = {plan_adaptive, run_adaptive, ROWS, EVERY_KIND, true};
