/* vae.h - the autoencoder between pictures and latents: AutoencoderKL (Rombach et al. 2022).
 *
 * Pictures are [N,H,W,3] in -1..1. Latents are raw: what a pipeline calls latents is (raw - shift) * scale,
 * or, where the file has statistics of its latents, (raw - mean) * scale / deviation. Reducing moments to a
 * sample is the pipeline's: mean and log-variance are the two halves of the channels, the latter clamped to
 * -30..20.
 *
 * Parameters carry diffusers' names (canonical) and those of the CompVis code (original), the latter without
 * the prefix VAE_ORIGINAL_PREFIX. Files that diffusers wrote before 2023 name the attention otherwise:
 * vae_old_name. */
#ifndef KILN_MODEL_VAE_H
#define KILN_MODEL_VAE_H

#include "graph/graph.h"
#include "model/config.h"

#define VAE_ORIGINAL_PREFIX "first_stage_model."

enum { VAE_MAX_LEVELS = 8, VAE_MAX_LATENT_CHANNELS = 64 };

typedef struct vae_config {
    int in_channels, out_channels, latent_channels;
    int sample_size; /* the width of pictures it was trained at */
    int levels;      /* each but the last halves: pictures are 2^(levels-1) times larger than latents */
    int channels[VAE_MAX_LEVELS];
    int layers; /* resnets of a level on the way down; one more on the way up */
    int groups;
    bool quant_convolution, post_quant_convolution;
    bool middle_attention;
    bool force_upcast; /* overflows in f16 (SDXL's); of no consequence in bf16 and f32 */
    float scaling_factor, shift_factor;
    int statistics; /* number of entries below; 0: none */
    float latents_mean[VAE_MAX_LATENT_CHANNELS], latents_deviation[VAE_MAX_LATENT_CHANNELS];
} vae_config;

/* SD 1.x and 2.x; SDXL; the x4 upscaler (three levels). */
extern const vae_config vae_sd, vae_sdxl, vae_x4_upscaler;

/* Read vae/config.json. KILN_BAD_FORMAT, or KILN_UNSUPPORTED naming the field; zero *out then. */
kiln_status vae_config_parse(const char *json, size_t length, const char *name, vae_config *out,
                             kiln_error *err);

/* Tell the configuration from a checkpoint's tensors in the original dialect. The scaling factor is in no
 * single file: 0 takes SD's 0.18215. `groups` 0: 32. KILN_NOT_FOUND when there is no decoder. */
kiln_status vae_config_from_tensors(const tensor_finder *finder, float scaling_factor, int groups,
                                    vae_config *out, kiln_error *err);

/* The name under which early diffusers stored a parameter of the attention (query, key, value, proj_attn
 * instead of to_q, to_k, to_v, to_out.0) into `old`; false when the name has not changed. Binding tries it
 * after the canonical name. */
bool vae_old_name(const char *canonical, char old[PATH_TEXT]);

/* How many times larger a picture is than its latents. */
int vae_factor(const vae_config *config);

/* image [N,height,width,in_channels] -> moments [N,height/f,width/f,2*latent_channels]. Sizes must be
 * multiples of vae_factor. Errors stay in the graph, in both. */
void vae_draw_encoder(graph *graph, const vae_config *config, int batch, int height, int width);
/* latents [N,height,width,latent_channels] -> image [N,height*f,width*f,out_channels], not clamped. */
void vae_draw_decoder(graph *graph, const vae_config *config, int batch, int height, int width);

#endif
