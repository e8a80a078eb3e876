/* sampler_unipc.c - UniPC: Zhao et al. 2023, arXiv:2302.04867, algorithms 1 (UniC) and 2 (UniP),
 * predicting x_0, on VP latents. Every evaluation first corrects the point that it was made at (eq. 3),
 * then predicts the next (eq. 5); B(h) is h (bh1) or e^h - 1 (bh2). */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { ORDERS = 3, START = 3, X0 = 4, ROWS = 5 };

/* Solve a (n <= 3) by elimination with pivots; the answer is in b. */
static void solve(double a[ORDERS][ORDERS], double b[ORDERS], int n)
{
    for (int column = 0; column < n; column++) {
        int pivot = column;
        for (int row = column + 1; row < n; row++)
            if (fabs(a[row][column]) > fabs(a[pivot][column]))
                pivot = row;
        for (int k = 0; k < n; k++) {
            double swapped = a[column][k];
            a[column][k] = a[pivot][k];
            a[pivot][k] = swapped;
        }
        double swapped = b[column];
        b[column] = b[pivot];
        b[pivot] = swapped;
        for (int row = 0; row < n; row++) {
            double factor = row == column ? 0 : a[row][column] / a[column][column];
            for (int k = 0; k < n; k++)
                a[row][k] -= factor * a[column][k];
            b[row] -= factor * b[column];
        }
    }
    for (int row = 0; row < n; row++)
        b[row] /= a[row][row];
}

typedef struct unipc_step {
    float of_x, of_m0, scale; /* x' = of_x x + of_m0 m_0 + scale sum(rho_k D_k) */
    double rate[ORDERS];      /* r_k of the older predictions, and 1 for the newest */
    double rho[ORDERS];
} unipc_step;

/* Coefficients of the step from level i to i + 1; the corrector solves for one unknown more. */
static unipc_step step_of(const sampler_plan *plan, int i, int order, bool corrector)
{
    unipc_step u = {0};
    vp_level from = plan_level(plan, plan->sigmas[i]), to = plan_level(plan, plan->sigmas[i + 1]);
    float h = to.lambda - from.lambda, e = expm1f(-h), base = plan->config.solver == SOLVER_BH1 ? -h : e;
    u.rate[order - 1] = 1;
    if (h == 0) { /* final_sigmas_type sigma_min below a curve that already ends there */
        u.of_x = 1;
        for (int k = 0; k < order; k++)
            u.rate[k] = 1;
        return u;
    }
    u.of_x = to.sigma / from.sigma;
    u.of_m0 = -to.alpha * e;
    u.scale = -to.alpha * base;
    int unknowns = corrector ? order : order - 1;
    for (int k = 0; k + 1 < order; k++)
        u.rate[k] = (double)((plan_level(plan, plan->sigmas[i - 1 - k]).lambda - from.lambda) / h);
    if (unknowns == 1) {
        u.rho[0] = 0.5;
        return u;
    }
    double a[ORDERS][ORDERS], hh = -(double)h, phi = expm1(hh) / hh - 1, factorial = 1;
    for (int row = 0; row < unknowns; row++) {
        for (int k = 0; k < unknowns; k++)
            a[row][k] = pow(u.rate[k], row);
        u.rho[row] = phi * factorial / (double)base;
        factorial *= row + 2;
        phi = phi / hh - 1 / factorial;
    }
    if (unknowns > 0)
        solve(a, u.rho, unknowns);
    return u;
}

/* m[0] is the prediction at the step's start, m[1].. older; `newest`, at the step's end, is for the
 * corrector. */
