/* schedule.h - how much noise there is at each training timestep.
 *
 * A schedule_config is what a diffusers scheduler_config.json says; a schedule is the tables made from it:
 *
 *     x_t = sqrt(alpha_bar[t]) x_0 + sqrt(1 - alpha_bar[t]) noise       (variance preserving: VP)
 *     x_t / sqrt(alpha_bar[t]) = x_0 + sigma[t] noise                   (variance exploding: VE)
 *     sigma[t] = sqrt((1 - alpha_bar[t]) / alpha_bar[t])
 *
 * (Ho et al. 2020, arXiv:2006.11239, eq. 4; Karras et al. 2022, arXiv:2206.00364, section 2.) The tables
 * are computed in single precision in the order that torch and diffusers use, because every model that
 * people have was trained and is drawn with those numbers: the product over t runs in double, its results
 * are rounded.
 *
 * A schedule is immutable and may be shared by threads. */
#ifndef KILN_DIFFUSION_SCHEDULE_H
#define KILN_DIFFUSION_SCHEDULE_H

#include "base/error.h"

enum { SCHEDULE_MAX_TIMESTEPS = 100000, SCHEDULE_CLASS_TEXT = 64 };

typedef enum beta_curve {
    BETA_LINEAR,        /* linear in beta */
    BETA_SCALED_LINEAR, /* linear in sqrt(beta): latent diffusion */
    BETA_SQUARED_COS,   /* Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17; beta capped at 0.999 */
    BETA_SIGMOID
} beta_curve;

/* What the network's output means. */
typedef enum prediction_type {
    PREDICTION_EPSILON, /* the noise */
    PREDICTION_V,       /* alpha * noise - sigma * x_0: Salimans and Ho 2022, arXiv:2202.00512 */
    PREDICTION_SAMPLE,  /* x_0 */
    PREDICTION_FLOW     /* noise - x_0: Lipman et al. 2023, arXiv:2210.02747 */
} prediction_type;

/* How a latent of noise level sigma is written, and what the network is told of sigma. */
typedef enum schedule_kind {
    SCHEDULE_VP,   /* x_0 + sigma noise, seen divided by sqrt(sigma^2 + 1); timestep: an index of the table */
    SCHEDULE_FLOW, /* (1 - sigma) x_0 + sigma noise, seen as it is; timestep: sigma T */
    SCHEDULE_EDM   /* x_0 + sigma noise, preconditioned as Karras et al. 2022, table 1; timestep:
                      log(sigma) / 4 */
} schedule_kind;

typedef enum timestep_spacing { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE } timestep_spacing;
typedef enum final_sigma { FINAL_SIGMA_ZERO, FINAL_SIGMA_MIN } final_sigma;
typedef enum dpm_algorithm { DPM_PLUS_PLUS, DPM_PLAIN, DPM_SDE_PLUS_PLUS, DPM_SDE } dpm_algorithm;
typedef enum dpm_solver { DPM_MIDPOINT, DPM_HEUN, SOLVER_BH1, SOLVER_BH2 } dpm_solver;
typedef enum ddpm_variance { DDPM_FIXED_SMALL, DDPM_FIXED_LARGE } ddpm_variance;
typedef enum sigma_interpolation { SIGMA_LINEAR, SIGMA_LOG_LINEAR } sigma_interpolation;
typedef enum timestep_kind { TIMESTEP_DISCRETE, TIMESTEP_CONTINUOUS } timestep_kind;
typedef enum time_shift { SHIFT_EXPONENTIAL, SHIFT_LINEAR } time_shift;
typedef enum edm_curve { EDM_KARRAS, EDM_EXPONENTIAL } edm_curve;

