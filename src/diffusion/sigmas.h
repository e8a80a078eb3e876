/* sigmas.h - noise levels from high to low, by the names that people choose them by ("Karras",
 * "Uniform"). */
#ifndef KILN_DIFFUSION_SIGMAS_H
#define KILN_DIFFUSION_SIGMAS_H

#include "diffusion/schedule.h"

/* X(enumerator, label in recipes (A1111's where it has one), id in ComfyUI and elsewhere, another alias or NULL,
 * what it is) */
#define SIGMA_CURVE_MAP(X)                                                                                   \
    X(AUTOMATIC, "Automatic", "automatic", NULL,                                                             \
      "the one that the sampler is usually drawn with; Trailing for zero terminal SNR")                      \
    X(UNIFORM, "Uniform", "uniform", "discrete", "even timesteps: most models' own")                         \
    X(KARRAS, "Karras", "karras", NULL,                                                                      \
      "more steps at low noise: the usual choice at 15 to 30 steps; not for zero terminal SNR")              \
    X(EXPONENTIAL, "Exponential", "exponential", NULL,                                                       \
      "even in log noise: still more steps at low noise; the most exact from 30 steps on")                   \
    X(POLYEXPONENTIAL, "Polyexponential", "polyexponential", NULL,                                           \
      "Exponential bent by an exponent (1: the same)")                                                       \
    X(SGM_UNIFORM, "SGM Uniform", "sgm_uniform", "SGMUniform",                                               \
      "even timesteps without the lowest: for LCM, Lightning and Turbo; of any model 5 to 8 steps")          \
    X(KL_OPTIMAL, "KL Optimal", "kl_optimal", NULL,                                                          \
      "even in the arc tangent of noise, A1111's: ends at the lowest level, not at 0")                       \
    X(KL_OPTIMAL_ZERO, "KL Optimal to zero", "kl_optimal_comfy", NULL,                                       \
      "the same as ComfyUI spaces it: reaches the lowest level a step earlier, then 0")                      \
    X(ALIGN_YOUR_STEPS, "Align Your Steps", "align_your_steps", "ays",                                       \
      "levels found by optimisation for the model's family: best at about 10 steps")                         \
    X(ALIGN_YOUR_STEPS_SD1, "Align Your Steps SD1", "align_your_steps_sd1", "ays_sd1",                       \
      "that table for SD 1.5")                                                                               \
    X(ALIGN_YOUR_STEPS_SDXL, "Align Your Steps SDXL", "align_your_steps_sdxl", "ays_sdxl",                   \
      "that table for SDXL")                                                                                 \
    X(ALIGN_YOUR_STEPS_SVD, "Align Your Steps SVD", "align_your_steps_svd", "ays_svd",                       \
      "that table for Stable Video Diffusion (levels up to 700)")                                            \
    X(SIMPLE, "Simple", "simple", NULL,                                                                      \
      "entries of the training table at even distance; the usual one for flow models")                       \
    X(NORMAL, "Normal", "normal", NULL, "even timesteps between the limits, the lowest included")            \
    X(DDIM, "DDIM", "ddim_uniform", "ddim",                                                                  \
      "every n-th entry of the training table from the lowest: may make a step more")                        \
    X(BETA, "Beta", "beta", NULL,                                                                            \
      "many steps at both ends, by quantiles of Beta(0.6, 0.6) over noise: A1111's")                         \
    X(BETA_TIMESTEPS, "Beta timesteps", "beta_timesteps", "beta_comfy",                                      \
      "the same over timesteps: ComfyUI's beta")                                                             \
    X(BETA_57, "Beta 57", "beta57", "beta_57",                                                               \
      "Beta timesteps of Beta(0.5, 0.7): more of them at low noise, as RES4LYF has it")                      \
    X(BONG_TANGENT, "Bong tangent", "bong_tangent", NULL,                                                    \
      "two arc tangents that meet at half the noise at 60% of the steps, RES4LYF's: for flow models")        \
    X(LAPLACE, "Laplace", "laplace", NULL,                                                                   \
      "quantiles of Laplace's distribution of log noise: most steps around level 1")                         \
    X(LINEAR_QUADRATIC, "Linear quadratic", "linear_quadratic", NULL,                                        \
      "slow linear beginning, then quadratic: for flow models of video")                                     \
    X(TRAILING, "Trailing", "trailing", "turbo",                                                             \
      "timesteps counted from the last: right for zero terminal SNR and few steps")                          \
    X(LEADING, "Leading", "leading", NULL, "timesteps counted from the first: leaves the highest noise out") \
    X(LINSPACE, "Linspace", "linspace", NULL, "whole timesteps from the last to the first, evenly")

typedef enum sigma_curve {
#define SIGMA_CURVE_ENUM(name, label, id, alias, about) SIGMAS_##name,
    SIGMA_CURVE_MAP(SIGMA_CURVE_ENUM)
#undef SIGMA_CURVE_ENUM
        SIGMAS_COUNT
} sigma_curve;

const char *sigma_curve_label(sigma_curve curve);
/* What it is, in a few words; its id, and another alias or NULL. */
const char *sigma_curve_about(sigma_curve curve);
const char *sigma_curve_id(sigma_curve curve);
const char *sigma_curve_alias(sigma_curve curve);
/* False when no curve has this label, id or alias (case does not matter). */
bool sigma_curve_from_name(const char *name, sigma_curve *out);

typedef struct sigma_options {
    double sigma_min, sigma_max; /* 0: the ends of the schedule's table */
    double rho;                  /* 0: 7 for Karras, 1 for polyexponential */
    bool large_family;           /* Align Your Steps: the table of SDXL instead of that of SD 1.5 */
} sigma_options;

/* The noise levels for `steps` steps of a curve other than AUTOMATIC, as A1111 and k-diffusion compute
 * them.
 *
 *   *out    *count + 1 levels; the last is 0, except for KL_OPTIMAL, where it is sigma_min. Caller frees.
 *   *count  the steps that they make: `steps`, except for DDIM, whose spacing may not divide evenly, and where
 *           levels fall together: Beta timesteps, Beta 57, Laplace.
 *
 * KILN_BAD_ARGUMENT when steps or the limits are out of range. Sources: Karras et al. 2022 eq. 5 (karras);
 * Sabour et al. 2024, arXiv:2404.14507 (align your steps, kl_optimal eq. 19); Lee et al. 2024,
 * arXiv:2407.12173 (beta); Hang et al. 2024,
 * arXiv:2407.03297 (laplace, mean 0 and scale 0.5 as ComfyUI's node has them). */
kiln_status sigmas_new(const schedule *schedule, sigma_curve curve, int steps, const sigma_options *options,
                       float **out, int *count, kiln_error *err);

/* Single values shared with the diffusers view, in double: i of count. */
double sigma_karras(double sigma_min, double sigma_max, double rho, double ramp);
/* Quantile function of the Beta(a, b) distribution, 0 <= p <= 1; and of the usual Beta(0.6, 0.6). */
double beta_quantile_of(double p, double a, double b);
double beta_quantile(double p);

#endif
