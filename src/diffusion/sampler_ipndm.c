/* sampler_ipndm.c - improved PNDM: linear multistep of order 4 without the costly beginning (Liu et al. 2022,
 * arXiv:2202.09778, eq. 12, as Zhang and Chen 2022, arXiv:2204.13902, appendix H.1, begin it: with the orders 1, 2
 * and 3).
 *
 *     folder view   on the cosine levels of its class: beta = sin^2(pi u / 2), alpha^2 = 1 - beta^2, u even in
 *                   [0, 1]; the network gives v and is told the angle, 0 to 1
 *     named view    on any curve, see sampler_multistep_sigma.c */
#include "diffusion/samplers.h"

#include "diffusion/linspace.h"

#include <math.h>
#include <string.h>

enum { ORDER = 4, X0 = 4, ROWS = 5 };

static const double pi = 3.14159265358979323846;

void adams_bashforth(int order, float w[4])
{
    static const float weights[4][4] = {{1, 0, 0, 0},
                                        {3.0f / 2, -1.0f / 2, 0, 0},
                                        {23.0f / 12, -16.0f / 12, 5.0f / 12, 0},
                                        {55.0f / 24, -59.0f / 24, 37.0f / 24, -9.0f / 24}};
    memcpy(w, weights[order - 1], sizeof weights[0]);
}

/* Noise share of the class at step i. */
static float beta_at(const sampler_plan *plan, int i)
{
    if (i == plan->count)
        return 0;
    float sine = sinf(linspace_f32(1, 0, plan->count + 1, i) * (float)pi / 2);
    return sine * sine;
}

static float alpha_at(const sampler_plan *plan, int i)
{
    float beta = beta_at(plan, i);
    return sqrtf(fmaxf(1 - beta * beta, 0));
}

static kiln_status run_folder(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *e[ORDER], *x0 = sampling_row(s, X0), w[ORDER];
    for (int k = 0; k < ORDER; k++)
        e[k] = sampling_row(s, k);
    for (int i = plan->first; i < plan->count; i++) {
        float *newest = e[ORDER - 1];
        memmove(e + 1, e, (ORDER - 1) * sizeof *e);
        e[0] = newest;
        kiln_status status = sampling_predict(s, x, plan->timesteps[i], newest, err);
        if (status)
            return status;
        float alpha = alpha_at(plan, i), beta = beta_at(plan, i);
        float next_alpha = alpha_at(plan, i + 1), next_beta = beta_at(plan, i + 1);
        int known = i - plan->first + 1;
        adams_bashforth(known < ORDER ? known : ORDER, w);
        for (size_t k = 0; k < s->n; k++) {
            newest[k] = x[k] * beta + newest[k] * alpha;
            float noise = 0;
            for (int j = 0; j < ORDER && j < known; j++)
                noise += w[j] * e[j][k];
            x0[k] = (x[k] - beta * noise) / fmaxf(alpha, 1e-8f);
            x[k] = next_alpha * x0[k] + noise * next_beta;
        }
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_reserve(plan, plan->steps, err);
    for (int i = 0; !status && i < plan->count; i++) {
        plan->timesteps[i] = (float)(atan2((double)beta_at(plan, i), (double)alpha_at(plan, i)) / pi * 2);
        plan->sigmas[i] = beta_at(plan, i) / fmaxf(alpha_at(plan, i), 1e-8f);
    }
    plan->variance_preserving = true;
    plan->init_noise_sigma = 1;
    return status ? status : plan_begin_folder(plan, request, err);
}

const sampler_method ipndm_folder = {plan_folder, run_folder, ROWS, 0, false};
