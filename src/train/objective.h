/* objective.h - what one step of a training computes: the graph of its loss, and the numbers that go into it.
 *
 * A method is one file: objective_denoise.c (text_to_image and pixel: Ho et al. 2020; Rombach et al. 2022),
 * objective_vae.c (Kingma and Welling 2014; Rombach et al. 2022, section 3.1) and objective_upscaler.c (Wang et al. 2021). It answers which networks take part, how
 * the loss is drawn, and how a batch becomes inputs. All randomness of a sample comes from its noise_seed, so that a
 * step is a pure function of weights, step number and seed. */
#ifndef KILN_TRAIN_OBJECTIVE_H
#define KILN_TRAIN_OBJECTIVE_H

#include "pipeline/session.h"
#include "train/cache.h"
#include "train/loader.h"
#include "train/order.h"
#include "train/picture_keys.h"
#include "train/recipe.h"

typedef struct objective objective;

/* The size that a step is drawn for. */
typedef struct objective_shape {
    int batch, height_px, width_px;
} objective_shape;

/* Pictures of one size. */
typedef struct objective_batch {
    objective_shape shape;
    const float *pixels; /* [batch,height,width,3] in -1..1; NULL: the objective reads what it needs */
    const order_sample *samples; /* [batch] */
    const char *const *captions; /* [batch] */
    bool validation;             /* timesteps are spread evenly over the samples' serial numbers */
} objective_batch;

typedef struct objective_kind {
    /* Draw the loss [1] into an empty graph. Errors stay in the graph. */
    value (*draw)(const objective *, graph *, const objective_shape *);
    /* Fill the inputs of a run of that graph. */
    kiln_status (*fill)(objective *, const objective_batch *, run *, kiln_error *err);
} objective_kind;

struct objective {
    const objective_kind *kind;
    const recipe *recipe;
    const dataset *data;
    kiln_model *model;     /* gives configurations, tokenizers, and the networks that are not trained */
    kiln_session *session; /* runs those */
    unsigned networks;     /* in the loss's graph: bits 1 << NETWORK_UNET, ... */
    unsigned trained;
    schedule *schedule;
    char *scheduler; /* scheduler_config.json of what is trained */
    bool flow, latent, worded;
    cache *latents, *texts; /* NULL: not kept */
    picture_keys *keys;     /* with `latents` */
    /* Of an upscaler's validation: what bicubic resampling makes of the same small pictures. */
    double bicubic_psnr;
    int64_t bicubic_count;
};

/* Whether the text encoder is trained under this recipe. */
bool objective_trains_text(const recipe *);
/* The model and the session, the dataset and the recipe are borrowed. `cache_folder` NULL: nothing is kept on disk.
 * `keys_file`: see picture_keys.h. */
kiln_status objective_new(const recipe *, kiln_model *, kiln_session *, const dataset *,
                          const char *cache_folder, const char *keys_file, objective **out, kiln_error *err);
void objective_free(objective *);
/* Whether batches need pixels from the loader. */
bool objective_needs_pixels(const objective *);

/* ---- shared by the methods ---- */

extern const objective_kind objective_denoise, objective_vae, objective_upscaler;

/* objective_vae.c: the loss of the difference between two pictures, as reconstruction_loss, gradient_weight and
 * gradient_scales say. */
value objective_picture_loss(const objective *, at, value error);

/* Make the graph's input of that name the given value (drawn before it, of the same shape): how two models become one
 * graph. */
void graph_join(graph *, const char *input, value);
/* The output of that name, no longer an output; NO_VALUE when there is none. */
value graph_take_output(graph *, const char *name);

/* objective_condition.c: captions to the UNet's inputs, ids when the text encoder is trained, else its states. */
kiln_status objective_fill_words(objective *, const objective_batch *, run *, kiln_error *err);
/* sha256 over a network's values, as digits. */
kiln_status network_hash(const kiln_model *, network_kind, char out[65], kiln_error *err);
/* The moments [h,w,2C] of the picture of a sample, from the cache or encoded now. pixels NULL: read from its file. */
kiln_status objective_moments(objective *, const order_sample *, const float *pixels, float *to,
                              kiln_error *err);

#endif
