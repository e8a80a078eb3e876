/* kiln.h - the public interface of libkiln: open a model, draw, encode, inspect, convert.
 *
 * Objects are opaque. Every call that can fail returns a kiln_status and takes a kiln_error as its
 * last argument (NULL is allowed): the error holds one sentence that names the file, the tensor or the
 * option, what was expected and what was found. Out parameters are NULL after a failure.
 *
 * Threads: the library keeps no mutable global state. A kiln_model is immutable once open and may be
 * shared by any number of threads; each thread draws through a kiln_session of its own.
 *
 * Ownership: what a *_new / *_open call gives is the caller's, and is given back with *_free / *_close
 * (which accept NULL). Strings reached through a handle live as long as the handle.
 */
#ifndef KILN_KILN_H
#define KILN_KILN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KILN_API __attribute__((visibility("default")))
#define KILN_CHECKED __attribute__((warn_unused_result))
#else
#define KILN_API
#define KILN_CHECKED
#endif

#define KILN_VERSION "0.1.0"

/* ------------------------------------------------------------------------------------ errors */

#define KILN_STATUS_MAP(X)                                                                                   \
    X(OK, "ok")                                                                                              \
    X(BAD_ARGUMENT, "bad argument")                                                                          \
    X(NOT_FOUND, "not found")                                                                                \
    X(IO, "input or output failed")                                                                          \
    X(BAD_FORMAT, "malformed file")                                                                          \
    X(MISMATCH, "does not fit the model")                                                                    \
    X(UNSUPPORTED, "not supported")                                                                          \
    X(NO_MEMORY, "not enough memory")                                                                        \
    X(CANCELLED, "cancelled")                                                                                \
    X(BUSY, "in use")                                                                                        \
    X(INTERNAL, "internal error")

typedef enum kiln_status {
#define KILN_STATUS_ENUM(name, text) KILN_##name,
    KILN_STATUS_MAP(KILN_STATUS_ENUM)
#undef KILN_STATUS_ENUM
} kiln_status;

/* Filled by a failing call. `text` is one sentence, lower case, without a final period. */
typedef struct kiln_error {
    kiln_status status;
    char text[1012];
} kiln_error;

/* A short name of a status ("malformed file"). Never NULL. */
KILN_API const char *kiln_status_text(kiln_status status);

/* The library's version, "major.minor.patch". */
KILN_API const char *kiln_version(void);

/* ------------------------------------------------------------------------------------ images */

/* A picture: 8 or 16 bits per channel, 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels, interleaved rows. */
typedef struct kiln_image kiln_image;

/* Copies `pixels` (uint8_t, or uint16_t when bits is 16), or gives a black picture for NULL. */
KILN_API KILN_CHECKED kiln_status kiln_image_new(int width_px, int height_px, int channels, int bits,
                                                 const void *pixels, kiln_image **out, kiln_error *);
KILN_API void kiln_image_free(kiln_image *);
KILN_API int kiln_image_width(const kiln_image *);
KILN_API int kiln_image_height(const kiln_image *);
KILN_API int kiln_image_channels(const kiln_image *);
KILN_API int kiln_image_bits(const kiln_image *);
KILN_API const void *kiln_image_pixels(const kiln_image *);
/* A text that travels with the picture, e.g. "parameters" (A1111's infotext); NULL when there is none. */
KILN_API const char *kiln_image_text(const kiln_image *, const char *keyword);
KILN_API KILN_CHECKED kiln_status kiln_image_set_text(kiln_image *, const char *keyword, const char *text,
                                                      kiln_error *);
/* PNG, JPEG or WebP, told by content; EXIF orientation is honoured. */
KILN_API KILN_CHECKED kiln_status kiln_image_read(const char *path, kiln_image **out, kiln_error *);
/* PNG, JPEG or WebP by the path's extension, through a temporary file that is renamed. quality 1..100 for JPEG and
 * WebP, 0 for the default (95 and 90). The picture's texts are written with it. */
KILN_API KILN_CHECKED kiln_status kiln_image_write(const char *path, const kiln_image *, int quality,
                                                   kiln_error *);
/* Says before any work whether kiln_image_write could write there. */
KILN_API KILN_CHECKED kiln_status kiln_image_write_check(const char *path, kiln_error *);

/* ------------------------------------------------------------------------------------ models */

