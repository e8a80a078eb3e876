/* recipe.h - what a training is to do: a plain text file, every key of it declared once.
 *
 *     # a comment
 *     method = text_to_image
 *     learning_rate = 1e-4
 *     [unet]                          keys below are unet.block_out_channels, ...
 *     block_out_channels = 32, 64
 *     [saving]                        any other heading is for the reader only
 *     save_every_n_steps = 500
 *
 * One table (recipe_keys.c) gives each key's type, range, default and line of help. A key that is none is refused with
 * the nearest one; a value is refused with what was expected and what was found. Later lines win, and what the command
 * line sets wins over the file. Paths are relative to the current folder. */
#ifndef KILN_TRAIN_RECIPE_H
#define KILN_TRAIN_RECIPE_H

#include "base/arena.h"
#include "base/error.h"

#include <stddef.h>

enum { RECIPE_LIST = 8 };

typedef struct recipe_list {
    int count;
    int number[RECIPE_LIST];
} recipe_list;

/* The sizes of a UNet, a VAE and a text encoder made from nothing; or, `base`, where one is taken from. */
typedef struct recipe_unet {
    const char *base;
    recipe_list block_out_channels, attention, attention_head_dim;
    int layers_per_block, cross_attention_dim, norm_num_groups;
    const char *mid_block;
    bool use_linear_projection;
} recipe_unet;

typedef struct recipe_vae {
    const char *base;
    recipe_list block_out_channels;
    int layers_per_block, latent_channels, norm_num_groups;
    bool mid_block_add_attention;
    double scaling_factor;
} recipe_vae;

typedef struct recipe_upscaler {
    int num_feat, num_conv, upscale;
} recipe_upscaler;

/* Textual inversion, in diffusers' words. */
typedef struct recipe_words {
    const char *placeholder_token, *initializer_token, *learnable_property;
    int num_vectors;
} recipe_words;

/* As A1111's page of hypernetworks asks for them. */
typedef struct recipe_hypernetwork {
    const char *layer_structure, *activation_func, *weight_initialization, *dropout_structure;
    bool is_layer_norm, activate_output, use_dropout, last_layer_dropout;
    recipe_list modules;
} recipe_hypernetwork;

/* As kohya's network_dim and its like, and LyCORIS's. */
typedef struct recipe_lora {
    const char *network_type, *block_dims;
    int network_dim, conv_dim, network_factor;
    double network_alpha, conv_alpha, network_dropout;
} recipe_lora;

typedef struct recipe_text {
    const char *base, *tokenizer, *hidden_act;
    int hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
} recipe_text;

