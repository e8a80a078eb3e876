/* sampling.h - what a sampler's file sees: one drawing under way, and the helpers that all samplers share.
 *
 * A sampler gives a plan function (fill the plan from schedule, config and request) and a run function
 * for each of its views. A run function owns the loop:
 *
 *     for (int i = s->plan->first; i < s->plan->count; i++) {
 *         sampling_denoise(s, x, i, x0, err);       // x_0 at noise level sigmas[i]
 *         ... x at sigmas[i + 1] ...
 *         sampling_step_done(s, i, x, x0, err);     // progress, preview, cancel
 *     }
 *
 * It may evaluate the network any number of times per step, keep history in its scratch rows, and ask for
 * noise; it allocates nothing. */
#ifndef KILN_DIFFUSION_SAMPLING_H
#define KILN_DIFFUSION_SAMPLING_H

#include "diffusion/sampler.h"

typedef struct sampling {
    const sampler_plan *plan;
    const sampler_calls *calls;
    size_t n;
    float *scratch; /* method->scratch + SAMPLING_OWN_ROWS rows of n */
} sampling;

/* Rows that the helpers use themselves: the scaled input, and the sorted values of thresholding. */
enum { SAMPLING_OWN_ROWS = 2 };

struct sampler_method {
    kiln_status (*plan)(sampler_plan *plan, const sampler_request *request, kiln_error *err);
    kiln_status (*run)(const sampling *s, float *x, kiln_error *err);
    int scratch;    /* rows of n floats that run() uses */
    unsigned kinds; /* of schedules that it draws with: bits 1 << schedule_kind; 0: VP only */
    bool as_ve;     /* draws a flow model as x_0 + sigma / (1 - sigma) noise: the samplers that add noise of a
                       given signal-to-noise ratio */
};

enum { EVERY_KIND = 1 << SCHEDULE_VP | 1 << SCHEDULE_FLOW | 1 << SCHEDULE_EDM };

struct sampler_row {
    const char *label;                    /* A1111's */
    const char *const *aliases;           /* ended by NULL */
    const char *class_name;               /* diffusers', or NULL */
    const sampler_method *folder, *named; /* either may be NULL: no such view */
    sigma_curve automatic;                /* named view */
    bool discard_penultimate;             /* named view: one level more, without the last but one */
    double eta;                           /* default */
    bool stochastic;                      /* noise scales with eta */
    bool brownian;                        /* its noise is that of a path over the levels, see brownian.h */
    bool unguided;                        /* CFG++: goes by the answers without the prompt */
    bool no_equation; /* neither solves the probability flow nor an SDE, even with eta 0 */
    const char *good_for;
};

extern const sampler_row sampler_table[];
extern const int sampler_table_count;

/* Scratch row k, 0 <= k < method->scratch. */
float *sampling_row(const sampling *s, int k);

/* Raw output of the network. */
kiln_status sampling_predict(const sampling *s, const float *x_scaled, float timestep, float *output,
                             kiln_error *err);
/* x_0 of a VE latent (or flow latent, see sampler_plan) at the noise level of step i. x0 may not be x. */
kiln_status sampling_denoise(const sampling *s, const float *x, int i, float *x0, kiln_error *err);
/* The same at any level: the timestep is looked up. */
kiln_status sampling_denoise_at(const sampling *s, const float *x, float sigma, float *x0, kiln_error *err);
/* After a denoise at x and sigma that gave x0: x_0 without the prompt; x0 itself where there is no guidance. */
void sampling_unguided(const sampling *s, const float *x, float sigma, const float *x0, float *out);
kiln_status sampling_noise(const sampling *s, float sigma_from, float sigma_to, float *out, kiln_error *err);
/* x += scale * s_noise * noise of that interval; no draw when scale is 0. `noise` is a row to use. */
kiln_status sampling_add_noise(const sampling *s, float *x, float sigma_from, float sigma_to, float scale,
                               float *noise, kiln_error *err);
/* Limits that the config asks for (thresholding, else clip_sample). The named view knows none: its plans
 * have both off. */
void sampling_limit_x0(const sampling *s, float *x0);
kiln_status sampling_step_done(const sampling *s, int i, float *x, const float *x0, kiln_error *err);

/* Karras et al. algorithm 2, lines 4 to 6: raise the noise of x from sigmas[i] to the returned level. */
kiln_status sampling_churn(const sampling *s, float *x, int i, float *noise, float *sigma_hat,
                           kiln_error *err);

/* Whether there is nothing but noise at this level: where models of zero terminal SNR begin (4096). A step from there to the
 * levels of a picture multiplies what the network says of its lower end, its errors included, by half the ratio of the two:
 * methods that look there take the first step as Euler does, which is exact as long as x_0 does not change. Levels of models
 * with a finite beginning are below (700 at most, Stable Video Diffusion's). */
static inline bool sampling_is_noise_alone(float sigma)
{
    return sigma >= 1000;
}

/* ------------------------------------------------------------------------------- for plan functions */

/* The timestep of a noise level of the plan. */
float plan_timestep(const sampler_plan *plan, float sigma);
/* The noise level of a timestep, as the plan has levels: the inverse of plan_timestep. */
float plan_sigma(const sampler_plan *plan, float timestep);
/* Room for `count` steps: timesteps and sigmas. */
kiln_status plan_reserve(sampler_plan *plan, int count, kiln_error *err);
/* Timesteps of the config's spacing, one per step, in plan->timesteps. `fractional`: linspace keeps
 * fractions. */
kiln_status plan_spaced_timesteps(sampler_plan *plan, bool fractional, kiln_error *err);
/* The usual VE plans: timesteps and sigmas by the config (folder view), or by curve (named view). */
kiln_status plan_sigmas_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err);
/* The same for classes that know no more than spacing and the curves. */
kiln_status plan_plain_sigmas_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err);
kiln_status plan_sigmas_of_curve(sampler_plan *plan, const sampler_request *request, kiln_error *err);
/* Replace plan->sigmas by the curve that the config names (karras, exponential, beta), between low and
 * high, and the timesteps by theirs. False when it names none. */
bool plan_use_config_curve(sampler_plan *plan, double low, double high);
/* Where to begin for an image, in diffusers' way: skip steps - int(steps * strength) entries. */
kiln_status plan_begin_folder(sampler_plan *plan, const sampler_request *request, kiln_error *err);
/* CompVis' spacing for DDIM and PLMS: every (T / steps)-th timestep, plus one. */
kiln_status plan_compvis(sampler_plan *plan, const sampler_request *request, kiln_error *err);
/* For samplers that divide by the distance of levels: no two may be equal. */
kiln_status plan_require_falling(const sampler_plan *plan, kiln_error *err);
/* Noise levels of VP plans from their timesteps. */
void plan_fill_vp_levels(sampler_plan *plan);
/* DDIM and PNDM in the folder view: whole timesteps, stride, final alpha. */
kiln_status plan_vp_of_config(sampler_plan *plan, const sampler_request *request, kiln_error *err);

#endif