typedef struct kiln_model kiln_model;

typedef enum kiln_precision {
    KILN_PRECISION_AUTO, /* bf16 products with f32 sums where the processor has them, else f32 */
    KILN_PRECISION_F32,
    KILN_PRECISION_BF16
} kiln_precision;

/* Words with vectors of their own (textual inversion), by file: .safetensors, .pt, .bin, or a picture (.png, .webp) that holds
 * them. In a prompt, a file's name without the extension (or the word that the file itself names) stands for its vectors, in
 * any case, weighted like any word. */
typedef struct kiln_words {
    const char *folder;       /* all files in it and in folders below; NULL: none */
    const char *const *files; /* and these; also LoRAs that words lie in */
    int count;                /* of files */
} kiln_words;

typedef struct kiln_model_options {
    const char *vae; /* take the VAE from this file or folder; NULL: the model's own */
    /* Folder with vocab.json and merges.txt, or a vocabulary file; NULL: the model folder's, else the data
     * directory's. */
    const char *tokenizer;
    const char *data_directory; /* where shared data lies; NULL: the one chosen when Kiln was built */
    const char *hints;   /* JSON file with what an odd single file does not tell (head counts); NULL: none */
    const char *preview; /* TAESD decoder or VAE-approx file for previews; NULL: a fixed colour matrix */
    kiln_precision precision;
    int threads;    /* 0: one per processor core */
    bool reference; /* run the slow reference kernels: for comparison only */
    /* File in which the hashes of models are remembered (see kiln_hash_known), which is made when it is not there;
     * NULL: none, so that the first drawing hashes the model, beside its other work. */
    const char *hash_cache;
    /* Of the folder, a file that is no embedding, does not fit the model, or has the word of another file is refused when a
     * prompt has its word; pictures without an embedding are passed over. */
    kiln_words words;
} kiln_model_options;

KILN_API kiln_model_options kiln_model_defaults(void);

/* Open a diffusers folder or a single-file checkpoint. Only headers are read here; weights are read when a session
 * first needs them. */
KILN_API KILN_CHECKED kiln_status kiln_model_open(const char *path, const kiln_model_options *,
                                                  kiln_model **out, kiln_error *);
/* KILN_BUSY while sessions of this model are open. NULL is fine. */
KILN_API kiln_status kiln_model_close(kiln_model *);
/* "Stable Diffusion 1", "Stable Diffusion XL", ... */
KILN_API const char *kiln_model_family(const kiln_model *);
/* The picture size that the model was made for. */
KILN_API void kiln_model_size(const kiln_model *, int *width_px, int *height_px);
/* The guidance scale that the model's maker recommends ("_recommended": {"guidance_scale": 4} in model_index.json); else
 * that of kiln_draw_defaults. */
KILN_API double kiln_model_guidance(const kiln_model *);
/* Sizes must be multiples of this. */
KILN_API int kiln_model_size_step(const kiln_model *);

/* ------------------------------------------------------------------------------------ sessions, progress */

/* One thread's work with a model: plans, activations, a cancel flag. */
typedef struct kiln_session kiln_session;

KILN_API KILN_CHECKED kiln_status kiln_session_new(kiln_model *, kiln_session **out, kiln_error *);
KILN_API void kiln_session_free(kiln_session *);
/* Ask the running call to stop; it returns KILN_CANCELLED within a step. Safe from any thread and from a signal
 * handler. The flag is cleared when the next call begins. */
KILN_API void kiln_session_cancel(kiln_session *);

typedef struct kiln_progress {
    const char *stage;   /* "loading", "text", "draw", "decode", "encode", "hash", "convert", "download" */
    int64_t done, total; /* steps, or weights ("loading"), or bytes; total 0: unknown */
    int image, images;   /* which picture of the batch, from 0 */
    const kiln_image *preview; /* of the picture so far, or NULL; valid during the call */
} kiln_progress;
/* Return false to stop: the call then gives KILN_CANCELLED. */
typedef bool (*kiln_progress_function)(void *user, const kiln_progress *);

