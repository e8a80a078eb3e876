/* unet.h - the denoiser of latent diffusion: UNet2DConditionModel (Rombach et al. 2022; Podell et al. 2023).
 *
 * One declaration, driven by its configuration, is every member of the family: SD 1.x and its inpainting (9
 * channels) and instruct-pix2pix (8 channels) forms, SD 2.x, SDXL, distilled forms with fewer blocks, and the
 * x4 upscaler.
 *
 * Parameters carry diffusers' names (canonical) and those of the CompVis / Stability code (original), the
 * latter without the prefix UNET_ORIGINAL_PREFIX. */
#ifndef KILN_MODEL_UNET_H
#define KILN_MODEL_UNET_H

#include "graph/graph.h"
#include "model/config.h"

#define UNET_ORIGINAL_PREFIX "model.diffusion_model."

enum { UNET_MAX_LEVELS = 8, UNET_MAX_LAYERS = 8, UNET_MAX_DEPTH = 64, UNET_MAX_IMAGE_PROMPTS = 4 };

typedef enum unet_middle {
    UNET_MIDDLE_ATTENTION, /* resnet, transformer, resnet */
    UNET_MIDDLE_RESNET,    /* one resnet */
    UNET_MIDDLE_NONE
} unet_middle;

/* What the class labels of a conditional UNet are. */
typedef enum unet_class {
    UNET_CLASS_NONE,
    UNET_CLASS_TABLE,      /* numbers: rows of a table (the x4 upscaler's noise level) */
    UNET_CLASS_TIMESTEP,   /* numbers: embedded as time is */
    UNET_CLASS_PROJECTION, /* vectors: projected as time is */
    UNET_CLASS_IDENTITY    /* vectors of the time embedding's width: added as they are */
} unet_class;

/* Levels are numbered from the finest (0) to the coarsest, on the way down and on the way up alike. */
typedef struct unet_config {
    int in_channels, out_channels;
    int sample_size; /* the width of latents it was trained at */
    int levels;
    int channels[UNET_MAX_LEVELS];
    int layers[UNET_MAX_LEVELS]; /* resnets of a level on the way down; one more on the way up */
    /* Transformer blocks after each resnet; 0: none. */
    int depth[UNET_MAX_LEVELS][UNET_MAX_LAYERS], up_depth[UNET_MAX_LEVELS][UNET_MAX_LAYERS + 1];
    int heads[UNET_MAX_LEVELS];
    bool only_cross_attention[UNET_MAX_LEVELS]; /* attn1 looks at the context too */
    unet_middle middle;
    int middle_depth;
    int context_channels;
    bool linear_projection; /* proj_in, proj_out: [C,C] instead of [C,C,1,1] */
    int groups;
    float norm_epsilon;
    int conv_in_kernel, conv_out_kernel;
    int downsample_padding; /* 1: all round; 0: right and bottom only */
    int time_channels;      /* width of the time embedding */
    bool cosine_first;
    float frequency_shift;
    int time_condition_channels; /* LCM's guidance embedding; 0: none */
    unet_class class_kind;
    int class_count, class_channels; /* rows of the table; width of the vectors */
    bool text_time;                  /* SDXL: pooled text and time ids */
    int added_time_channels;         /* width of each embedded id */
    int added_channels;              /* width of pooled text and embedded ids together */
    bool center_input;               /* x -> 2x - 1 first */
} unet_config;

typedef struct unet_shape {
    int batch, height, width; /* of the latents */
    int context_tokens;
    int time_ids;                                            /* SDXL: 6, its refiner: 5; 0 means 6 */
    bool control;                                            /* what ControlNets say comes in */
    int image_prompts, image_tokens[UNET_MAX_IMAGE_PROMPTS]; /* how many, and tokens of each */
} unet_shape;

extern const unet_config unet_sd15, unet_sd15_inpaint, unet_sd21, unet_sdxl, unet_x4_upscaler;

/* Read diffusers' unet/config.json. `name` stands in messages. KILN_BAD_FORMAT for what is not such a file,
 * KILN_UNSUPPORTED for a value that this program cannot honour; *out is zero then. */
kiln_status unet_config_parse(const char *json, size_t length, const char *name, unet_config *out,
                              kiln_error *err);

/* What no single file records; 0 means the family's custom. */
typedef struct unet_hints {
    int heads;               /* at every level; custom for SD 1.x: 8 */
    int head_channels;       /* channels per head instead; custom for SD 2.x and SDXL: 64 */
    int groups;              /* 32 */
    int added_time_channels; /* SDXL: 256 */
} unet_hints;

/* Tell the configuration from the tensors of a checkpoint in the original dialect (names without the prefix).
 * KILN_NOT_FOUND when there is no such UNet. A wrong guess cannot pass: binding compares every name and
 * shape. */
kiln_status unet_config_from_tensors(const tensor_finder *finder, const unet_hints *hints, unet_config *out,
                                     kiln_error *err);

/* Whether the numbers fit together (channels and groups, channels and heads); a sentence naming the field if
 * not. */
kiln_status unet_config_check(const unet_config *config, const char *name, kiln_error *err);

/* Width of the pooled text that SDXL takes besides `time_ids` (0: 6) ids; 0 without text_time. */
int unet_pooled_channels(const unet_config *config, int time_ids);

/* Draw the network.
 *   inputs   sample [N,h,w,Cin]   timestep [N]   encoder_hidden_states [N,S,context_channels]
 *            timestep_cond [N,time_condition_channels]   where it is configured
 *            added_text_embeds [N,pooled], added_time_ids [N,ids]   with text_time
 *            class_labels: I32 [N,1] for a table, F32 [N] for timestep, F32 [N,width] for the others
 *            control_<i>, as the skip that the way down leaves i-th, and control_mid   with control
 *            image_key_<p>_<l>, image_value_<p>_<l> [N,tokens,C] of image prompt p and cross-attention l: as IP-Adapter
 *            numbers them, those of the way down, then up, then the middle's
 *   output   out [N,h,w,Cout]
 * Taps carry diffusers' module names. Errors stay in the graph (graph_finish). */
void unet_draw(graph *graph, const unet_config *config, const unet_shape *shape);

#endif
