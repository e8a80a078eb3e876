/* drawing.h - the denoising of one picture's latents: what guidance, sampler and UNet do together. Internal.
 *
 * Latents are flat, [C,h,w], f32: the order in which torch draws noise. Every picture is drawn alone, so that picture k
 * of a batch has the bytes of seed + k drawn alone; only the prompt and its negative share a pass of the UNet. */
#ifndef KILN_PIPELINE_DRAWING_H
#define KILN_PIPELINE_DRAWING_H

#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "pipeline/prompting.h"
#include "pipeline/repaint.h"
#include "pipeline/session.h"
#include "pipeline/steering.h"

enum { TIME_IDS = 6 };

typedef struct drawing {
    kiln_session *session;
    int height, width;           /* of the latents */
    const sampler_plan *sampler; /* timesteps and noise levels */
    const kiln_map *conditioning;
    const kiln_map *negative; /* NULL: no guidance */
    /* Where the words change over the steps, or have several parts: `conditioning` and `negative` are then what they
     * begin with. NULL: those are all. */
    const prompting *words, *negative_words;
    float cfg, cfg_rescale;
    guidance_interval interval;    /* when guidance is on */
    float mimic, mimic_percentile; /* dynamic thresholding, see guide_threshold(); mimic 0: none */
    const kiln_map *empty; /* conditioning of no words, for a perpendicular negative prompt; else NULL */
    float perpendicular;   /* its strength */
    /* SDXL: original height and width, crop top and left, target height and width */
    float time_ids[TIME_IDS];
    const float *extra; /* [E,h,w]: channels that an inpainting UNet takes besides the latents; NULL: none */
    int extra_channels;
    /* The extra channels are a picture to be changed by the words (InstructPix2Pix): guidance by the picture as well. */
    bool edits;
    float image_cfg;
    int noise_level;        /* what a UNet with a table of classes is told (x4 upscaler) */
    const repaint *repaint; /* NULL: all is drawn */
    steering *steering;     /* what bends the UNet besides words; NULL: nothing */
    network_shape steered;  /* its part of the UNet's shape */
} drawing;

/* Latent channels, and elements of one picture's latents. */
int drawing_channels(const kiln_model *);
size_t drawing_elements(const drawing *);

/* x: in, what sampler_start gave; out, the finished latents. `calls` gives noise and on_step; predict is set here. */
kiln_status drawing_run(const drawing *, const sampler_calls *calls, float *x, kiln_error *);

#endif