/* One node of a network has run; see kiln_session_trace. */
typedef struct kiln_trace {
    const char *path, *op, *kernel; /* place in the model, op, and which kernel ran it */
    int rank;
    const int64_t *shape;
    double microseconds, flops, bytes;
    double minimum, mean, maximum; /* only when statistics were asked for */
    int64_t not_finite;
} kiln_trace;
typedef void (*kiln_trace_function)(void *user, const kiln_trace *);
/* Call `trace` after every node of every network from now on (NULL: no longer). Statistics cost a pass over the data. */
KILN_API void kiln_session_trace(kiln_session *, kiln_trace_function trace, void *user, bool statistics);
/* Write a table of time by op and kernel since the session began or the last call. Profiling must be on. */
KILN_API void kiln_session_profile(kiln_session *, bool on);
KILN_API KILN_CHECKED kiln_status kiln_session_profile_text(kiln_session *, char **text /* free() */,
                                                            kiln_error *);

/* ------------------------------------------------------------------------------------ semantic maps */

/* Named tensors with a kind: what a text or an image means to a model. Kind "conditioning" holds the text encoders'
 * output ("context" [1,T,D], for SDXL also "pooled" [1,P]); kind "latents" holds "latents" [1,C,H,W]. */
typedef struct kiln_map kiln_map;

KILN_API void kiln_map_free(kiln_map *);
KILN_API const char *kiln_map_kind(const kiln_map *);
KILN_API int kiln_map_count(const kiln_map *);
/* Tensor i: its name, f32 data and shape (valid as long as the map). */
KILN_API const float *kiln_map_tensor(const kiln_map *, int i, const char **name, int *rank,
                                      const int64_t **shape);
/* As a safetensors file. */
KILN_API KILN_CHECKED kiln_status kiln_map_save(const kiln_map *, const char *path, kiln_error *);
KILN_API KILN_CHECKED kiln_status kiln_map_load(const char *path, kiln_map **out, kiln_error *);

/* Text to conditioning. clip_skip 1 is the last layer (SDXL always takes the penultimate); `emphasis` as in
 * kiln_draw_options. */
KILN_API KILN_CHECKED kiln_status kiln_encode_text(kiln_session *, const char *prompt, int clip_skip,
                                                   const char *emphasis, kiln_map **out, kiln_error *);
/* A picture to latents (the mean of the VAE's distribution, scaled as the sampler wants it), and back. */
KILN_API KILN_CHECKED kiln_status kiln_encode_image(kiln_session *, const kiln_image *, kiln_map **out,
                                                    kiln_error *);
KILN_API KILN_CHECKED kiln_status kiln_decode_latents(kiln_session *, const kiln_map *, kiln_image **out,
                                                      kiln_error *);

/* ------------------------------------------------------------------------------------ drawing */

/* How the answers with and without the prompt are joined, beyond the guidance scale. Zeros: plain guidance. */
typedef struct kiln_guidance {
    double skip_early; /* 0..1: share of the steps at the beginning that go without (A1111: Skip Early CFG) */
    double end;        /* 0..1: guidance ends after this share of the steps; 0: it does not */
    double
        minimum_sigma; /* below this noise level every other step goes without (A1111: NGMS); 0: none does */
    bool minimum_every_step; /* ... every step */
    double mimic_scale;      /* dynamic thresholding: the milder scale whose contrast is kept; 0: off */
    double mimic_percentile; /* 0.5..1: of what is larger, so much is clipped first; 0 means 1 */
    double
        perpendicular; /* 0..10: strength of the negative prompt where it does not touch the prompt; 0: as usual */
} kiln_guidance;

/* Numbers of the samplers and noise schedules, beyond eta. Zeros: the usual ones. */
typedef struct kiln_sampling {
    double s_churn, s_tmin,
        s_tmax;                  /* fresh noise of Euler, Heun and DPM2 (Karras et al. 2022): amount, and the
                                       levels between which it is added; s_tmax 0: no upper limit */
    double s_noise;              /* factor of all fresh noise; 0: 1 */
    double sigma_min, sigma_max; /* ends of the noise schedule; 0: the model's */
    double rho;                  /* exponent of Karras and Polyexponential; 0: 7, and 1 */
} kiln_sampling;

/* From which noise a picture begins, beyond its seed; the names are those of A1111's "Extra" beside the seed. Zeros: from
 * the seed's own. */
