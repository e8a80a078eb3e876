/* taesd.h - the tiny autoencoders of the TAESD family (taesd, taesdxl, taesd3, taef1, taef2, taesana): a
 * handful of 3x3 convolutions that stand in for a VAE in previews and fast decodes.
 *
 * They come without a config.json and with numbered modules, so the structure is told from the tensors
 * themselves: numbers, shapes and which of them have a bias. Two namings: plain numbers ("3.conv.0.weight",
 * one file per half) and diffusers' "encoder.layers.3..." / "decoder.layers.2..." (both halves in one file,
 * the decoder numbered from the module after the clamp). The canonical names are diffusers', the original
 * ones are the plain numbers.
 *
 * Pictures are [N,H,W,3] in 0..1 on both sides; latents are the pipeline's scaled ones. */
#ifndef KILN_MODEL_TAESD_H
#define KILN_MODEL_TAESD_H

#include "graph/graph.h"
#include "model/config.h"

enum { TAESD_MAX_MODULES = 64 };

typedef enum taesd_kind {
    TAESD_CONVOLUTION,
    TAESD_BLOCK, /* relu(conv relu conv relu conv + x), pooled: x + conv1x1(relu(norm(conv1x1(x)))) first */
    TAESD_RELU,
    TAESD_UPSAMPLE /* by 2, nearest */
} taesd_kind;

typedef struct taesd_module {
    taesd_kind kind;
    int number;        /* in the plain naming */
    int channels;      /* of the result */
    int stride;        /* 1 or 2 */
    bool bias, pooled; /* pooled: blocks only */
    int pool_channels;
    bool skip; /* a block whose x passes a 1x1 convolution */
} taesd_module;

typedef struct taesd_config {
    bool decoder;
    int in_channels, out_channels;
    int factor; /* how many times larger the picture is */
    int module_count;
    taesd_module modules[TAESD_MAX_MODULES];
} taesd_config;

/* Tell half an autoencoder from tensors. Names are looked up as diffusers' first ("decoder.layers."), then as
 * plain numbers; *plain (may be NULL) says which was found. KILN_NOT_FOUND when there is no such half. */
kiln_status taesd_config_from_tensors(const tensor_finder *finder, bool decoder, taesd_config *out,
                                      bool *plain, kiln_error *err);

/* encoder: image [N,height,width,3] -> latents [N,height/factor,width/factor,C]
 * decoder: latents [N,height,width,C] -> image [N,height*factor,width*factor,3], not clamped
 * Errors stay in the graph. */
void taesd_draw(graph *graph, const taesd_config *config, int batch, int height, int width);

#endif
