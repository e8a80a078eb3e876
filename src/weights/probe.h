/* probe.h - what a model on disk is made of: for each part its configuration and where its tensors are.
 *
 * Two layouts are known:
 *     folder        diffusers: model_index.json, and a folder with config.json and weights for each part
 *     single file   a checkpoint in the original dialect; configurations are told from names and shapes, and from a
 *                   hints file where shapes tell nothing (head counts)
 * A folder or a file may hold some parts only: each part is told for itself, and probe_require says by name what is
 * missing. Only headers and configurations are read. */
#ifndef KILN_WEIGHTS_PROBE_H
#define KILN_WEIGHTS_PROBE_H

#include "model/clip_text.h"
#include "model/unet.h"
#include "model/upscale.h"
#include "model/vae.h"
#include "weights/binding.h"

typedef enum model_family {
    FAMILY_SD1,
    FAMILY_SD2,
    FAMILY_SDXL,
    FAMILY_SDXL_REFINER,
    FAMILY_X4_UPSCALER,
    FAMILY_OTHER
} model_family;

typedef enum part_kind { PART_UNET, PART_VAE, PART_TEXT, PART_TEXT_2, PART_UPSCALER, PART_COUNT } part_kind;

/* "unet", "vae", "text_encoder", "text_encoder_2": the names of diffusers' folders; and "upscaler". */
const char *part_name(part_kind);

typedef struct model_part {
    bool present;
    weights_place place; /* when present */
    const char *config;  /* text of its config.json, NULL when there was none */
    const char *why_not; /* when not: "there is no folder 'vae'" */
} model_part;

typedef struct probe_options {
    const char
        *hints; /* path of a JSON file: the fields below, flat or under the model's file stem; NULL: none */
    const char *vae;     /* take the VAE from this file or folder, in either dialect; NULL: the model's own */
    const char *variant; /* "fp16": prefer this variant of a folder's weights; NULL: the plain one first */
} probe_options;

/* Fields of a hints file: heads, head_channels, groups, time_ids_embed_dim, text_heads (or text1_heads), text2_heads,
 * text_activation ("gelu", "quick_gelu"), vision_heads, vision_activation, vae_scaling, vae_groups, prediction ("epsilon", "v_prediction", "sample").
 * Others are ignored. */

typedef struct model_parts {
    const char *path;
    bool single_file;
    model_family family;
    const char *family_text; /* "Stable Diffusion 1", "Stable Diffusion XL", "... inpainting", ... */
    const char *prediction;  /* "epsilon", "v_prediction", "sample" */
    bool prediction_assumed; /* the files do not say: it is the family's custom */
    model_part part[PART_COUNT];
    unet_config unet; /* each valid when the part is present */
    vae_config vae;
    clip_text_config text,
        text_2; /* layers in use: the last one of an SD 2.x file, which is never run, is left out */
    upscale_config upscaler; /* in training only: a network of its own, in a folder like the others */
    const char *tokenizer, *tokenizer_2; /* folders; NULL where the model has none */
    const char *scheduler; /* text of scheduler_config.json; the family's custom where there is none */
    bool scheduler_assumed;
    bool zero_empty_prompt; /* SDXL: an empty negative prompt is a context of zeros */
    bool time_ids_score;    /* SDXL's refiner: five time ids with an aesthetic score */
    double guidance;        /* the guidance scale that its maker recommends; 0: none said */
    struct probe_memory *memory;
} model_parts;

/* Open a folder or a file. *out is freed with probe_close, which closes the files: free weights bound to them first.
 * KILN_NOT_FOUND when there is nothing of the kind at all; missing parts are no failure. A VAE beside a checkpoint
 * ("model.vae.safetensors", .vae.pt, .vae.ckpt) is taken instead of the checkpoint's own. */
kiln_status probe_open(const char *path, const probe_options *options, model_parts **out,
                       kiln_error *err) KILN_CHECKED;
void probe_close(model_parts *);

/* KILN_OK when all parts of the set (bits 1 << PART_UNET, ...) are there, else KILN_NOT_FOUND with a sentence that names
 * each missing part and why. */
kiln_status probe_require(const model_parts *, unsigned parts, kiln_error *err) KILN_CHECKED;
/* The parts that drawing a picture from text takes: all four for SDXL, three for the others. */
unsigned probe_drawing_parts(const model_parts *);

/* Draw the graph of a part as small as it goes, for what needs its parameters only (binding, conversion). The VAE has
 * two graphs: decoder, and encoder with `encoder` set. */
graph *probe_draw(const model_parts *, part_kind, bool encoder, kiln_error *err);

#endif
