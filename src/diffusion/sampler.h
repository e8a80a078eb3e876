/* sampler.h - from noise to a latent, in steps.
 *
 * A sampler exists in two views, because people have two kinds of recipes:
 *
 *   folder view   what diffusers does with a model folder: the scheduler class and its config file decide
 *                 timesteps, spacing, sigmas, the last step. Asked for by the class name
 *                 ("EulerDiscreteScheduler"), or by no name at all: the class that the config names.
 *   named view    what A1111, ComfyUI and k-diffusion do: a sampler name ("DPM++ 2M", "euler_ancestral",
 *                 "k_heun") and the name of a noise curve ("Karras", "Uniform", "Automatic"). Names of old
 *                 recipes that join both ("DPM++ 2M Karras") are understood. Case does not matter.
 *
 * Life of a drawing:
 *
 *     sampler_plan_new(&plan, schedule, &request, err)   names -> timesteps and noise levels; immutable
 *     sampler_start(plan, noise, image or NULL, x, n)    the noisy latent to begin with
 *     sampler_run(plan, &calls, x, n, err)               x becomes the finished latent
 *
 * The network is a closure that gives its raw output, guidance included, for one image; the samplers do all
 * conversions. One more sampler is one file sampler_<name>.c (a plan and a run function, see sampling.h)
 * and one row in sampler_table.c. */
#ifndef KILN_DIFFUSION_SAMPLER_H
#define KILN_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"
#include "diffusion/sigmas.h"

typedef struct sampler_calls {
    /* The network: x_scaled has n elements and is what the network is to see (already scaled); timestep
     * may be fractional. Writes n elements of the raw output, of the schedule's prediction type, after
     * guidance. `output` is not `x_scaled`. Any status but KILN_OK ends the drawing with that status. */
    kiln_status (*predict)(void *self, const float *x_scaled, float timestep, float *output, kiln_error *err);
    void *predict_self;
    /* The output without the prompt that the last predict() computed on its way, for CFG++; NULL where it
     * computed none. Called with predict_self. The function may be NULL. */
    const float *(*unguided)(void *self);
    /* n fresh standard normal numbers. The noise belongs to the step from sigma_from down to sigma_to
     * (rarely equal): a source that draws independent numbers ignores them, a Brownian path gives its
     * increment over that interval, scaled to unit variance. May be NULL for samplers that are not
     * stochastic. */
    kiln_status (*noise)(void *self, float sigma_from, float sigma_to, float *out, size_t n, kiln_error *err);
    void *noise_self;
    /* After each step (`step` counts from 1 to `steps`): the latent, and the prediction of x_0 that it
     * was made from, both n elements, valid during the call. x may be changed (repainting puts the known
     * part back here, with sampler_noised_image). Returning another status than KILN_OK (KILN_CANCELLED,
     * say) ends the drawing with it. NULL: no one is told. */
    kiln_status (*on_step)(void *self, int step, int steps, float *x, const float *x0, kiln_error *err);
    void *on_step_self;
    int *evaluations; /* counts calls of predict, on top of what is there; NULL: not wanted */
} sampler_calls;

/* What is asked for. Start from sampler_request_default(): NAN and NULL mean "the sampler's own". */
typedef struct sampler_request {
    const char *sampler; /* NULL or "": the class of the schedule's config; a class name; or a name */
    const char *curve;   /* named view: "Karras"...; NULL or "": Automatic, or what a joined name says */
    int steps;           /* 1..num_train_timesteps */
    double strength;     /* NAN: from noise. 0..1: from an image, this share of the steps */
    double eta;          /* noise of DDIM (default 0) and of ancestral and SDE samplers (default 1) */
    double s_noise;      /* scale of that noise, default 1 */
    double rtol, atol;   /* adaptive samplers: error allowed to a step, 0.05 of x and 0.0078 */
    double s_churn, s_tmin, s_tmax; /* stochastic Euler and Heun: Karras et al. algorithm 2; 0, 0, infinity */
    sigma_options sigmas;           /* named view: limits of the noise curve */
    int image_tokens; /* places of 2x2 latents: the dynamic shift of flow matching; 0: its base */
    const float
        *levels; /* named view: these noise levels (descending, steps + 1 of them) instead of a curve */
} sampler_request;

sampler_request sampler_request_default(void);

typedef struct sampler_row sampler_row;
typedef struct sampler_method sampler_method;