static void apply(const unipc_step *u, const float *start, float *const *m, const float *newest, int order,
                  float *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        float sum = 0;
        for (int k = 0; k + 1 < order; k++)
            sum += (float)u->rho[k] * ((m[k + 1][e] - m[0][e]) / (float)u->rate[k]);
        if (newest)
            sum += (float)u->rho[order - 1] * (newest[e] - m[0][e]);
        x[e] = u->of_x * start[e] + u->of_m0 * m[0][e] + (order > 1 || newest ? u->scale * sum : 0);
    }
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *m[ORDERS + 1], *start = sampling_row(s, START), *x0 = sampling_row(s, X0);
    for (int k = 0; k < ORDERS; k++)
        m[k] = sampling_row(s, k);
    m[ORDERS] = sampling_row(s, ROWS);
    int order = 0;
    for (int i = plan->first; i < plan->count; i++) {
        float *now = m[ORDERS];
        kiln_status status = multistep_predict(s, x, i, now, x0, err);
        if (status)
            return status;
        if (i > plan->first) {
            unipc_step corrector = step_of(plan, i - 1, order, true);
            apply(&corrector, start, m, now, order, x, s->n);
        }
        memmove(m + 1, m, ORDERS * sizeof *m);
        m[0] = now;
        order = plan->config.solver_order;
        if (plan->config.lower_order_final && order > plan->count - i)
            order = plan->count - i;
        if (order > i - plan->first + 1)
            order = i - plan->first + 1;
        if (!(plan->sigmas[i + 1] > 0))
            order = 1;
        memcpy(start, x, s->n * sizeof *x);
        unipc_step predictor = step_of(plan, i, order, false);
        apply(&predictor, start, m, NULL, order, x, s->n);
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    if (!plan->config.predict_x0)
        return fail(err, KILN_UNSUPPORTED,
                    "UniPC that predicts the noise (predict_x0 false) is not supported");
    plan->config.algorithm = DPM_PLUS_PLUS;
    plan->config.lambda_min_clipped = -1e308;
    plan->config.use_lu_lambdas = false;
    return plan_multistep_levels(plan, request, err);
}

/* Named view: A1111's and ComfyUI's timesteps, even from the highest to 0 with log alpha linear between those of the
 * table, one level more than steps; order 3, or 2 for short drawings. */
static kiln_status plan_named(sampler_plan *plan, const sampler_request *request, dpm_solver solver,
                              kiln_error *err)
{
    const schedule *table = plan->schedule;
    schedule_config *config = &plan->config;
    config->algorithm = DPM_PLUS_PLUS;
    config->solver = solver;
    config->predict_x0 = config->lower_order_final = true;
    config->solver_order = plan->steps > 2 ? 3 : plan->steps;
    if (table->alpha_bar[table->count - 1] == 0)
        return fail(err, KILN_UNSUPPORTED, "UniPC cannot begin at zero terminal SNR");
    kiln_status status = plan_reserve(plan, plan->steps, err);
    for (int i = 0; !status && i <= plan->count; i++) {
        double t = (double)(table->count - 1) * (plan->count - i) / plan->count;
        int low = t >= table->count - 1 ? table->count - 2 : (int)t;
        double w = t - low, left = log((double)table->alpha_bar[low]),
               right = log((double)table->alpha_bar[low + 1]);
        plan->sigmas[i] = (float)sqrt(expm1(-((1 - w) * left + w * right)));
        if (i < plan->count)
            plan->timesteps[i] = (float)t;
    }
    plan->variance_preserving = true;
    plan->init_noise_sigma = 1;
    return status ? status : plan_begin_folder(plan, request, err);
}

static kiln_status plan_bh1(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    return plan_named(plan, request, SOLVER_BH1, err);
}

static kiln_status plan_bh2(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    return plan_named(plan, request, SOLVER_BH2, err);
}

/* ComfyUI's: the levels of a curve, the last 0.001 instead of 0. */
static kiln_status plan_curve(sampler_plan *plan, const sampler_request *request, dpm_solver solver,
                              kiln_error *err)
{
    schedule_config *config = &plan->config;
    kiln_status status = plan_sigmas_of_curve(plan, request, err);
    if (status)
        return status;
    config->algorithm = DPM_PLUS_PLUS;
    config->solver = solver;
    config->predict_x0 = config->lower_order_final = true;
    int steps = plan->count - plan->first;
    config->solver_order = steps > 3 ? 3 : steps > 1 ? steps - 1 : 1;
    if (!(plan->sigmas[plan->count] > 0))
        plan->sigmas[plan->count] = fminf(0.001f, plan->sigmas[plan->count - 1] / 2);
    plan->variance_preserving = true;
    plan->init_noise_sigma = plan->sigmas[0] / sqrtf(plan->sigmas[0] * plan->sigmas[0] + 1);
    return KILN_OK;
}

static kiln_status plan_curve_bh1(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    return plan_curve(plan, request, SOLVER_BH1, err);
}

static kiln_status plan_curve_bh2(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    return plan_curve(plan, request, SOLVER_BH2, err);
}

const sampler_method unipc_curve_named = {plan_curve_bh1, run, ROWS + 1, 0, false};
const sampler_method unipc_curve_bh2_named = {plan_curve_bh2, run, ROWS + 1, 0, false};
const sampler_method unipc_named = {plan_bh1, run, ROWS + 1, 0, false};
const sampler_method unipc_bh2_named = {plan_bh2, run, ROWS + 1, 0, false};
const sampler_method unipc_folder = {plan_folder, run, ROWS + 1, 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW,
                                     false};
