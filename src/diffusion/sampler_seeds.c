/* sampler_seeds.c - SEEDS-2 and SEEDS-3, exponential solvers of the SDE with inner points: Gonzalez et al. 2023,
 * arXiv:2305.14267, algorithms 2 and 3, predicting x_0, in VE terms (t = -log sigma, h the step, a = 1 + eta):
 *
 *     x_r = e^(-r h a) x - (e^(-r h a) - 1) D_r + noise of the way so far
 *
 * with phi_2 weights of the inner predictions in D. The noise of the inner points is one path: what is drawn for
 * one is carried on to the next. Exponential Heun is SEEDS-2 with its inner point at the end (r = 1) and the
 * phi_2 weights, without or with noise. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { X0 = 0, X0_1 = 1, X0_2 = 2, AHEAD = 3, NOISE = 4, PATH = 5, ROWS = 6 };

/* z phi_1(z) and z phi_2(z). */
static double h_phi_1(double z)
{
    return expm1(z);
}

static double h_phi_2(double z)
{
    return (expm1(z) - z) / z;
}

typedef struct stage {
    float sigma; /* where the step began */
    double h, eta;
} stage;

static float level_at(const stage *at, double r)
{
    return (float)((double)at->sigma * exp(-r * at->h));
}

/* out = the state at the share r: x, w times the predictions, and the noise so far. */
static void move(const sampling *s, const stage *at, double r, const float *x, const double w[3], float *out)
{
    const float *d0 = sampling_row(s, X0), *d1 = sampling_row(s, X0_1), *d2 = sampling_row(s, X0_2);
    const float *path = sampling_row(s, PATH);
    float of_x = (float)exp(-r * at->h * (1 + at->eta)), w0 = (float)w[0], w1 = (float)w[1], w2 = (float)w[2];
    float of_path = at->eta > 0 ? level_at(at, r) * (float)s->plan->s_noise : 0;
    for (size_t k = 0; k < s->n; k++)
        out[k] = of_x * x[k] - w0 * d0[k] - w1 * d1[k] - w2 * d2[k] + of_path * path[k];
}

/* Carry the path of unit noise from the share r to `to`. */
static kiln_status carry(const sampling *s, const stage *at, double r, double to, kiln_error *err)
{
    if (!(at->eta > 0) || !(to > r))
        return KILN_OK;
    float *path = sampling_row(s, PATH), *noise = sampling_row(s, NOISE);
    kiln_status status = sampling_noise(s, level_at(at, r), level_at(at, to), noise, err);
    double decay = (r - to) * at->h * at->eta;
    float of_path = (float)exp(decay), of_noise = (float)sqrt(-expm1(2 * decay));
    for (size_t k = 0; !status && k < s->n; k++)
        path[k] = of_path * path[k] + of_noise * noise[k];
    return status;
}

static kiln_status seeds_2(const sampling *s, float *x, const stage *at, double r, bool phi_2,
                           kiln_error *err)
{
    double a = at->h * (1 + at->eta), b1, b2;
    kiln_status status = carry(s, at, 0, r, err);
    if (status)
        return status;
    move(s, at, r, x, (double[3]){h_phi_1(-r * a), 0, 0}, sampling_row(s, AHEAD));
    status = sampling_denoise_at(s, sampling_row(s, AHEAD), level_at(at, r), sampling_row(s, X0_1), err);
    if (!status)
        status = carry(s, at, r, 1, err);
    b2 = phi_2 ? h_phi_2(-a) / r : h_phi_1(-a) / (2 * r);
    b1 = h_phi_1(-a) - b2;
    move(s, at, 1, x, (double[3]){b1, b2, 0}, x);
    return status;
}

static kiln_status seeds_3(const sampling *s, float *x, const stage *at, kiln_error *err)
{
    const double r1 = 1.0 / 3, r2 = 2.0 / 3;
    double a = at->h * (1 + at->eta);
    float *ahead = sampling_row(s, AHEAD);
    kiln_status status = carry(s, at, 0, r1, err);
    if (status)
        return status;
    move(s, at, r1, x, (double[3]){h_phi_1(-r1 * a), 0, 0}, ahead);
    status = sampling_denoise_at(s, ahead, level_at(at, r1), sampling_row(s, X0_1), err);
    if (!status)
        status = carry(s, at, r1, r2, err);
    if (status)
        return status;
    double inner = r2 / r1 * h_phi_2(-r2 * a), late = h_phi_2(-a) / r2;
    move(s, at, r2, x, (double[3]){h_phi_1(-r2 * a) - inner, inner, 0}, ahead);
    status = sampling_denoise_at(s, ahead, level_at(at, r2), sampling_row(s, X0_2), err);
    if (!status)
        status = carry(s, at, r2, 1, err);
    move(s, at, 1, x, (double[3]){h_phi_1(-a) - late, 0, late}, x);
    return status;
}

typedef enum solver { TWO, THREE, HEUN } solver;

static kiln_status run(const sampling *s, float *x, solver kind, double eta, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, X0);
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        stage at = {sigma, log((double)sigma) - log((double)next), eta};
        memset(sampling_row(s, PATH), 0, s->n * sizeof *x);
        if (!(next > 0))
            memcpy(x, x0, s->n * sizeof *x);
        else if (kind == THREE)
            status = seeds_3(s, x, &at, err);
        else
            status = seeds_2(s, x, &at, kind == HEUN ? 1 : 0.5, kind == HEUN, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_two(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, TWO, s->plan->eta, err);
}

static kiln_status run_three(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, THREE, s->plan->eta, err);
}

static kiln_status run_heun(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, HEUN, 0, err);
}

static kiln_status run_heun_sde(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, HEUN, s->plan->eta, err);
}

const sampler_method seeds_2_named = {plan_sigmas_of_curve, run_two, ROWS, EVERY_KIND, true};
const sampler_method seeds_3_named = {plan_sigmas_of_curve, run_three, ROWS, EVERY_KIND, true};
const sampler_method exp_heun_named = {plan_sigmas_of_curve, run_heun, ROWS, EVERY_KIND, true};
const sampler_method exp_heun_sde_named = {plan_sigmas_of_curve, run_heun_sde, ROWS, EVERY_KIND, true};