/* Names and meanings: recipe_keys.c. "" stands for "none" in texts. */
typedef struct recipe {
    arena memory;
    const char *name; /* of the file, for messages */
    /* general */
    const char *method, *base, *output_dir, *mixed_precision;
    uint64_t seed;
    int threads;
    /* data */
    const char *train_data_dir, *validation_data_dir, *caption_extension, *cache_dir, *reg_data_dir;
    const char *caption_prefix, *caption_suffix, *keep_tokens_separator;
    recipe_list resolution;
    bool enable_bucket, bucket_no_upscale, shuffle_caption, flip_aug, random_crop, crop_unscaled, conditional;
    bool cache_latents, cache_text_encoder_outputs;
    int min_bucket_reso, max_bucket_reso, bucket_reso_steps, keep_tokens, dataset_repeats, workers;
    double caption_dropout_rate, caption_tag_dropout_rate, validation_split, prior_loss_weight;
    /* dreambooth */
    const char *instance_prompt, *class_prompt, *class_data_dir, *class_validation_data_dir, *class_sampler;
    bool with_prior_preservation;
    int num_class_images, num_class_validation_images, class_steps;
    int64_t class_validate_every_n_steps;
    double class_cfg;
    uint64_t class_seed;
    /* training */
    int train_batch_size, gradient_accumulation_steps, max_train_epochs, clip_skip;
    int64_t max_train_steps;
    bool train_unet, train_text_encoder, gradient_checkpointing;
    const char *trainable, *frozen;
    double max_grad_norm;
    /* optimizer and learning rate */
    const char *optimizer, *learning_rate, *lr_scheduler;
    double text_encoder_lr, adam_beta1, adam_beta2, adam_epsilon, weight_decay;
    double lr_warmup_steps, lr_power, lr_min_ratio, lr_decay_steps;
    int lr_num_cycles;
    bool relative_step, scale_parameter;
    /* EMA */
    double ema_decay;
    const char *ema_kind;
    int64_t ema_update_every;
    /* noise and loss */
    const char *prediction_type, *beta_schedule, *timestep_sampling;
    double beta_start, beta_end, noise_offset, min_snr_gamma, flow_shift, timestep_shift;
    int num_train_timesteps, min_timestep, max_timestep;
    bool zero_terminal_snr, zero_init;
    /* VAE's loss */
    const char *reconstruction_loss;
    double kl_weight, gradient_weight;
    int gradient_scales;
    /* how an upscaler's pictures are made small */
    double degrade_blur, degrade_noise;
    int degrade_jpeg;
    bool degrade_second_order;
    /* saving */
    int64_t save_every_n_steps;
    int save_every_n_epochs, save_last_n;
    double save_every_n_minutes;
    bool save_best;
    const char *save_precision;
    /* validation and samples */
    int64_t validate_every_n_steps, sample_every_n_steps;
    int validate_every_n_epochs, sample_every_n_epochs, max_validation_samples;
    int sample_steps, sample_width, sample_height;
    double sample_cfg;
    uint64_t sample_seed, validation_seed;
    const char *sample_prompts, *sample_sampler;
    bool sample_at_first;
    int64_t plot_every_n_steps;
    recipe_unet unet;
    recipe_vae vae;
    recipe_text text_encoder;
    recipe_upscaler upscaler;
    /* what is taught beside the weights */
    const char *output_name, *network_weights, *save_model_as;
    recipe_hypernetwork hypernetwork;
    recipe_words words;
    recipe_lora lora;
} recipe;

typedef enum recipe_kind {
    RECIPE_TEXT,
    RECIPE_CHOICE, /* a text, one of `choices` */
    RECIPE_BOOL,
    RECIPE_INTEGER, /* int */
    RECIPE_STEPS,   /* int64_t */
    RECIPE_NUMBER,  /* double */
    RECIPE_SEED,    /* uint64_t */
    RECIPE_NUMBERS  /* recipe_list, up to RECIPE_LIST whole numbers */
} recipe_kind;

typedef struct recipe_key {
    const char *name;
    recipe_kind kind;
    size_t offset;
    double minimum, maximum;
    const char *standard; /* the default, as text */
    const char *choices;  /* RECIPE_CHOICE: words separated by '|' */
    const char *heading;  /* under which the resolved recipe shows it */
    const char *help;
} recipe_key;

/* Row i of the table, NULL past the end. */
const recipe_key *recipe_key_at(int i);
/* By name, or by a name that other trainers use for it ("snr_gamma"); NULL when there is none. */
const recipe_key *recipe_key_find(const char *name);

/* All keys at their defaults. A recipe starts as {0}; recipe_fini afterwards, after failures too. */
kiln_status recipe_init(recipe *, kiln_error *err);
void recipe_fini(recipe *);
/* Set one key from text. */
kiln_status recipe_set(recipe *, const char *key, const char *text, kiln_error *err);
/* Set the keys that a text (a file's content) names; `name` stands in messages with the line. */
kiln_status recipe_read_text(recipe *, const char *name, const char *text, size_t length, kiln_error *err);
kiln_status recipe_read_file(recipe *, const char *path, kiln_error *err);
/* What no single key can tell: whether they fit together. Fills in what follows from others. */
kiln_status recipe_check(recipe *, kiln_error *err);
/* recipe_prior.c: the same for the keys of prior preservation. method "dreambooth" becomes text_to_image. */
kiln_status recipe_check_prior(recipe *, kiln_error *err);
/* Whether each picture goes with one of its class; a weight of 0 leaves those out. */
bool recipe_pairs(const recipe *);
/* teach.c: whether the method trains something beside the weights. */
bool recipe_teaches(const recipe *);
/* Every key with its value, in a form that recipe_read_text reads back the same. free(); NULL: no memory. */
char *recipe_text_of(const recipe *);
/* A key's value as text, into `text`. */
enum { RECIPE_VALUE = 4096 };
void recipe_value_text(const recipe *, const recipe_key *, char text[RECIPE_VALUE]);

#endif
