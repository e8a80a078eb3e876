/* sampler_sa_solver.c - SA-Solver, stochastic Adams: Xue et al. 2023, arXiv:2309.05019, algorithm 1. With
 * lambda = log(alpha / sigma), h the step in lambda and a = 1 + tau^2,
 *
 *     x' = e^(-tau^2 h) sigma'/sigma x + a alpha' sum_k m_k int_-h^0 e^(a u) L_k(u) du
 *          + sigma' sqrt(1 - e^(-2 tau^2 h)) z
 *
 * L_k being Lagrange's polynomials through the nodes of the predictions m_k of x_0 (Adams-Bashforth predicts; the
 * same with the prediction at the step's end, and the same noise z, corrects: Adams-Moulton). tau scales the noise.
 *
 *     folder view   diffusers: orders of the config; tau is 1 at timesteps 200 to 800, else 0; order 2 has its
 *                   weights corrected as in the paper's appendix; predictions of x_0 or of the noise
 *     named view    ComfyUI: predictor 3, corrector 4; tau is eta between a fifth and four fifths of the way;
 *                   the PECE form evaluates the corrected point again */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { NODES = 4, BASE = 4, NOISE = 5, NEXT_NOISE = 6, X0 = 7, ROWS = 8 };

/* int_-h^0 u^k e^(b u) du for k < count. */
static void exponential_moments(double b, double h, int count, double out[NODES])
{
    double edge = exp(-b * h), power = 1;
    out[0] = -expm1(-b * h) / b;
    for (int k = 1; k < count; k++) {
        power *= -h;
        out[k] = (-power * edge - k * out[k - 1]) / b;
    }
}

/* Coefficients of Lagrange's polynomial of node k, lowest power first. */
static void lagrange(const double *node, int count, int k, double out[NODES])
{
    memset(out, 0, NODES * sizeof *out);
    out[0] = 1;
    int degree = 0;
    for (int j = 0; j < count; j++) {
        if (j == k)
            continue;
        double scale = 1 / (node[k] - node[j]);
        degree++;
        for (int p = degree; p >= 0; p--)
            out[p] = ((p > 0 ? out[p - 1] : 0) - node[j] * out[p]) * scale;
    }
}

typedef struct adams_step {
    float of_x, noise;
    float w[NODES]; /* of the predictions, newest first */
} adams_step;

/* From level `from` to `to`; node[] are lambdas, newest first. */
static adams_step adams(vp_level from, vp_level to, const double *lambda, int order, double tau, bool of_data)
{
    adams_step step = {0};
    double h = (double)to.lambda - (double)from.lambda, a = 1 + tau * tau, node[NODES], moment[NODES];
    double scale = of_data ? a * (double)to.alpha : -a * (double)to.sigma;
    for (int k = 0; k < order; k++)
        node[k] = lambda[k] - (double)to.lambda;
    exponential_moments(of_data ? a : -1, h, order, moment);
    for (int k = 0; k < order; k++) {
        double polynomial[NODES], sum = 0;
        lagrange(node, order, k, polynomial);
        for (int p = 0; p < order; p++)
            sum += polynomial[p] * moment[p];
        step.w[k] = (float)(scale * sum);
    }
    if (of_data) {
        step.of_x = (float)(exp(-tau * tau * h) * (double)to.sigma / (double)from.sigma);
        step.noise = (float)((double)to.sigma * sqrt(-expm1(-2 * tau * tau * h)));
    } else {
        step.of_x = to.alpha / from.alpha;
        step.noise = (float)(tau * (double)to.sigma * sqrt(expm1(2 * h)));
    }
    return step;
}

/* The correction of order 2 that diffusers makes; `span` is the distance of the two nodes. */
static void correct_order_2(adams_step *step, vp_level from, vp_level to, double tau, double span,
                            bool predictor)
{
    double h = (double)to.lambda - (double)from.lambda, a = 1 + tau * tau;
    double exact = (h * a - 1 + exp(-a * h)) / (a * a);
    double more = predictor ? (h * h / 2 - exact) / span : h / 2 - exact / h;
    step->w[0] += (float)(a * (double)to.alpha * more);
    step->w[1] -= (float)(a * (double)to.alpha * more);
}

static void apply(const sampling *s, const adams_step *step, const float *base, float *const *m, int order,
                  const float *noise, float *x)
{
    for (size_t e = 0; e < s->n; e++) {
        float next = step->of_x * base[e];
        for (int k = 0; k < order; k++)
            next += step->w[k] * m[k][e];
        x[e] = noise ? next + step->noise * noise[e] : next;
    }
}

static void shift(float *m[NODES])
{
    float *oldest = m[NODES - 1];
    memmove(m + 1, m, (NODES - 1) * sizeof *m);
    m[0] = oldest;
}

