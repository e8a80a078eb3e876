/* sampler_heunpp.c - Heun++: a step by the weighted mean of the slopes here and at the next one or two levels, the
 * weights falling with the noise level (ComfyUI's heunpp2; Rudolf Enyimba's HeunPP2, 2023):
 *
 *     w_2 = sigma'/(3 sigma_0), w_3 = sigma''/(3 sigma_0), w_1 = 1 - w_2 - w_3
 *
 * and w_2 = sigma'/(2 sigma_0) in the last step but one; the last is Euler's. The weights do not make the step of
 * second order: it is near Euler's late in the drawing. */
#include "diffusion/samplers.h"

#include <string.h>

static kiln_status slope_at(const sampling *s, const float *x, int i, float *slope, kiln_error *err)
{
    kiln_status status = sampling_denoise(s, x, i, slope, err);
    for (size_t k = 0; k < s->n; k++)
        slope[k] = (x[k] - slope[k]) / s->plan->sigmas[i];
    return status;
}

static kiln_status step(const sampling *s, float *x, int i, const float *x0, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    const float *sigma = plan->sigmas + i;
    float *slope[3] = {sampling_row(s, 1), sampling_row(s, 2), sampling_row(s, 3)},
          *ahead = sampling_row(s, 4);
    int slopes = plan->count - i > 3 ? 3 : plan->count - i;
    float w[3] = {1, 0, 0};
    for (size_t k = 0; k < s->n; k++)
        slope[0][k] = (x[k] - x0[k]) / sigma[0];
    memcpy(ahead, x, s->n * sizeof *x);
    for (int j = 1; j < slopes; j++) {
        for (size_t k = 0; k < s->n; k++)
            ahead[k] += slope[j - 1][k] * (sigma[j] - sigma[j - 1]);
        kiln_status status = slope_at(s, ahead, i + j, slope[j], err);
        if (status)
            return status;
        w[j] = sigma[j] / ((float)slopes * plan->sigmas[plan->first]);
        w[0] -= w[j];
    }
    for (size_t k = 0; k < s->n; k++) {
        float mean = 0;
        for (int j = 0; j < slopes; j++)
            mean += w[j] * slope[j][k];
        x[k] = x[k] + mean * (sigma[1] - sigma[0]);
    }
    return KILN_OK;
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0);
    for (int i = plan->first; i < plan->count; i++) {
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (!status)
            status = step(s, x, i, x0, err);
        if (!status)
            status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

const sampler_method heunpp_named = {plan_sigmas_of_curve, run, 5, EVERY_KIND, false};