typedef struct kiln_seeding {
    /* The noise goes this share (0..1) of the way, along the arc, to that of another seed. Picture k of a batch then has the
     * same seed and variation_seed + k. */
    double variation_strength;
    uint64_t variation_seed;
    /* px: as far as noise goes, the picture is the one that the seed gives at this size, in the middle of the other; 0 */
    int resize_width, resize_height;
    /* The steps' own fresh noise is that of seed + this (ENSD; 31337 repeats NovelAI's pictures); 0: what follows the noise
     * of the start. Without effect on samplers that draw from a Brownian path. */
    int64_t eta_noise_seed_delta;
} kiln_seeding;

/* A LoRA, or a file of its family, over the model's weights. */
typedef struct kiln_lora {
    const char *path;
    double text_strength, unet_strength; /* -1000..1000; 1: as it was made, 0: not at all */
} kiln_lora;

typedef struct kiln_draw_options {
    const char *prompt;   /* UTF-8; "" is allowed */
    const char *negative; /* NULL: none (SDXL then uses a zero context, others the empty prompt) */
    const struct kiln_templates
        *templates;     /* styles and wildcards of both: see prompt.h. NULL: they are drawn as they stand */
    int width, height;  /* px; 0: the model's own size */
    int steps;          /* 20 */
    double cfg;         /* guidance scale, 7; 1 turns guidance off */
    double cfg_rescale; /* 0..1, 0 */
    kiln_guidance guidance;
    kiln_sampling sampling;
    uint64_t seed; /* of the first picture; picture k of a batch has seed + k */
    kiln_seeding seeding;
    const char *rng;      /* "cpu": torch's CPU generator; "nv": CUDA's Philox. Default "cpu" */
    const char *sampler;  /* "DPM++ 2M" by default; "model": the folder's scheduler_config.json */
    const char *schedule; /* "Automatic", "Karras", "Uniform", ...; NULL: the sampler's own */
    double eta;           /* noise of DDIM and the ancestral samplers; -1: the sampler's own default */
    int clip_skip;        /* 1 */
    const char *
        emphasis; /* how weights in a prompt act: "Original" (NULL), "No norm", "ComfyUI", "Ignore" or "None" */
    int batch;    /* 1 */
    const kiln_image *init; /* start from this picture (img2img), resized to width x height */
    double strength;        /* 0..1, 0.75: how much of the schedule to run on it */
    double image_cfg;       /* 1.5: guidance by `init`, for models that change a picture by words */
    const kiln_map *conditioning, *negative_conditioning; /* instead of prompt and negative */
    /* Pictures that steer the drawing, and pictures as prompts: see vision.h. NULL and 0: none. */
    const struct kiln_control *controls;
    const struct kiln_image_prompt *image_prompts;
    const struct kiln_variation *variation;
    int control_count, image_prompt_count;
    /* LoRAs by file, beside those that the prompt names: <lora:name:text:unet>. NULL and 0: none. */
    const kiln_lora *loras;
    int lora_count;
    /* Where a prompt's names are looked for, in folders below as well; NULL: in Lora, loras or lora beside the model. */
    const char *lora_folder;
    /* The same for hypernetworks (<hypernet:name:strength>); NULL: in hypernetworks or hypernetwork beside the model. */
    const char *hypernetwork_folder;
    /* A second, larger pass over what was drawn ("Hires. fix" of A1111); not with `init`. */
    double hires_scale;            /* 1..16; 0: none */
    int hires_width, hires_height; /* px, instead of the scale; 0 */
    const char *
        hires_upscaler; /* "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)",
                                       "Latent (nearest)", "Latent (nearest-exact)", or what kiln_upscaler_open takes */
    int hires_steps;    /* 0: as many as the first */
    double hires_strength; /* 0..1, 0.7 */
    int vae_tile;          /* px; 0: chosen by memory and size; -1: never tile */
    int64_t memory_limit;  /* bytes; 0: what the machine has. What does not fit is refused before it starts */
    int preview_every;     /* steps between previews in progress; 0: none */
    kiln_progress_function progress;
    void *user; /* for progress */
} kiln_draw_options;

KILN_API kiln_draw_options kiln_draw_defaults(void);

/* What a drawing will take, in bytes, as the planner sees it: weights as packed, activations, and their peak together.
 * Also checks every option, without drawing. */
typedef struct kiln_memory_plan {
    int64_t weights, activations, peak;
} kiln_memory_plan;
KILN_API KILN_CHECKED kiln_status kiln_draw_plan(kiln_session *, const kiln_draw_options *,
                                                 kiln_memory_plan *, kiln_error *);

