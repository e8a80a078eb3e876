/* sampler_lms.c - linear multistep of order 4: Adams-Bashforth in sigma with uneven steps. The slope is
 * extrapolated by the polynomial through the last slopes and integrated over the step (Hairer, Norsett
 * and Wanner, Solving Ordinary Differential Equations I, III.5). */
#include "diffusion/samplers.h"

#include <math.h>

enum { ORDER = 4 };

/* The integral over [from, to] of the Lagrange polynomial of node j of `order` nodes. Three points of
 * Gauss are exact to degree 5; the polynomial has degree 3. */
static double weight(const float *node[], int order, int j, double from, double to)
{
    static const double at[3] = {-0.77459666924148337704, 0, 0.77459666924148337704};
    static const double gauss[3] = {5.0 / 9, 8.0 / 9, 5.0 / 9};
    double sum = 0;
    for (int g = 0; g < 3; g++) {
        double t = (from + to) / 2 + (to - from) / 2 * at[g], value = gauss[g];
        for (int k = 0; k < order; k++)
            if (k != j)
                value *= (t - (double)*node[k]) / ((double)*node[j] - (double)*node[k]);
        sum += value;
    }
    return sum * (to - from) / 2;
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float *x0 = sampling_row(s, 0), *slope[ORDER];
    for (int k = 0; k < ORDER; k++)
        slope[k] = sampling_row(s, 1 + k);
    for (int i = plan->first; i < plan->count; i++) {
        /* Drawing from an image, diffusers takes the nodes of the skipped steps, whose slopes are
         * nothing. */
        int known = i - plan->first + 1 < ORDER ? i - plan->first + 1 : ORDER;
        int order = plan->folder_view && i + 1 < ORDER ? i + 1 : plan->folder_view ? ORDER : known;
        const float *node[ORDER];
        kiln_status status = sampling_denoise(s, x, i, x0, err);
        if (status)
            return status;
        float *newest = slope[ORDER - 1];
        for (int k = ORDER - 1; k > 0; k--)
            slope[k] = slope[k - 1];
        slope[0] = newest;
        for (size_t e = 0; e < s->n; e++)
            newest[e] = (x[e] - x0[e]) / plan->sigmas[i];
        for (int k = 0; k < order; k++)
            node[k] = &plan->sigmas[i - k];
        for (int k = 0; k < known; k++) {
            float w = (float)weight(node, order, k, (double)plan->sigmas[i], (double)plan->sigmas[i + 1]);
            for (size_t e = 0; e < s->n; e++)
                x[e] += w * slope[k][e];
        }
        status = sampling_step_done(s, i, x, x0, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status plan_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_plain_sigmas_of_config(plan, request, err);
    return status ? status : plan_require_falling(plan, err);
}

const sampler_method lms_folder = {plan_folder, run, 1 + ORDER, 0, false};
const sampler_method lms_named = {plan_sigmas_of_curve, run, 1 + ORDER, EVERY_KIND, false};
