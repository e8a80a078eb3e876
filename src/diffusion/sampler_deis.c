/* sampler_deis.c - DEIS: Zhang and Chen 2022, arXiv:2204.13902. With rho = sigma / alpha, x / alpha is the integral
 * of the noise over rho; the noise is extrapolated by the polynomial through its last values
 *
 *     folder view   in log rho (the paper's logrho-AB), of order solver_order: integrals known in closed form
 *     named view    in VP time (its tAB), of order 3, as ComfyUI does it: see sampler_multistep_sigma.c */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { ORDERS = 3, X0 = 3, ROWS = 4 };

/* The antiderivative in rho of l^2 + b l + c, l = log rho: integrals of l and l^2 are rho (l - 1) and
 * rho (l^2 - 2 l + 2). */
static double antiderivative(double rho, double of_square, double b, double c)
{
    double l = log(rho);
    return rho * (of_square * (l * l - 2 * l + 2) + b * (l - 1) + c);
}

/* The weight of node k: the integral from rho[0] to `to` of its Lagrange polynomial in log rho. */
static double weight(const double rho[ORDERS], int order, int k, double to)
{
    double others[2] = {0}, scale = 1;
    int count = 0;
    for (int j = 0; j < order; j++)
        if (j != k) {
            others[count++] = log(rho[j]);
            scale *= log(rho[k]) - log(rho[j]);
        }
    double of_square = count == 2, b = count == 2 ? -(others[0] + others[1]) : count, c = 1;
    if (count > 0)
        c = count == 2 ? others[0] * others[1] : -others[0];
    return (antiderivative(to, of_square, b, c) - antiderivative(rho[0], of_square, b, c)) / scale;
}

static int order_at(const sampler_plan *plan, int i)
{
    int order = plan->config.solver_order, known = i - plan->first + 1, left = plan->count - i;
    if (plan->config.lower_order_final && plan->count < 15 && order > left)
        order = left;
    return order < known ? order : known;
}

static void advance(const sampling *s, float *x, int i, float *const e[ORDERS])
{
    const sampler_plan *plan = s->plan;
    vp_level from = plan_level(plan, plan->sigmas[i]), to = plan_level(plan, plan->sigmas[i + 1]);
    int order = order_at(plan, i);
    double rho[ORDERS];
    for (int k = 0; k < order; k++) {
        vp_level at = plan_level(plan, plan->sigmas[i - k]);
        rho[k] = (double)at.sigma / (double)at.alpha;
    }
    float of_x = to.alpha / from.alpha, w[ORDERS];
    for (int k = 0; k < order; k++)
        w[k] = (float)((double)to.alpha * weight(rho, order, k, (double)to.sigma / (double)to.alpha));
    for (size_t j = 0; j < s->n; j++) {
        float next = of_x * x[j];
        for (int k = 0; k < order; k++)
            next += w[k] * e[k][j];
        x[j] = next;
    }
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *e[ORDERS];
    for (int k = 0; k < ORDERS; k++)
        e[k] = sampling_row(s, k);
    for (int i = plan->first; i < plan->count; i++) {
        float *oldest = e[ORDERS - 1];
        memmove(e + 1, e, (ORDERS - 1) * sizeof *e);
        e[0] = oldest;
        kiln_status status = multistep_predict(s, x, i, e[0], sampling_row(s, X0), err);
        if (status)
            return status;
        advance(s, x, i, e);
        status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    config->algorithm = DPM_PLAIN;
    config->final_sigmas = FINAL_SIGMA_MIN;
    config->lambda_min_clipped = -1e308;
    config->use_lu_lambdas = false;
    return plan_multistep_levels(plan, request, err);
}

const sampler_method deis_folder = {plan_folder, run, ROWS, 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW, false};
