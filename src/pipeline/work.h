/* work.h - one drawing under way, from checked options to latents to pixels: what drawing from words, inpainting,
 * outpainting, the second pass of hires fix and diffusion upscaling share. Internal.
 *
 *     work_open      options -> a request that is known to fit in memory
 *     (the caller sets `source`, of the request's size)
 *     work_prepare   words to maps
 *     work_latents   picture `index`: noise, start, sampling
 *     work_decode    latents to pixels
 *     work_close
 *
 * Order of random numbers, as diffusers draws them from one generator: the start picture's VAE sample, the noise of the
 * start, the VAE sample of the masked picture, then the sampler's own steps. */
#ifndef KILN_PIPELINE_WORK_H
#define KILN_PIPELINE_WORK_H

#include "pipeline/prompting_store.h"
#include "pipeline/request.h"

/* What is under the mask when the drawing begins. */
typedef enum masked_content { CONTENT_PICTURE, CONTENT_NOISE, CONTENT_NOTHING } masked_content;

/* What a drawing starts from besides noise. Everything is borrowed. */
typedef struct work_source {
    const float *picture; /* [H,W,3] in -1..1, of the request's size; NULL: from noise */
    const float *latents; /* [C,h,w] in its place */
    /* 1 is drawn, 0 is kept; NULL: everything is drawn */
    const float *mask;        /* [H,W], for UNets that are told what is masked */
    const float *latent_mask; /* [h,w] */
    masked_content content;
    float mask_weight; /* how much of the masked picture is hidden from such a UNet */
    const soft_inpainting *soft;
    const float *low; /* x4 upscaler: the picture to enlarge, [3,h,w] in -1..1; */
    int noise_level;  /* how noisy the UNet is told that it is, */
    float low_alpha;  /* and the alpha_bar of the noise that it gets */
} work_source;

/* What pictures of the same texts look at. */
typedef struct work_words {
    const kiln_map *conditioning, *negative, *empty; /* as in drawing.h */
    const prompting *words, *negative_words;
    kiln_map *zeros; /* where the family has these for no words; owned */
} work_words;

typedef struct work {
    kiln_session *session;
    request request;
    work_source source;
    drawing drawing;
    repaint repaint;
    steering *steering;     /* owned */
    work_words *words;      /* of each of the request's texts; owned */
    prompting_store *store; /* what is encoded: `own_store`, or that of a drawing with the same words */
    prompting_store own_store;
    float *extra;                  /* channels that the UNet takes besides the latents, or NULL; owned */
    float *image, *noise_at_start; /* [C,h,w], with a mask; owned */
    noise_source noise;
    int index;
    size_t n; /* elements of the latents */
} work;

/* Close also after a failure. `options` is borrowed until then. */
kiln_status work_open(work *, kiln_session *, const kiln_draw_options *options, request_kind, kiln_error *);
void work_close(work *);
kiln_status work_prepare(work *, kiln_error *);
/* x: [C,h,w]. */
kiln_status work_latents(work *, int index, float *x, kiln_error *);
/* pixels: [H,W,3] in -1..1, not limited to that. */
kiln_status work_decode(work *, const float *x, float *pixels, kiln_error *);
/* All of the above for one picture. *pixels: free(). */
kiln_status work_pixels(kiln_session *, const kiln_draw_options *, const work_source *, float **pixels,
                        kiln_error *);

/* A picture of `pixels` with the recipe as its text; waits for the model's hash. */
kiln_status work_sign(work *, kiln_image *, kiln_error *);
/* Until the infotext can name the model's hash. */
kiln_status work_wait_for_hash(const work *, kiln_error *);
/* Tell the caller's progress function; KILN_CANCELLED when it says so. */
kiln_status work_tell(const work *, const char *stage, int64_t done, int64_t total, const kiln_image *preview,
                      kiln_error *);

/* Paints o->batch pictures; called with `options` as the public call got them. */
typedef kiln_status (*batch_painter)(kiln_session *, const void *options, kiln_image **out, kiln_error *);
/* A public call that gives a batch of pictures: all of them or, with an error, none. The model's hash is computed meanwhile. */
kiln_status work_paint_batch(kiln_session *, const kiln_draw_options *, batch_painter, const void *options,
                             kiln_image **out, kiln_error *);

#endif