/* Draw options->batch pictures into out[0..batch-1] (RGB, 8 bit), each with its "parameters" text. On failure none is
 * left. */
KILN_API KILN_CHECKED kiln_status kiln_draw(kiln_session *, const kiln_draw_options *, kiln_image **out,
                                            kiln_error *);
/* The same up to the finished latents: maps of kind "latents", which kiln_decode_latents takes. */
KILN_API KILN_CHECKED kiln_status kiln_draw_latents(kiln_session *, const kiln_draw_options *, kiln_map **out,
                                                    kiln_error *);
/* How often the session's running or last call asked the denoising network, all pictures and passes together. The answers
 * with and without the prompt that guidance joins count as one. Adaptive samplers choose that number; the others take
 * one, two or three a step. */
KILN_API int kiln_session_evaluations(const kiln_session *);

/* What more steps of a sampler come nearer to. */
typedef enum kiln_equation {
    KILN_EQUATION_NONE, /* another picture at every step count: independent fresh noise, or a form without a limit */
    KILN_EQUATION_ODE, /* the probability flow: the same picture for all samplers that solve it */
    KILN_EQUATION_SDE  /* the reverse SDE, along a path of noise that the seed determines */
} kiln_equation;

typedef struct kiln_solver {
    const char *sampler,
        *schedule; /* by their labels; the schedule after "Automatic", "" where it has its own levels */
    kiln_equation equation;
    bool adaptive; /* chooses its steps itself: options->steps says nothing */
} kiln_solver;
/* What a drawing with these options will be solved by. Checks every option, without drawing. */
KILN_API KILN_CHECKED kiln_status kiln_draw_solver(kiln_session *, const kiln_draw_options *, kiln_solver *,
                                                   kiln_error *);

/* ------------------------------------------------------------------------------------ selections, inpainting */

typedef struct kiln_point {
    double x, y; /* px from the top left corner */
} kiln_point;

/* Which part of a picture is meant. All that is set is joined: a rectangle and a colour select both. */
typedef struct kiln_selection {
    int x, y, width, height;  /* rectangle in px; width 0: none. What is outside of the picture is left out */
    const kiln_point *points; /* polygon (even-odd rule) */
    int point_count;          /* 0: none, else at least 3 */
    bool transparent;         /* where the picture is transparent, as far as it is */
    bool by_colour;           /* 8-bit red, green and blue, each at most `tolerance` (0..255) from `colour` */
    uint8_t colour[3];
    int tolerance;
} kiln_selection;

/* A mask as kiln_inpaint takes it: a grey picture of the same size, white where it is selected. */
KILN_API KILN_CHECKED kiln_status kiln_select(const kiln_image *picture, const kiln_selection *,
                                              kiln_image **mask, kiln_error *);

/* Draw a part of a picture anew. Every pixel whose final mask is 0 keeps its very samples, and the picture its bit depth,
 * its channels and its transparency (what is drawn is opaque). Any model can do it: those made for it are told the mask,
 * the others are held to the picture around at every step. Names and rules are those of A1111's img2img tab. */
typedef struct kiln_inpaint_options {
    /* Prompt, seed, sampler, strength ... as for kiln_draw; `init` is not used. width and height are what the region is
     * drawn at (it is resampled for that): 0 takes the picture's own size, and with only_masked the model's. */
    kiln_draw_options draw;
    const kiln_image *picture; /* of any form */
    const kiln_image *mask;    /* of the same size; white is drawn. Colours count by their luma */
    bool invert;               /* black is drawn instead */
    double mask_grow;          /* px, -4096..4096: move the mask's edge out, or in; 0 */
    double mask_blur;          /* px, 0..256: deviation of the soft edge; 4 */
    const char *
        content; /* what the drawing starts from under the mask: "original", "fill" (the colours around), "latent
                            noise", "latent nothing"; "original" */
    bool only_masked;   /* draw the masked part alone, with its surroundings, at the full size; false */
    int padding;        /* px around it, 0..4096; 32 */
    double mask_weight; /* 0..1: how much of what is masked is hidden from an inpainting model; 1 */
    bool match_colour;  /* take slow differences in colour at the seam away; true */
    /* Soft inpainting: the mask is a strength of its own for each pixel, and what came out different decides what is
     * put into the picture. The controls are A1111's. */
    bool soft;
    double soft_bias;         /* schedule bias, 0..8; 1 */
    double soft_preservation; /* preservation strength, 0..8; 0.5 */
    double soft_contrast;     /* transition contrast boost, 1..32; 4 */
    double soft_influence;    /* mask influence, 0..1; 0 */
    double soft_threshold;    /* difference threshold, 0..8; 0.5 */
    double soft_difference;   /* difference contrast, 0..8; 2 */
} kiln_inpaint_options;