/* Names and meanings are diffusers'. A value that the file does not give has the default of the class. */
typedef struct schedule_config {
    char class_name[SCHEDULE_CLASS_TEXT]; /* "EulerDiscreteScheduler"; "" if the file names none */
    int num_train_timesteps;
    double beta_start, beta_end;
    beta_curve beta_schedule;
    float *trained_betas; /* num_train_timesteps values, owned by the config; NULL: computed */
    bool rescale_betas_zero_snr;
    prediction_type prediction;
    timestep_spacing spacing;
    int steps_offset;
    bool set_alpha_to_one;
    bool clip_sample;
    double clip_sample_range;
    bool thresholding;
    double dynamic_thresholding_ratio, sample_max_value;
    bool use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas;
    final_sigma final_sigmas;
    double sigma_min, sigma_max; /* 0: the table's own */
    sigma_interpolation interpolation;
    timestep_kind timesteps;
    bool skip_prk_steps;
    int solver_order; /* 1..3 */
    dpm_algorithm algorithm;
    dpm_solver solver;
    bool lower_order_final, euler_at_final;
    double lambda_min_clipped; /* -1e308: not clipped */
    bool predict_x0;
    ddpm_variance variance;
    int original_inference_steps;         /* LCM: timesteps of the distillation */
    double timestep_scaling;              /* LCM: of the boundary condition */
    int predictor_order, corrector_order; /* SA-Solver: 1..3, 1..4 */
    double sigma_data, rho;               /* EDM */
    edm_curve edm_sigmas;
    /* Flow matching: sigma = shift u / (1 + (shift - 1) u), u even in (0, 1] (Esser et al. 2024,
     * arXiv:2403.03206, eq. 23); or the shift grows with the picture, see schedule_dynamic_shift(). */
    bool use_flow_sigmas, use_dynamic_shifting, invert_sigmas, stochastic_sampling;
    double shift, base_shift, max_shift, shift_terminal; /* shift_terminal 0: none */
    int base_image_seq_len, max_image_seq_len;
    time_shift shift_kind;
} schedule_config;

/* What the families ship when no file says: SD 1.x (PNDM, eps), SD 2.x at 768 (DDIM, v), SDXL (Euler,
 * eps). */
extern const schedule_config schedule_config_sd1;
extern const schedule_config schedule_config_sd2_v;
extern const schedule_config schedule_config_sdxl;

/* The defaults of a diffusers scheduler class (NULL or an unknown class: those of DDIMScheduler with
 * linspace spacing). */
void schedule_config_defaults(schedule_config *config, const char *class_name);

/* Read the text of a scheduler_config.json. `place` names it in errors.
 *
 *   class_name  NULL: the file's own "_class_name". Else the file is read as the config of that class, as
 *               diffusers' from_config does: what the file does not say has that class's defaults.
 *
 * Every known field is checked for type and range; unknown fields are ignored. KILN_BAD_FORMAT names the
 * field, the expected and the found; KILN_UNSUPPORTED is for a well-formed value that is not implemented.
 * On success the caller frees `config` with schedule_config_fini(); on failure there is nothing to free. */
kiln_status schedule_config_read(schedule_config *config, const char *text, size_t size,
                                 const char *class_name, const char *place, kiln_error *err);
void schedule_config_fini(schedule_config *config);

/* What StableDiffusionPipeline does to old configs: steps_offset 1, clip_sample off. (The SDXL pipeline
 * does not.) */
void schedule_config_repair(schedule_config *config);

typedef struct schedule {
    schedule_config config; /* trained_betas is NULL here */
    schedule_kind kind;
    int count;              /* training timesteps, T >= 2 */
    const float *alpha_bar; /* [T] cumulative product of 1 - beta; the last may be 0 (zero terminal SNR) */
    const float *sigma;     /* [T] finite: with zero terminal SNR the last is made from alpha_bar 2^-24;
                               flow: up to 1 */
    const float *log_sigma; /* [T] */
    float *storage;
} schedule;

/* The tables of a config. The caller frees with schedule_free(). KILN_BAD_ARGUMENT if the betas are not in
 * (0, 1), or leave no signal before the last timestep. */
kiln_status schedule_new(schedule **out, const schedule_config *config, kiln_error *err);
void schedule_free(schedule *schedule);

/* SCHEDULE_FLOW for the classes of flow matching and for use_flow_sigmas, SCHEDULE_EDM for those of EDM. */
schedule_kind schedule_kind_of(const schedule_config *config);

/* The timestep (fractional) whose noise level is sigma: linear in log sigma between table entries,
 * clamped to the table; see schedule_kind for flow and EDM. sigma <= 0 gives 0. In double, as diffusers; schedule_timestep_f32 in float, as
 * k-diffusion. */
double schedule_timestep(const schedule *schedule, double sigma);
float schedule_timestep_f32(const schedule *schedule, float sigma);
/* The inverse, 0 <= timestep <= T-1 (clamped), in float. Flow: the shifted level of the even time
 * timestep / T. */
float schedule_sigma(const schedule *schedule, float timestep);

/* alpha_bar at a timestep; `final` below 0; clamped to T-1 above. */
float schedule_alpha_bar(const schedule *schedule, int timestep, float final);

/* Flow matching: a time u in (0, 1] shifted towards noise. */
double schedule_shift(double shift, double u);
/* With use_dynamic_shifting: u shifted as for a picture of `tokens` places (of 2x2 latents), by mu, linear
 * in the tokens from base_shift to max_shift: e^mu (exponential) or mu itself (linear). Else u. */
double schedule_dynamic_shift(const schedule_config *config, int tokens, double u);

#endif
