/* sampler_multistep_sigma.c - linear multistep methods on Karras' ODE in sigma, d = (x - x_0) / sigma the slope:
 *
 *     iPNDM      weights of Adams and Bashforth for even steps, whatever the steps are (Zhang and Chen 2022,
 *                arXiv:2204.13902, appendix H.1): good on levels whose distances change slowly
 *     iPNDM_v    weights for uneven steps as in Zhou et al. 2023, arXiv:2312.00094, and ComfyUI: right to order 2
 *     DEIS       the slope extrapolated by a polynomial of order 3 in VP time u(sigma) and integrated over sigma
 *                (arXiv:2204.13902, eq. 15, tAB), u of the VP path with beta from 0.1 to about 20
 *
 * (LMS extrapolates by a polynomial in sigma itself, and is of order 4 on any levels.) Each goes to x_0 at the
 * last step. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { ORDER = 4 };

/* Weights times the step, newest first, for `order` slopes at sigma[0], sigma[-1], ... on the way to sigma[1]. */
typedef void (*weigher)(const float *sigma, int order, double w[ORDER]);

static void weigh_even(const float *sigma, int order, double w[ORDER])
{
    float even[ORDER];
    adams_bashforth(order, even);
    for (int k = 0; k < ORDER; k++)
        w[k] = (double)even[k] * ((double)sigma[1] - (double)sigma[0]);
}

static void weigh_uneven(const float *sigma, int order, double w[ORDER])
{
    double h = (double)sigma[1] - (double)sigma[0], h1 = order > 1 ? (double)sigma[0] - (double)sigma[-1] : 1;
    double h2 = order > 2 ? (double)sigma[-1] - (double)sigma[-2] : 1;
    double h3 = order > 3 ? (double)sigma[-2] - (double)sigma[-3] : 1;
    double third = 0, fourth = 0, far = h1 * (h1 + h2) / (h2 * (h2 + h3)), late = h / (3 * (h + h1));
    if (order > 2)
        third = (1 - late * (h * (h + h1)) / (h1 * (h1 + h2))) / 2;
    if (order > 3)
        fourth = ((1 - late) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))) *
                 (h * (h + h1) * (h + h1 + h2)) / (h1 * (h1 + h2) * (h1 + h2 + h3));
    double second = order > 1 ? h / h1 / 2 : 0;
    w[0] = h * (1 + second + third + fourth);
    w[1] = h * (-second - (1 + h1 / h2) * third - (1 + h1 / h2 + far) * fourth);
    w[2] = h * (third * h1 / h2 + (h1 / h2 + far * (1 + h2 / h3)) * fourth);
    w[3] = h * (-fourth * far * h1 / h2);
}

/* VP time of a noise level: sigma^2 + 1 = e^(beta_d u^2 / 2 + beta_min u), from 0.002 at u = 0.001 to 80 at 1. */
static double vp_time(double sigma)
{
    const double low = 0.001, at_low = log1p(0.002 * 0.002), at_high = log1p(80.0 * 80.0);
    double beta_d = 2 * (at_low / low - at_high) / (low - 1), beta_min = at_high - 0.5 * beta_d;
    return (sqrt(beta_min * beta_min + 2 * beta_d * log1p(sigma * sigma)) - beta_min) / beta_d;
}

/* Gauss with five points on each of sixteen parts: the integrand is smooth. */
static void weigh_deis(const float *sigma, int order, double w[ORDER])
{
    static const double point[5] = {-0.90617984593866399, -0.53846931010568309, 0, 0.53846931010568309,
                                    0.90617984593866399};
    static const double gauss[5] = {0.23692688505618909, 0.47862867049936647, 0.56888888888888889,
                                    0.47862867049936647, 0.23692688505618909};
    enum { PARTS = 16 };
    double from = (double)sigma[0], width = ((double)sigma[1] - from) / PARTS, node[ORDER] = {0};
    order = order < 3 ? order : 3;
    for (int k = 0; k < order; k++)
        node[k] = vp_time((double)sigma[-k]);
    memset(w, 0, ORDER * sizeof *w);
    for (int g = 0; g < 5 * PARTS; g++) {
        int part = g / 5;
        double u = vp_time(from + width * (part + 0.5 + 0.5 * point[g % 5]));
        for (int k = 0; k < order; k++) {
            double value = gauss[g % 5] * width / 2;
            for (int j = 0; j < order; j++)
                if (j != k)
                    value *= (u - node[j]) / (node[k] - node[j]);
            w[k] += value;
        }
    }
}

static kiln_status run(const sampling *s, float *x, weigher weigh, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *slope[ORDER], *x0 = sampling_row(s, ORDER);
    for (int k = 0; k < ORDER; k++)
        slope[k] = sampling_row(s, k);
    for (int i = plan->first; i < plan->count; i++) {
        float *newest = slope[ORDER - 1], sigma = plan->sigmas[i];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        memmove(slope + 1, slope, (ORDER - 1) * sizeof *slope);
        slope[0] = newest;
        double w[ORDER] = {0};
        int known = i - plan->first + 1;
        weigh(plan->sigmas + i, known < ORDER ? known : ORDER, w);
        bool last = !(plan->sigmas[i + 1] > 0);
        for (size_t k = 0; k < s->n; k++) {
            newest[k] = (x[k] - x0[k]) / sigma;
            float step = 0;
            for (int j = 0; j < ORDER; j++)
                step += (float)w[j] * slope[j][k];
            x[k] = last ? x0[k] : x[k] + step;
        }
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_ipndm(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, weigh_even, err);
}

static kiln_status run_ipndm_v(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, weigh_uneven, err);
}

static kiln_status run_deis(const sampling *s, float *x, kiln_error *err)
{
    return run(s, x, weigh_deis, err);
}

const sampler_method ipndm_named = {plan_sigmas_of_curve, run_ipndm, ORDER + 1, EVERY_KIND, false};
const sampler_method ipndm_v_named = {plan_sigmas_of_curve, run_ipndm_v, ORDER + 1, EVERY_KIND, false};
const sampler_method deis_named = {plan_sigmas_of_curve, run_deis, ORDER + 1, EVERY_KIND, false};
