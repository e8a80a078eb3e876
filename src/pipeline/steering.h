/* steering.h - what bends a drawing's UNet besides words: ControlNets, image prompts and variations. Internal.
 *
 * The UNet takes what they say as inputs (unet_draw): the ControlNets' residuals, added up, before every pass; keys and
 * values of image prompts, which are computed once. */
#ifndef KILN_PIPELINE_STEERING_H
#define KILN_PIPELINE_STEERING_H

#include "pipeline/control.h"
#include "pipeline/session.h"
#include "pipeline/variation.h"

struct infotext;

typedef struct steering steering;

/* Whether the options' controls and image prompts fit the model; a sentence if not. */
kiln_status steering_check(const kiln_model *, const kiln_draw_options *, kiln_error *);
/* Encode the pictures for a drawing of that many latents. *out is NULL where the options name none. */
kiln_status steering_new(kiln_session *, const kiln_draw_options *, int latent_height, int latent_width,
                         steering **out, kiln_error *);
void steering_free(steering *);

/* What the UNet is to be drawn with. */
void steering_shape(const kiln_draw_options *, network_shape *);
/* Bytes of the ControlNets beside the UNet while it runs at that shape, and of what is encoded before. */
kiln_status steering_measure(kiln_session *, const kiln_draw_options *, const network_shape *unet,
                             int64_t *weights_bytes, int64_t *activations, kiln_error *);

/* Draw what noise the picture of a variation takes: for each picture of a batch, before any other. */
kiln_status steering_noise(steering *, noise_source *, kiln_error *);
/* Before a pass of the UNet, whose own inputs are set: fill the rest. told[b]: whether batch item b is drawn with the
 * prompt (else without). step counts from 0, of `steps`. */
kiln_status steering_pass(steering *, run *unet, const network_shape *, const bool *told, int step, int steps,
                          kiln_error *);

/* The recipe's fields. */
void steering_add_fields(const kiln_draw_options *, struct infotext *);

#endif