KILN_API kiln_inpaint_options kiln_inpaint_defaults(void);
/* What it will take of memory; checks every option, without drawing. */
KILN_API KILN_CHECKED kiln_status kiln_inpaint_plan(kiln_session *, const kiln_inpaint_options *,
                                                    kiln_memory_plan *, kiln_error *);
/* options->draw.batch pictures into out, each with its "parameters" text. On failure none is left. */
KILN_API KILN_CHECKED kiln_status kiln_inpaint(kiln_session *, const kiln_inpaint_options *, kiln_image **out,
                                               kiln_error *);

/* ------------------------------------------------------------------------------------ recipes */

/* A recipe read back from a picture's "parameters" text (of Kiln, A1111 and those that write like them). */
typedef struct kiln_recipe kiln_recipe;
KILN_API KILN_CHECKED kiln_status kiln_recipe_read(const char *parameters, kiln_recipe **out, kiln_error *);
KILN_API void kiln_recipe_free(kiln_recipe *);
/* Fill the options that the recipe names (templates: with NULL); the strings live as long as the recipe. */
KILN_API void kiln_recipe_apply(const kiln_recipe *, kiln_draw_options *);
/* The same for those of an inpainting, `draw` included. */
KILN_API void kiln_recipe_apply_inpaint(const kiln_recipe *, kiln_inpaint_options *);
/* A field as written ("Model hash", "Sampler"); NULL when absent. */
KILN_API const char *kiln_recipe_field(const kiln_recipe *, const char *name);

/* A seed from the system's random source. */
KILN_API uint64_t kiln_seed_random(void);

/* Names for help pages: the i-th sampler or schedule, NULL past the end. */
KILN_API const char *kiln_sampler_name(int i);
KILN_API const char *kiln_schedule_name(int i);
/* What it is good for, in a few words; its i-th other name, NULL past the end. */
KILN_API const char *kiln_sampler_advice(int i);
KILN_API const char *kiln_sampler_alias(int i, int k);
KILN_API const char *kiln_schedule_advice(int i);
KILN_API const char *kiln_schedule_alias(int i, int k);

/* ------------------------------------------------------------------------------------ files */

/* What a file is, told from its header alone. */
typedef struct kiln_inspection kiln_inspection;
KILN_API KILN_CHECKED kiln_status kiln_inspect(const char *path, kiln_inspection **out, kiln_error *);
KILN_API void kiln_inspection_free(kiln_inspection *);
/* Facts in the order they should be shown: name i and its text; NULL past the end. E.g. "kind", "family",
 * "prediction", "parts", "missing", "format", "tensors", "parameters". */
KILN_API const char *kiln_inspection_fact(const kiln_inspection *, int i, const char **name);
/* Metadata entry i (key and value); NULL past the end. */
KILN_API const char *kiln_inspection_metadata(const kiln_inspection *, int i, const char **key);
/* Tensor i: name, element type, shape; NULL past the end. */
KILN_API const char *kiln_inspection_tensor(const kiln_inspection *, int i, const char **type, int *rank,
                                            const int64_t **shape);
/* Read every number: KILN_BAD_FORMAT naming file and tensor when one is NaN or infinite (masks and schedules, which may
 * be, are left out). */
KILN_API KILN_CHECKED kiln_status kiln_inspection_check(const kiln_inspection *, kiln_progress_function,
                                                        void *user, kiln_error *);
/* sha256 (64 hex digits), A1111's short form of it (10), its old hash (8) and the hash of a LoRA's data (12, or ""):
 * reads the whole file. */
typedef struct kiln_hashes {
    char sha256[65], short_hash[11], old_hash[9], data_hash[13];
} kiln_hashes;
KILN_API KILN_CHECKED kiln_status kiln_hash_file(const char *path, kiln_hashes *, kiln_progress_function,
                                                 void *user, kiln_error *);
