/* unet_parts.h - the halves of the UNet, for networks that are built of them (ControlNet). Private to model/. */
#ifndef KILN_MODEL_UNET_PARTS_H
#define KILN_MODEL_UNET_PARTS_H

#include "model/unet.h"

/* Image prompts while a UNet is drawn: the number of the next cross-attention. */
typedef struct unet_images {
    int count, tokens[UNET_MAX_IMAGE_PROMPTS];
    int layer;
} unet_images;

/* What every block needs besides its input. */
typedef struct unet_context {
    const unet_config *config;
    value time;          /* silu of the time embedding: [N,time_channels] */
    value context;       /* [N,S,context_channels] */
    unet_images *images; /* NULL: none */
} unet_context;

/* The stack of outputs that the way down leaves for the way up. */
typedef struct unet_skips {
    value value[UNET_MAX_LEVELS * (UNET_MAX_LAYERS + 1) + 1];
    int count;
} unet_skips;

/* Everything that is one vector per picture, through silu; declares its inputs (unet_draw). */
value unet_condition(at root, const unet_config *, const unet_shape *);
/* From the output of conv_in to the coarsest level; every skip is left in `skips`, that of conv_in first. */
value unet_draw_down(at root, const unet_context *, value x, unet_skips *skips);
value unet_draw_middle(at root, const unet_context *, value x);

/* What the tensors of the way down and the middle tell, in the original dialect: levels is 0 when there is none. */
void unet_read_way_down(const tensor_finder *, const unet_hints *, unet_config *);
/* Head counts by hints, or by the family's custom. */
void unet_custom_heads(const unet_hints *, unet_config *);

#endif
