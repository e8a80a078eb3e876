/* variation.h - a picture as the condition of a model that takes CLIP's embedding of one (unCLIP; Ramesh et al. 2022,
 * arXiv:2204.06125, as Stable unCLIP 2.1 does it): the embedding, made noisier by a level, beside the embedded level.
 * Internal. */
#ifndef KILN_PIPELINE_VARIATION_H
#define KILN_PIPELINE_VARIATION_H

#include "diffusion/noise.h"
#include "pipeline/clip.h"
#include "pipeline/session.h"

typedef struct variation {
    int channels;     /* of the embedding */
    float *embedding; /* normalised: (e - mean) / deviation */
    float *mean, *deviation;
    float *labels; /* [2*channels]: what the UNet is told of this picture */
    float alpha_bar;
    int level;
} variation;

/* Whether the model takes it and the encoder gives it; a sentence if not. */
kiln_status variation_check(const kiln_model *, const kiln_variation *, kiln_error *);
/* Encode the picture, with what the model says of embeddings (image_normalizer/, or noise_augmentor.* of a file). */
kiln_status variation_new(kiln_session *, const kiln_variation *, variation **out, kiln_error *);
void variation_free(variation *);
/* Draw the noise and fill `labels`: once for each picture of a batch, before any other noise. */
void variation_noise(variation *, noise_source *, float *scratch);

#endif