static void lambdas(const sampler_plan *plan, int newest, int count, double out[NODES])
{
    for (int k = 0; k < count; k++)
        out[k] = (double)plan_level(plan, plan->sigmas[newest - k]).lambda;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* ------------------------------------------------------------------------------------ folder view */

static double tau_at(const sampler_plan *plan, int i)
{
    return plan->timesteps[i] >= 200 && plan->timesteps[i] <= 800 ? plan->eta : 0;
}

static void move(const sampling *s, float *const *m, int at, int from, int order, bool predictor, double tau,
                 const float *noise, float *x)
{
    const sampler_plan *plan = s->plan;
    bool of_data = dpm_of_data(plan->config.algorithm);
    double lambda[NODES];
    vp_level begin = plan_level(plan, plan->sigmas[from]), end = plan_level(plan, plan->sigmas[from + 1]);
    if (begin.sigma == end.sigma) /* a curve that already ends at the last level */
        return;
    lambdas(plan, at, order, lambda);
    adams_step step = adams(begin, end, lambda, order, tau, of_data);
    if (of_data && order == 2)
        correct_order_2(&step, begin, end, tau, lambda[0] - lambda[1], predictor);
    apply(s, &step, sampling_row(s, BASE), m, order, noise, x);
}

static kiln_status run_folder(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    const schedule_config *config = &plan->config;
    float *m[NODES], *noise = sampling_row(s, NOISE), *base = sampling_row(s, BASE);
    for (int k = 0; k < NODES; k++)
        m[k] = sampling_row(s, k);
    int corrector = 0;
    for (int i = plan->first; i < plan->count; i++) {
        int known = i - plan->first, left = config->lower_order_final ? plan->count - i : plan->count;
        shift(m);
        kiln_status status = multistep_predict(s, x, i, m[0], sampling_row(s, X0), err);
        if (!status && known > 0)
            move(s, m, i, i - 1, corrector, false, tau_at(plan, i - 1), noise, x);
        if (!status)
            status = sampling_noise(s, plan->sigmas[i], plan->sigmas[i + 1], noise, err);
        if (status)
            return status;
        for (size_t e = 0; plan->s_noise != 1 && e < s->n; e++)
            noise[e] *= (float)plan->s_noise;
        int most = config->predictor_order > config->corrector_order - 1 ? config->predictor_order
                                                                         : config->corrector_order - 1;
        known = least(known, most);
        corrector = least(least(config->corrector_order, left + 1), known + 2);
        memcpy(base, x, s->n * sizeof *x);
        int predictor = least(least(config->predictor_order, left), known + 1);
        move(s, m, i, i, predictor, true, tau_at(plan, i), noise, x);
        status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    schedule_config *config = &plan->config;
    config->final_sigmas = FINAL_SIGMA_MIN;
    config->use_lu_lambdas = false;
    return plan_multistep_levels(plan, request, err);
}

/* ------------------------------------------------------------------------------------- named view */

static double named_tau(const sampler_plan *plan, float sigma)
{
    const schedule *table = plan->schedule;
    float level = plan->flow_as_ve ? sigma / (1 + sigma) : sigma;
    float high = table->sigma[(table->count - 1) * 4 / 5], low = table->sigma[(table->count - 1) / 5];
    return level >= low && level <= high ? plan->eta : 0;
}

static void move_named(const sampling *s, float *const *m, int at, int from, int order, double tau,
                       const float *noise, float *x)
{
    const sampler_plan *plan = s->plan;
    double lambda[NODES];
    float sigma = plan->sigmas[from], next = plan->sigmas[from + 1];
    vp_level begin = {1, sigma, -logf(sigma)}, end = {1, next, -logf(next)};
    for (int k = 0; k < order; k++)
        lambda[k] = -log((double)plan->sigmas[at - k]);
    adams_step step = adams(begin, end, lambda, order, tau, true);
    apply(s, &step, sampling_row(s, BASE), m, order, tau > 0 ? noise : NULL, x);
}

static kiln_status evaluate(const sampling *s, const float *x, int i, float *m, kiln_error *err)
{
    kiln_status status = sampling_denoise(s, x, i, m, err);
    if (!status)
        memcpy(sampling_row(s, X0), m, s->n * sizeof *m);
    return status;
}

/* Correct the point of level i, with the prediction there; the last step only where PECE evaluates again. */
static kiln_status correct(const sampling *s, float *x, int i, float *const *m, double tau, bool pece,
                           kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    bool to_zero = !(plan->sigmas[plan->count] > 0);
    int known = i - plan->first, order = least(NODES, known + 1);
    if (to_zero)
        order = least(order, plan->count - i);
    if (known == 0 || order < 1 || (!(plan->sigmas[i + 1] > 0) && !pece))
        return KILN_OK;
    move_named(s, m, i, i - 1, order, tau, sampling_row(s, NOISE), x);
    return pece ? evaluate(s, x, i, m[0], err) : KILN_OK;
}

static kiln_status run_any(const sampling *s, float *x, bool pece, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *m[NODES], *noise = sampling_row(s, NOISE);
    for (int k = 0; k < NODES; k++)
        m[k] = sampling_row(s, k);
    double tau = 0;
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->sigmas[i + 1];
        int order = least(NODES - 1, i - plan->first + 1);
        if (!(plan->sigmas[plan->count] > 0))
            order = least(order, plan->count - 1 - i);
        shift(m);
        kiln_status status = evaluate(s, x, i, m[0], err);
        if (!status)
            status = correct(s, x, i, m, tau, pece, err);
        if (!status && next > 0) {
            tau = named_tau(plan, next);
            memcpy(sampling_row(s, BASE), x, s->n * sizeof *x);
            if (tau > 0)
                status = sampling_noise(s, sigma, next, noise, err);
            for (size_t e = 0; tau > 0 && plan->s_noise != 1 && e < s->n; e++)
                noise[e] *= (float)plan->s_noise;
            move_named(s, m, i, i, order > 0 ? order : 1, tau, noise, x);
        } else if (!status) {
            memcpy(x, m[0], s->n * sizeof *x);
        }
        if (!status)
            status = sampling_step_done(s, i, x, sampling_row(s, X0), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status run_named(const sampling *s, float *x, kiln_error *err)
{
    return run_any(s, x, false, err);
}

static kiln_status run_pece(const sampling *s, float *x, kiln_error *err)
{
    return run_any(s, x, true, err);
}

const sampler_method sa_solver_folder = {plan_folder, run_folder, ROWS, 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW,
                                         false};
const sampler_method sa_solver_named = {plan_sigmas_of_curve, run_named, ROWS, EVERY_KIND, true};
const sampler_method sa_solver_pece_named = {plan_sigmas_of_curve, run_pece, ROWS, EVERY_KIND, true};