/* Whether the file `cache` holds the hashes of the file at `path` as it is now (told by size and modification time).
 * data_hash may be "" where a drawing left the entry. Reads 64 KiB of `path` for the old hash. A cache that is not
 * there or is damaged knows nothing. */
KILN_API bool kiln_hash_known(const char *cache, const char *path, kiln_hashes *);
/* Note them there: of the newest 1,000 files. The file should not have changed since it was hashed. False when that
 * cannot be written. */
KILN_API bool kiln_hash_remember(const char *cache, const char *path, const kiln_hashes *);

typedef struct kiln_convert_options {
    const char *type;  /* "f32", "f16", "bf16"; NULL: as in the source */
    const char *hints; /* as in kiln_model_options */
    /* Of an embedding (textual inversion): keys of a .safetensors file, "kohya" (NULL) or "diffusers"; the word that it is
     * called by, NULL: what it says, or the new file's name; the picture in the middle of a .png, NULL: a plain card. */
    const char *layout, *word, *picture;
    /* Merged into the weights, one after the other. Of a checkpoint file then only the model's own tensors are written. */
    const kiln_lora *loras;
    int lora_count;
    kiln_progress_function progress;
    void *user;
} kiln_convert_options;
KILN_API kiln_convert_options kiln_convert_defaults(void);
/* Single file to folder when `to` ends in '/' or has no extension, folder to single file when it ends in .safetensors;
 * also a .ckpt/.pt of any kind to .safetensors under the same names, and an embedding to .safetensors, .pt (A1111's) or
 * .png. Whole or nothing: written beside and renamed. */
KILN_API KILN_CHECKED kiln_status kiln_convert(const char *from, const char *to, const kiln_convert_options *,
                                               kiln_error *);

typedef struct kiln_extract_options {
    int rank;          /* of linear layers and 1x1 convolutions, 1..1024; 32 */
    int window_rank;   /* of larger convolutions; 0: they are left out; 0 */
    const char *type;  /* "f32", "f16", "bf16"; "f16" */
    const char *hints; /* as in kiln_model_options, for both models */
    kiln_progress_function progress;
    void *user;
} kiln_extract_options;
KILN_API kiln_extract_options kiln_extract_defaults(void);
/* What a tuned model has over its base, as a LoRA in kohya's names: for every layer of UNet and text encoders whose weights
 * differ, the nearest matrix of that rank (Eckart and Young 1936). The models are of one family and size, folders or
 * files. *error (may be NULL) becomes the share of the differences that is lost, 0..1. */
KILN_API KILN_CHECKED kiln_status kiln_extract_lora(const char *tuned, const char *base, const char *to,
                                                    const kiln_extract_options *, double *error,
                                                    kiln_error *);

/* Token ids of a text by a model folder's, or a file's, tokenizer. Arrays are in `*ids` (free()); *pieces holds the
 * text of each token, NUL after each, in one block (free()). */
KILN_API KILN_CHECKED kiln_status kiln_tokenize(const char *tokenizer_path, const char *text, int32_t **ids,
                                                char **pieces, size_t *count, kiln_error *);
/* How a prompt is understood in a drawing of so many steps, as lines to read: its parts and their weights, the text of
 * each step, and each text's windows with the weight of every token that has one ("fox{1.1}"); a word of `words` (NULL:
 * none) is shown with its number of vectors ("easynegative[8]"). *out: free(). */
KILN_API KILN_CHECKED kiln_status kiln_explain_prompt(const char *tokenizer_path, const char *prompt,
                                                      int steps, const kiln_words *words, char **out,
                                                      kiln_error *);

typedef struct kiln_pull_options {
    const char *endpoint; /* "https://huggingface.co" */
    const char *revision; /* "main" */
    const char *token;    /* bearer token; NULL: none */
    const char *variant;  /* "fp16"; NULL: none */
    const char *only;     /* one file of the repository; NULL: the parts of the pipeline */
    kiln_progress_function progress;
    void *user;
} kiln_pull_options;
KILN_API kiln_pull_options kiln_pull_defaults(void);
/* Download a model repository's folder: continues what an earlier call began, verifies sizes and sha256, and puts each
 * file in place only when whole. */
KILN_API KILN_CHECKED kiln_status kiln_pull(const char *repository, const char *folder,
                                            const kiln_pull_options *, kiln_error *);

#ifdef __cplusplus
}
#endif
#endif
