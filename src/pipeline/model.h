/* model.h - an open model: its parts, and for each network how to draw it and where its weights are. Internal. */
#ifndef KILN_PIPELINE_MODEL_H
#define KILN_PIPELINE_MODEL_H

#include "diffusion/schedule.h"
#include "model/taesd.h"
#include "model/vae_approx.h"
#include "pipeline/model_hash.h"
#include "plan/plan.h"
#include "text/tokenizer.h"
#include "weights/probe.h"

#include <stdatomic.h>

typedef enum network_kind {
    NETWORK_TEXT_1,
    NETWORK_TEXT_2,
    NETWORK_UNET,
    NETWORK_VAE_ENCODER,
    NETWORK_VAE_DECODER,
    NETWORK_UPSCALER, /* in training */
    NETWORK_PREVIEW,
    NETWORK_COUNT
} network_kind;

/* What a plan is compiled for. Sizes are those of the network's own input: latents for the UNet and the decoders,
 * pixels for the encoder. Unused fields are 0. */
typedef struct network_shape {
    int batch, height, width, tokens;
    unsigned outputs;                                        /* text: clip_text_output */
    int skip;                                                /* text */
    bool word_vectors;                                       /* text: see clip_text_shape */
    bool control;                                            /* UNet: ControlNets steer it */
    int image_prompts, image_tokens[UNET_MAX_IMAGE_PROMPTS]; /* UNet: see unet_shape */
} network_shape;

typedef struct network {
    weights *bound;      /* NULL: the model has no such part */
    packed_store *store; /* the packed weights in use */
} network;

struct kiln_model {
    model_parts *parts;
    char *path, *name;    /* name: stem of the file or folder */
    char *data_directory; /* as the options have it, or NULL */
    kiln_precision precision;
    plan_options plan; /* taps off */
    network networks[NETWORK_COUNT];
    struct model_words *words; /* words with vectors of their own; NULL: none. See model_words.h */
    tokenizer *tokenizers[2];  /* NULL: not found; an error only when a text is to be encoded */
    int32_t pad_id[2];         /* -1: as the tokenizer says */
    taesd_config preview_taesd;
    vae_approx_config preview_approx;
    bool preview_is_taesd;
    tensor_file *preview_file;
    schedule *schedule; /* betas and prediction type; the folder's config, or the family's */
    atomic_int sessions;
    model_hash hash;
};

bool model_has(const kiln_model *, network_kind);
/* A denoiser of pixels: its latents are the picture itself, there is no VAE, and perhaps no text encoder. */
bool model_is_pixel(const kiln_model *);
/* A sentence when a needed part is missing. */
kiln_status model_need(const kiln_model *, network_kind, kiln_error *);
/* Draw the graph of a network at a shape, with what is taught to it beside its weights (NULL: nothing). The caller frees
 * it. */
kiln_status model_draw_network(const kiln_model *, network_kind, const network_shape *, const graph_hooks *,
                               graph **out, kiln_error *);

/* What the options say of how networks run; and where the tokens of a text come from (`own`: the folder beside the
 * model, or NULL; *out NULL: there is no tokenizer anywhere). */
kiln_status model_plan_options(const kiln_model_options *, plan_options *out, kiln_error *);
kiln_status model_open_tokenizer(const kiln_model_options *, const char *own, tokenizer **out, kiln_error *);

#endif
