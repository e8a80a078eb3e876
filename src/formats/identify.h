/* identify.h - what a weights file is, told from the names and shapes of its tensors and its metadata alone.
 *
 * Nothing is read but the header, so this takes milliseconds for a file of any size. Binding the tensors to a
 * model verifies every name and shape afterwards: a wrong guess here becomes an exact list, never a bad picture.
 *
 * Sources of the distinguishing names: diffusers, loaders/single_file_utils.py; ComfyUI, model_detection.py;
 * spandrel, architectures/ (upscalers). */
#ifndef KILN_FORMATS_IDENTIFY_H
#define KILN_FORMATS_IDENTIFY_H

#include "formats/tensor_file.h"

/* X(enumerator, words for people) */
#define WEIGHTS_KIND_MAP(X)                                                                                  \
    X(UNKNOWN, "unknown")                                                                                    \
    X(CHECKPOINT, "checkpoint")                                                                              \
    X(UNET, "UNet")                                                                                          \
    X(VAE, "VAE")                                                                                            \
    X(TEXT_ENCODER, "text encoder")                                                                          \
    X(LORA, "LoRA")                                                                                          \
    X(TEXTUAL_INVERSION, "textual inversion")                                                                \
    X(HYPERNETWORK, "hypernetwork")                                                                          \
    X(VISION_ENCODER, "vision encoder")                                                                      \
    X(IP_ADAPTER, "IP-Adapter")                                                                              \
    X(CONTROLNET, "ControlNet")                                                                              \
    X(TAESD, "TAESD")                                                                                        \
    X(VAE_APPROX, "VAE-approx")                                                                              \
    X(UPSCALER, "upscaler")                                                                                  \
    X(OTHER, "other")

typedef enum weights_kind {
#define WEIGHTS_KIND_ENUM(name, text) WEIGHTS_##name,
    WEIGHTS_KIND_MAP(WEIGHTS_KIND_ENUM)
#undef WEIGHTS_KIND_ENUM
} weights_kind;

typedef enum weights_family {
    WEIGHTS_FAMILY_NONE,
    WEIGHTS_FAMILY_SD1,
    WEIGHTS_FAMILY_SD2,
    WEIGHTS_FAMILY_SDXL,
    WEIGHTS_FAMILY_SDXL_REFINER,
    WEIGHTS_FAMILY_UPSCALER_X4,
    WEIGHTS_FAMILY_OTHER /* recognised by name, not supported */
} weights_family;

typedef enum weights_prediction {
    WEIGHTS_PREDICTION_UNKNOWN,
    WEIGHTS_PREDICTION_EPSILON,
    WEIGHTS_PREDICTION_V
} weights_prediction;

typedef struct identity {
    weights_kind kind;
    weights_family family;
    weights_prediction prediction;
    bool supported;    /* false for what is only recognised by name */
    bool inpainting;   /* a UNet with 9 input channels */
    bool edits_images; /* a UNet with 8 input channels (InstructPix2Pix) */
    bool zero_snr;     /* trained with zero terminal SNR */
    bool has_unet, has_vae_encoder, has_vae_decoder, has_text_encoder, has_text_encoder_2;
    bool has_ema;         /* model_ema.* beside the weights */
    bool diffusers_names; /* the names of diffusers, not of the original code */
    int channels;         /* of the UNet's input, the latent (VAE, TAESD); 0 when it has none */
    int scale;            /* of an upscaler */
    int rank;             /* of a LoRA: the first one met */
    int vectors, width;   /* of a textual inversion; of its first tensor */
    char family_text[64]; /* "Stable Diffusion 1.x inpainting", "FLUX.1", ... */
    char dialect[64];     /* "kohya", "PEFT", "A1111", "original", "diffusers", ... */
    char prediction_text[96];
    char parts[128];   /* "UNet, VAE, text encoder" */
    char missing[128]; /* "VAE, text encoder", or "" */
    char detail[160];  /* "rank 8, attention only", "4 channels, decoder", ... */
} identity;

/* Words of a kind ("textual inversion"). Never NULL. */
const char *weights_kind_text(weights_kind kind);

/* Fill `out`; a file that is nothing known gets WEIGHTS_UNKNOWN. */
void identify(const tensor_file *file, identity *out);

#endif
