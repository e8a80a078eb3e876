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

/* Text to conditioning. clip_skip 1 is the last layer (SDXL always takes the penultimate). */
KILN_API KILN_CHECKED kiln_status kiln_encode_text(kiln_session *, const char *prompt, int clip_skip,
                                                   kiln_map **out, kiln_error *);
/* A picture to latents (the mean of the VAE's distribution, scaled as the sampler wants it), and back. */
KILN_API KILN_CHECKED kiln_status kiln_encode_image(kiln_session *, const kiln_image *, kiln_map **out,
                                                    kiln_error *);
KILN_API KILN_CHECKED kiln_status kiln_decode_latents(kiln_session *, const kiln_map *, kiln_image **out,
                                                      kiln_error *);

/* ------------------------------------------------------------------------------------ drawing */

typedef struct kiln_draw_options {
    const char *prompt;     /* UTF-8; "" is allowed */
    const char *negative;   /* NULL: none (SDXL then uses a zero context, others the empty prompt) */
    int width, height;      /* px; 0: the model's own size */
    int steps;              /* 20 */
    double cfg;             /* guidance scale, 7; 1 turns guidance off */
    double cfg_rescale;     /* 0..1, 0 */
    uint64_t seed;          /* of the first picture; picture k of a batch has seed + k */
    const char *rng;        /* "cpu": torch's CPU generator; "nv": CUDA's Philox. Default "cpu" */
    const char *sampler;    /* "DPM++ 2M" by default; "model": the folder's scheduler_config.json */
    const char *schedule;   /* "Automatic", "Karras", "Uniform", ...; NULL: the sampler's own */
    double eta;             /* noise of DDIM and the ancestral samplers; -1: the sampler's own default */
    int clip_skip;          /* 1 */
    int batch;              /* 1 */
    const kiln_image *init; /* start from this picture (img2img), resized to width x height */
    double strength;        /* 0..1, 0.75: how much of the schedule to run on it */
    double image_cfg;       /* 1.5: guidance by `init`, for models that change a picture by words */
    const kiln_map *conditioning, *negative_conditioning; /* instead of prompt and negative */
    /* Pictures that steer the drawing, and pictures as prompts: see vision.h. NULL and 0: none. */
    const struct kiln_control *controls;
    const struct kiln_image_prompt *image_prompts;
    int control_count, image_prompt_count;
    int vae_tile;         /* px; 0: chosen by memory and size; -1: never tile */
    int64_t memory_limit; /* bytes; 0: what the machine has. What does not fit is refused before it starts */
    int preview_every;    /* steps between previews in progress; 0: none */
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

/* A recipe read back from a picture's "parameters" text (of Kiln, A1111 and those that write like them). */
typedef struct kiln_recipe kiln_recipe;
KILN_API KILN_CHECKED kiln_status kiln_recipe_read(const char *parameters, kiln_recipe **out, kiln_error *);
KILN_API void kiln_recipe_free(kiln_recipe *);
/* Fill the options that the recipe names; the strings live as long as the recipe. */
KILN_API void kiln_recipe_apply(const kiln_recipe *, kiln_draw_options *);
/* A field as written ("Model hash", "Sampler"); NULL when absent. */
KILN_API const char *kiln_recipe_field(const kiln_recipe *, const char *name);

/* A seed from the system's random source. */
KILN_API uint64_t kiln_seed_random(void);

/* Names for help pages: the i-th sampler or schedule, NULL past the end. */
KILN_API const char *kiln_sampler_name(int i);
KILN_API const char *kiln_schedule_name(int i);

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
    kiln_progress_function progress;
    void *user;
} kiln_convert_options;
KILN_API kiln_convert_options kiln_convert_defaults(void);
/* Single file to folder when `to` ends in '/' or has no extension, folder to single file when it ends in .safetensors;
 * also a .ckpt/.pt of any kind to .safetensors under the same names. Whole or nothing: written beside and renamed. */
KILN_API KILN_CHECKED kiln_status kiln_convert(const char *from, const char *to, const kiln_convert_options *,
                                               kiln_error *);

/* Token ids of a text by a model folder's, or a file's, tokenizer. Arrays are in `*ids` (free()); *pieces holds the
 * text of each token, NUL after each, in one block (free()). */
KILN_API KILN_CHECKED kiln_status kiln_tokenize(const char *tokenizer_path, const char *text, int32_t **ids,
                                                char **pieces, size_t *count, kiln_error *);

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
