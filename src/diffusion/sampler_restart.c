/* sampler_restart.c - Restart: Xu et al. 2023, arXiv:2306.14878, algorithm 1, with Heun's steps and A1111's choice
 * of where: at about sigma 0.1, noise takes the picture back up to about 2, and the way down is run again. From 20
 * steps on once with 9 steps of the budget, from 36 on twice with a quarter each; below, plain Heun.
 *
 * The budget of steps stays what was asked for; the levels are Karras' (A1111 makes them anew whatever the curve was,
 * between the curve's ends). */
#include "diffusion/samplers.h"

#include "diffusion/linspace.h"

#include <math.h>
#include <stdlib.h>

/* The step from level i to i + 1, or from levels_from[i] after noise: plan->sigmas holds where each step begins, and
 * restart_from(plan, i) where the one before ended. A rise between the two is a restart. */
static kiln_status heun(const sampling *s, float *x, int i, float next, kiln_error *err)
{
    float *x0 = sampling_row(s, 0), *slope = sampling_row(s, 1), *ahead = sampling_row(s, 2);
    float *x0_ahead = sampling_row(s, 3), sigma = s->plan->sigmas[i], ratio = next / sigma;
    kiln_status status = sampling_denoise(s, x, i, x0, err);
    for (size_t k = 0; k < s->n; k++) {
        slope[k] = (x[k] - x0[k]) / sigma;
        ahead[k] = ratio * x[k] + (1 - ratio) * x0[k];
    }
    if (!status && next > 0 && !sampling_is_noise_alone(sigma)) {
        status = sampling_denoise_at(s, ahead, next, x0_ahead, err);
        for (size_t k = 0; k < s->n; k++)
            ahead[k] = x[k] + (slope[k] + (ahead[k] - x0_ahead[k]) / next) / 2 * (next - sigma);
    }
    for (size_t k = 0; k < s->n; k++)
        x[k] = ahead[k];
    return status;
}

static kiln_status run(const sampling *s, float *x, kiln_error *err)
{
    const sampler_plan *plan = s->plan;
    float last = plan->sigmas[plan->first];
    for (int i = plan->first; i < plan->count; i++) {
        float sigma = plan->sigmas[i], next = plan->step_ends[i];
        kiln_status status = KILN_OK;
        if (sigma > last)
            status = sampling_add_noise(s, x, sigma, last, sqrtf(sigma * sigma - last * last),
                                        sampling_row(s, 1), err);
        if (!status)
            status = heun(s, x, i, next, err);
        if (!status)
            status = sampling_step_done(s, i, x, sampling_row(s, 0), err);
        if (status)
            return status;
        last = next;
    }
    return KILN_OK;
}

static float karras(const float *level, int count, int i)
{
    return (float)sigma_karras((double)level[1], (double)level[0], 7, linspace_f64(0, 1, count, i));
}

static int nearest(const float *levels, int count, float level)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (fabsf(levels[i] - level) < fabsf(levels[best] - level))
            best = i;
    return best;
}

typedef struct restart_list {
    float *begin, *end;
    int count, room;
} restart_list;

static void add(restart_list *list, float begin, float end)
{
    if (list->count < list->room) {
        list->begin[list->count] = begin;
        list->end[list->count++] = end;
    }
}

/* levels: count + 1 of them, the last 0. */
static void list_steps(restart_list *list, const float *levels, int count, int again, int times)
{
    int low = nearest(levels, count + 1, 0.1f), high = nearest(levels, count + 1, 2);
    for (int i = 0; i < count; i++) {
        add(list, levels[i], levels[i + 1]);
        for (int t = 0; i + 1 == low && high < low && t < times; t++) {
            float ends[2] = {levels[high], levels[low]};
            for (int k = 0; k + 1 < again; k++)
                add(list, karras(ends, again, k), karras(ends, again, k + 1));
        }
    }
}

/* Where the levels of the curve are those asked for by strength, A1111 cuts first and lists then. */
static kiln_status plan_restart(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    kiln_status status = plan_sigmas_of_curve(plan, request, err);
    if (status)
        return status;
    int steps = plan->count - plan->first, again = steps >= 36 ? steps / 4 : 9, times = steps >= 36 ? 2 : 1;
    if (steps < 20)
        again = times = 0;
    int count = steps - again * times;
    float ends[2] = {plan->sigmas[plan->first], plan->sigmas[plan->count - 1]};
    restart_list list = {calloc((size_t)steps + 2, sizeof(float)), calloc((size_t)steps + 2, sizeof(float)),
                         0, steps + 2};
    float *levels = calloc((size_t)steps + 2, sizeof(float));
    if (!list.begin || !list.end || !levels)
        status = fail(err, KILN_NO_MEMORY, "no memory for %d steps", steps);
    for (int i = 0; !status && i < count; i++)
        levels[i] = times ? karras(ends, count, i) : plan->sigmas[plan->first + i];
    if (!status) {
        list_steps(&list, levels, count, again + 1, times);
        free(plan->timesteps);
        free(plan->sigmas);
        plan->timesteps = plan->sigmas = NULL;
        status = plan_reserve(plan, list.count, err);
    }
    for (int i = 0; !status && i < list.count; i++) {
        plan->sigmas[i] = list.begin[i];
        plan->timesteps[i] = plan_timestep(plan, list.begin[i]);
    }
    plan->first = 0;
    plan->step_ends = list.end;
    free(list.begin);
    free(levels);
    return status;
}

const sampler_method restart_named = {plan_restart, run, 4, EVERY_KIND, true};
