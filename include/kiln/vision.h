/* vision.h - the public interface to what pictures mean: CLIP's vision encoder and likeness, pictures as prompts
 * (IP-Adapter), pictures that steer a drawing (ControlNet), and edges found in a picture.
 *
 * Errors, ownership and threads: as in kiln.h. A kiln_clip, a kiln_controlnet and a kiln_image_adapter never change once
 * open: any number of threads may use one. */
#ifndef KILN_VISION_H
#define KILN_VISION_H

#include "kiln/kiln.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ CLIP */

/* A CLIP model (Radford et al. 2021): pictures, and texts where it has that half, become vectors of one space. */
typedef struct kiln_clip kiln_clip;

/* Open a transformers folder, a diffusers folder with image_encoder/, or a single file in transformers' or OpenCLIP's
 * names. Of the options tokenizer, data_directory, hints, precision, threads and reference count; NULL: defaults.
 * KILN_NOT_FOUND when there is no vision encoder in it. */
KILN_API KILN_CHECKED kiln_status kiln_clip_open(const char *path, const kiln_model_options *,
                                                 kiln_clip **out, kiln_error *);
KILN_API void kiln_clip_close(kiln_clip *);
/* Whether this is a CLIP model and nothing more: not a diffusion model that has one in it. */
KILN_API bool kiln_clip_is_whole(const char *path);
/* Whether texts can be encoded: the file holds that half, and its vectors are of the pictures' space. */
KILN_API bool kiln_clip_has_text(const kiln_clip *);
/* What multiplies a cosine before a softmax over texts: e to the file's logit_scale, 100 where it holds none. */
KILN_API double kiln_clip_scale(const kiln_clip *);

/* A picture as a map of kind "image": "image_embeds" [1,P] where the encoder has a projection, "pooled" [1,C],
 * "last_hidden_state" [1,T,C] and "penultimate" [1,T,C] (what IP-Adapter plus takes). The picture is made ready exactly
 * as transformers' CLIPImageProcessor does: shorter side by PIL's bicubic filter, centre crop, mean and deviation; an
 * alpha channel is laid over white first. */
KILN_API KILN_CHECKED kiln_status kiln_clip_encode_image(const kiln_clip *, const kiln_image *,
                                                         kiln_map **out, kiln_error *);
/* A text as a map of kind "text": "text_embeds" [1,P]. What does not fit into 77 tokens is left out. */
KILN_API KILN_CHECKED kiln_status kiln_clip_encode_text(const kiln_clip *, const char *text, kiln_map **out,
                                                        kiln_error *);
/* The cosine of two maps' vectors ("image_embeds", "text_embeds" or, without a projection, "pooled"), -1..1. */
KILN_API KILN_CHECKED kiln_status kiln_clip_cosine(const kiln_map *, const kiln_map *, double *out,
                                                   kiln_error *);

/* ------------------------------------------------------------------------------------ ControlNet */

/* A network that steers drawing by a picture: edges, depth, a pose (Zhang et al. 2023). */
typedef struct kiln_controlnet kiln_controlnet;

/* Open a diffusers folder, or a file in diffusers' names or the authors' ("control_model."). `hints`: a JSON file with
 * what an odd file does not tell; NULL: none. KILN_UNSUPPORTED names what the file is instead (a control LoRA, a
 * T2I-Adapter, ...). */
KILN_API KILN_CHECKED kiln_status kiln_controlnet_open(const char *path, const char *hints,
                                                       kiln_controlnet **out, kiln_error *);
KILN_API void kiln_controlnet_close(kiln_controlnet *);

/* One control of a drawing (kiln_draw_options.controls). Everything is borrowed. */
typedef struct kiln_control {
    const kiln_controlnet *net;
    /* As the network was trained on. It is over the whole picture, whatever its size: resized to the drawing by Lanczos, and
     * where parts are drawn (inpainting, the canvas of an outpainting, tiles of a redrawing) each gets its own part. */
    const kiln_image *picture;
    double strength;    /* -10..10: what it says is multiplied by this; 1 (A1111's control weight) */
    double start, end;  /* 0..1: the part of the steps in which it speaks; 0 and 1 */
    bool guess;         /* guess mode: it speaks beside the prompt alone, less in the fine levels */
    const char *module; /* how the picture was made, for the recipe ("canny"); NULL: not told */
} kiln_control;

/* ------------------------------------------------------------------------------------ IP-Adapter */

/* Pictures as prompts: an IP-Adapter file and the vision encoder that it was trained with (Ye et al. 2023). */
typedef struct kiln_image_adapter kiln_image_adapter;

/* Open a .safetensors or .bin file (plain, plus or full face; SD 1, SD 2 or SDXL). The encoder is borrowed and must outlive
 * it; KILN_MISMATCH when it is of another width than the adapter wants. */
KILN_API KILN_CHECKED kiln_status kiln_image_adapter_open(const char *path, const kiln_clip *encoder,
                                                          kiln_image_adapter **out, kiln_error *);
KILN_API void kiln_image_adapter_close(kiln_image_adapter *);

/* One picture of a drawing's prompt (kiln_draw_options.image_prompts). Everything is borrowed. */
typedef struct kiln_image_prompt {
    const kiln_image_adapter *adapter;
    const kiln_image *picture;
    double strength;   /* -10..10: its scale beside the words; 0.6 */
    double start, end; /* 0..1: the part of the steps in which it is seen; 0 and 1 */
} kiln_image_prompt;

/* ------------------------------------------------------------------------------------ image variations */

/* A picture as the condition of a model that takes CLIP's embedding of one: Stable unCLIP 2.1 (kiln_draw_options.variation).
 * Everything is borrowed. */
typedef struct kiln_variation {
    const kiln_clip *encoder; /* the model's image_encoder */
    const kiln_image *picture;
    int noise_level; /* 0..999: noise on the embedding; more leaves the picture further. 0 */
} kiln_variation;

enum { KILN_MAX_CONTROLS = 8, KILN_MAX_IMAGE_PROMPTS = 4 };

/* ------------------------------------------------------------------------------------ edges */

typedef struct kiln_canny_options {
    double low, high; /* thresholds of the gradient |dx|+|dy|, 0..2040; 100 and 200 */
    double blur;      /* deviation of a Gauss filter before, in px, 0..64; 0: none, as OpenCV's Canny */
} kiln_canny_options;

KILN_API kiln_canny_options kiln_canny_defaults(void);
/* Edges (Canny 1986), pixel for pixel those of OpenCV's Canny with aperture 3 and the L1 norm: white on black, RGB. */
KILN_API KILN_CHECKED kiln_status kiln_canny(const kiln_image *, const kiln_canny_options *, kiln_image **out,
                                             kiln_error *);

#ifdef __cplusplus
}
#endif

#endif