typedef struct sampler_plan {
    const sampler_row *row;
    const sampler_method *method;
    const schedule *schedule; /* borrowed: outlives the plan */
    schedule_config config;   /* the schedule's, less what the sampler's class does not know */
    sigma_curve curve;        /* named view: the curve after Automatic is resolved */
    bool folder_view;
    int steps;         /* as asked */
    int count;         /* entries of timesteps: calls of on_step of a drawing from noise */
    int first;         /* the entry to begin with: 0, or later when drawing from an image */
    float *timesteps;  /* [count] what the network is told at the start of each step */
    float *sigmas;     /* [count + 1] noise level before each step, and the last one */
    int stride;        /* VP samplers: a step goes from timestep t to t - stride */
    float final_alpha; /* VP samplers: alpha_bar below timestep 0 */
    float begin_alpha; /* VP samplers: alpha_bar of the latent at `first` */
    bool variance_preserving;
    bool on_curve; /* named view: the levels are those of `curve` */
    float *
        step_ends; /* Restart: [count] where each step ends, which may be below where the next begins; or NULL */
    double guidance_factor; /* what the sampler does to the user's guidance scale: 1, but for DDIM CFG++ */
    bool adaptive;   /* the steps that will be taken are not known: on_step tells progress in `count` parts */
    bool keeps_flow; /* set by a plan function: flow levels even though the method usually runs on VE ones */
    bool flow_as_ve; /* a flow model, whose sigmas here are those of VE latents */
    int image_tokens;
    float init_noise_sigma; /* spread of the latent to begin with, when drawing from noise */
    double eta, s_noise, s_churn, s_tmin, s_tmax, rtol, atol;
} sampler_plan;

/* Resolve a request. The caller frees with sampler_plan_free(). KILN_NOT_FOUND for a name that is not known
 * (the error lists the known ones), KILN_UNSUPPORTED for a config that the sampler does not do,
 * KILN_BAD_ARGUMENT for numbers out of range. */
kiln_status sampler_plan_new(sampler_plan **out, const schedule *schedule, const sampler_request *request,
                             kiln_error *err);
void sampler_plan_free(sampler_plan *plan);

/* Steps that will be reported: those of the plan less those skipped when drawing from an image. */
int sampler_plan_steps(const sampler_plan *plan);
/* Label of the sampler ("DPM++ 2M") and of its noise curve ("Karras"; "" in the folder view). */
const char *sampler_plan_name(const sampler_plan *plan);
const char *sampler_plan_curve(const sampler_plan *plan);
/* True if its noise is to be a Brownian path's (brownian.h) rather than independent draws. */
bool sampler_plan_is_brownian(const sampler_plan *plan);
/* True if the drawing asks for noise after the start. */
bool sampler_plan_is_stochastic(const sampler_plan *plan);

/* What a plan's steps approximate, more closely the more there are. */
typedef enum sampler_equation {
    EQUATION_NONE, /* nothing that would be the same at another step count: fresh noise at every step, or a form that
                      has no limit */
    EQUATION_ODE, /* the probability flow: one way from the noise of the start to a picture */
    EQUATION_SDE  /* the reverse SDE along the Brownian path of the seed */
} sampler_equation;
/* `guided`: the network's answers are those of guidance, which CFG++ takes apart. */
sampler_equation sampler_plan_equation(const sampler_plan *plan, bool guided);

/* The latent to begin with: scaled noise, or the image (a latent, n elements) with noise of the level of
 * the first step. `x` may be `noise`. A plan made with a strength expects an image, and one without
 * expects NULL. */
void sampler_start(const sampler_plan *plan, const float *noise, const float *image, float *x, size_t n);

/* An image's latent at the noise level before step `index` (0..count, first + step after a step; count
 * gives the image itself): what keeps the known part of a picture in step while the rest is drawn. */
void sampler_noised_image(const sampler_plan *plan, int index, const float *image, const float *noise,
                          float *x, size_t n);

/* The noise level that a timestep told to the network stands for: sigma of the VE latent, or of the flow latent. And
 * x_0 from what the network saw there and what it said: x_0 = *of_seen seen + *of_output output. */
float sampler_level(const sampler_plan *plan, float timestep);
void sampler_x0_line(const sampler_plan *plan, float sigma, float *of_seen, float *of_output);

/* Draw. x: in, what sampler_start() gave; out, the latent. All memory is taken before the first step.
 * Thread: any number of drawings may share a plan. KILN_CANCELLED and others as the calls return them. */
kiln_status sampler_run(const sampler_plan *plan, const sampler_calls *calls, float *x, size_t n,
                        kiln_error *err);

/* The samplers that there are: label of number i, NULL past the end; its other names as a NULL-ended
 * list; its diffusers class or NULL. */
const char *sampler_label(int i);
const char *const *sampler_aliases(int i);
const char *sampler_class(int i);
/* A few words on when to take it. */
const char *sampler_good_for(int i);

#endif
