/* sampler_er_sde.c - ER-SDE-Solver-3, extended reverse-time SDE: Cui et al. 2023, arXiv:2309.06169, proposition 4,
 * in VE terms, with the noise scale phi(l) = l (e^(l^0.3) + 10) of its section 5:
 *
 *     r  = phi(sigma') / phi(sigma)
 *     x' = r x + (1 - r) x_0 + (dt + phi(sigma') S_1) D_1 + (dt^2 / 2 + phi(sigma') S_2) D_2
 *          + sqrt(sigma'^2 - sigma^2 r^2) z
 *     dt = sigma' - sigma,  S_1 = int 1 / phi,  S_2 = int (l - sigma) / phi  over [sigma', sigma]
 *
 * D_1 and D_2 are divided differences of the last predictions. The integrals are sums of 200 left ends, as in the
 * paper's program. The step down to 0 is the prediction itself. */
#include "diffusion/samplers.h"

#include <math.h>
#include <string.h>

enum { POINTS = 200 };

static double noise_scale(double level)
{
    return level * (exp(pow(level, 0.3)) + 10);
}

static void integrals(double from, double to, double *one, double *slope)
{
    double width = (from - to) / POINTS;
    *one = *slope = 0;
    for (int p = 0; p < POINTS; p++) {
        double at = to + p * width, inverse = 1 / noise_scale(at);
        *one += inverse * width;
        *slope += (at - from) * inverse * width;
    }
}

typedef struct history {
    float *x0, *x0_last, *d1, *d1_last;
    int known;
} history;

static void step(const sampling *s, float *x, int i, const history *m)
{
    const sampler_plan *plan = s->plan;
    double sigma = (double)plan->sigmas[i], next = (double)plan->sigmas[i + 1], dt = next - sigma;
    double r = noise_scale(next) / noise_scale(sigma), one = 0, slope = 0;
    int known = m->known;
    if (known > 0)
        integrals(sigma, next, &one, &slope);
    float of_x = (float)r, of_x0 = (float)(1 - r);
    float of_d1 = (float)(dt + one * noise_scale(next)),
          of_d2 = (float)(dt * dt / 2 + slope * noise_scale(next));
    float per_d1 = known > 0 ? 1 / (float)(sigma - (double)plan->sigmas[i - 1]) : 0;
    float per_d2 = known > 1 ? 2 / (float)(sigma - (double)plan->sigmas[i - 2]) : 0;
    for (size_t k = 0; k < s->n; k++) {
        float stepped = of_x * x[k] + of_x0 * m->x0[k];
        if (known > 0) {
            m->d1[k] = (m->x0[k] - m->x0_last[k]) * per_d1;
            stepped += of_d1 * m->d1[k];
        }
        if (known > 1)
            stepped += of_d2 * (m->d1[k] - m->d1_last[k]) * per_d2;
        x[k] = stepped;
    }
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    history m = {sampling_row(s, 0), sampling_row(s, 1), sampling_row(s, 2), sampling_row(s, 3), 0};
    float *noise = sampling_row(s, 4);
    for (int i = plan->first; i < plan->count; i++) {
        double sigma = (double)plan->sigmas[i], next = (double)plan->sigmas[i + 1], spread = 0;
        kiln_status status = sampling_denoise(s, x, i, m.x0, err);
        if (status)
            return status;
        if (next > 0) {
            double r = noise_scale(next) / noise_scale(sigma);
            step(s, x, i, &m);
            spread = sqrt(fmax(next * next - sigma * sigma * r * r, 0));
        } else {
            memcpy(x, m.x0, s->n * sizeof *x);
        }
        status = sampling_add_noise(s, x, plan->sigmas[i], plan->sigmas[i + 1], (float)spread, noise, err);
        if (!status)
            status = sampling_step_done(s, i, x, m.x0, err);
        if (status)
            return status;
        m = (history){m.x0_last, m.x0, m.d1_last, m.d1, m.known + 1};
    }
    return KILN_OK;
}

const sampler_method er_sde_named = {plan_sigmas_of_curve, run, 5, EVERY_KIND, true};
