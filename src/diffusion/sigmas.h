/* sigmas.h - noise levels from high to low, by the names that people choose them by ("Karras",
 * "Uniform"). */
#ifndef KILN_DIFFUSION_SIGMAS_H
#define KILN_DIFFUSION_SIGMAS_H

#include "diffusion/schedule.h"

/* X(enumerator, label in A1111 and in recipes, id in ComfyUI and elsewhere, another alias or NULL) */
#define SIGMA_CURVE_MAP(X)                                                                                   \
    X(AUTOMATIC, "Automatic", "automatic", NULL)                                                             \
    X(UNIFORM, "Uniform", "uniform", "discrete")                                                             \
    X(KARRAS, "Karras", "karras", NULL)                                                                      \
    X(EXPONENTIAL, "Exponential", "exponential", NULL)                                                       \
    X(POLYEXPONENTIAL, "Polyexponential", "polyexponential", NULL)                                           \
    X(SGM_UNIFORM, "SGM Uniform", "sgm_uniform", "SGMUniform")                                               \
    X(KL_OPTIMAL, "KL Optimal", "kl_optimal", NULL)                                                          \
    X(ALIGN_YOUR_STEPS, "Align Your Steps", "align_your_steps", "ays")                                       \
    X(SIMPLE, "Simple", "simple", NULL)                                                                      \
    X(NORMAL, "Normal", "normal", NULL)                                                                      \
    X(DDIM, "DDIM", "ddim_uniform", "ddim")                                                                  \
    X(BETA, "Beta", "beta", NULL)

typedef enum sigma_curve {
#define SIGMA_CURVE_ENUM(name, label, id, alias) SIGMAS_##name,
    SIGMA_CURVE_MAP(SIGMA_CURVE_ENUM)
#undef SIGMA_CURVE_ENUM
        SIGMAS_COUNT
} sigma_curve;

const char *sigma_curve_label(sigma_curve curve);
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
 *   *count  the steps that they make: `steps`, except for DDIM, whose spacing may not divide evenly.
 *
 * KILN_BAD_ARGUMENT when steps or the limits are out of range. Sources: Karras et al. 2022 eq. 5 (karras);
 * Sabour et al. 2024, arXiv:2404.14507 (align your steps, kl_optimal eq. 19); Lee et al. 2024,
 * arXiv:2407.12173 (beta). */
kiln_status sigmas_new(const schedule *schedule, sigma_curve curve, int steps, const sigma_options *options,
                       float **out, int *count, kiln_error *err);

/* Single values shared with the diffusers view, in double: i of count. */
double sigma_karras(double sigma_min, double sigma_max, double rho, double ramp);
/* Quantile function of the Beta(0.6, 0.6) distribution, 0 <= p <= 1. */
double beta_quantile(double p);

#endif
