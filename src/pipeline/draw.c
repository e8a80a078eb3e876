/* draw.c - from a request to pictures: words to a map, noise to latents, latents to pixels.
 *
 * Order of random numbers, as diffusers draws them from one generator: img2img's VAE sample first, then the noise of the
 * start, then the sampler's own steps. */
#include "pipeline/request.h"

#include "image/image_tensor.h"
#include "image/resize.h"
#include "pipeline/autoencode.h"
#include "pipeline/conditioning.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"
#include "pipeline/preview.h"

#include <stdlib.h>
#include <string.h>

/* Everything one call of kiln_draw holds. */
typedef struct work {
    kiln_session *session;
    request request;
    drawing drawing;
    kiln_map *positive, *negative; /* owned */
    float *init;                   /* the start picture, [H,W,3], or NULL */
    float *extra;                  /* channels of an inpainting UNet, or NULL */
    noise_source noise;
    int index;
    size_t n;
} work;

static kiln_status tell(const work *w, const char *stage, int64_t done, int64_t total,
                        const kiln_image *preview, kiln_error *err)
{
    const kiln_draw_options *o = w->request.options;
    kiln_progress p = {.stage = stage,
                       .done = done,
                       .total = total,
                       .image = w->index,
                       .images = o->batch,
                       .preview = preview};
    if (o->progress && !o->progress(o->user, &p))
        return fail(err, KILN_CANCELLED, "cancelled");
    if (atomic_load(&w->session->cancel))
        return fail(err, KILN_CANCELLED, "cancelled");
    return KILN_OK;
}

static bool on_loading(void *self, int64_t done, int64_t total)
{
    return tell(self, "loading", done, total, NULL, NULL) == KILN_OK;
}

/* ------------------------------------------------------------------------------------ words */

static kiln_status encode_negative(work *w, kiln_error *err)
{
    const kiln_draw_options *o = w->request.options;
    w->drawing.negative = o->negative_conditioning;
    if (w->drawing.negative)
        return KILN_OK;
    kiln_status status = w->request.zero_negative
                             ? conditioning_of_nothing(w->drawing.conditioning, &w->negative, err)
                             : conditioning_of_text(w->session, o->negative ? o->negative : "", o->clip_skip,
                                                    &w->negative, err);
    w->drawing.negative = w->negative;
    return status == KILN_OK
               ? conditioning_check(w->session->model, w->negative, "the negative prompt's conditioning", err)
               : status;
}

static kiln_status encode_words(work *w, kiln_error *err)
{
    const kiln_draw_options *o = w->request.options;
    kiln_status status = tell(w, "text", 0, 0, NULL, err);
    if (status == KILN_OK && !o->conditioning) {
        status = conditioning_of_text(w->session, o->prompt, o->clip_skip, &w->positive, err);
        if (status == KILN_OK)
            status = conditioning_check(w->session->model, w->positive, "the prompt's conditioning", err);
    }
    w->drawing.conditioning = o->conditioning ? o->conditioning : w->positive;
    if (status == KILN_OK && w->request.guided)
        status = encode_negative(w, err);
    /* The text encoders have done their work: their memory is the UNet's now. */
    session_drop(w->session, NETWORK_TEXT_1);
    session_drop(w->session, NETWORK_TEXT_2);
    return status;
}

/* ------------------------------------------------------------------------------------ pictures in */

static kiln_status load_init(work *w, kiln_error *err)
{
    const kiln_image *from = w->request.options->init;
    if (!from)
        return KILN_OK;
    image *resized = NULL;
    kiln_status status = KILN_OK;
    if (from->picture->width != w->request.width || from->picture->height != w->request.height)
        status =
            image_resize(from->picture, w->request.width, w->request.height, RESIZE_LANCZOS, &resized, err);
    w->init = malloc((size_t)w->request.width * (size_t)w->request.height * 3 * sizeof(float));
    if (status == KILN_OK && !w->init)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the start picture");
    if (status == KILN_OK)
        image_to_tensor(resized ? resized : from->picture, w->init);
    image_free(resized);
    return status;
}

/* An inpainting UNet asked to draw freely: everything is to be repainted (mask 1) over mid-grey, A1111's way. */
static kiln_status make_extra(work *w, kiln_error *err)
{
    const kiln_model *m = w->session->model;
    int channels = drawing_channels(m), extra = m->parts->unet.in_channels - channels;
    if (extra == 0)
        return KILN_OK;
    if (extra != channels + 1)
        return fail(
            err, KILN_UNSUPPORTED,
            "the UNet of %s takes %d channels: %d are latents, and what the other %d hold is not known here",
            m->path, m->parts->unet.in_channels, channels, extra);
    int64_t positions = (int64_t)w->drawing.height * w->drawing.width,
            pixels = (int64_t)w->request.width * w->request.height;
    float *grey = calloc((size_t)pixels * 3, sizeof *grey);
    w->extra = malloc((size_t)(positions * extra) * sizeof(float));
    kiln_status status = grey && w->extra ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the mask");
    for (int64_t i = 0; status == KILN_OK && i < positions; i++)
        w->extra[i] = 1;
    if (status == KILN_OK)
        status = autoencode_encode(w->session, grey, w->request.height, w->request.width, NULL,
                                   w->extra + positions, err);
    session_drop(w->session, NETWORK_VAE_ENCODER);
    free(grey);
    w->drawing.extra = w->extra;
    w->drawing.extra_channels = extra;
    return status;
}

/* ------------------------------------------------------------------------------------ one picture */

static kiln_status give_noise(void *self, float sigma_from, float sigma_to, float *out, size_t n,
                              kiln_error *err)
{
    (void)sigma_from;
    (void)sigma_to;
    (void)err;
    noise_fill(&((work *)self)->noise, out, n);
    return KILN_OK;
}

static kiln_status on_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    (void)x;
    work *w = self;
    int every = w->request.options->preview_every;
    kiln_image *preview = NULL;
    kiln_status status = KILN_OK;
    if (every && step % every == 0 && step < steps)
        status = preview_of(w->session, x0, w->drawing.height, w->drawing.width, &preview, err);
    if (status == KILN_OK)
        status = tell(w, "draw", step, steps, preview, err);
    kiln_image_free(preview);
    return status;
}

/* The latent to begin with, in x. */
static kiln_status start(work *w, float *x, float *start_noise, kiln_error *err)
{
    noise_init(&w->noise, w->request.noise, w->request.options->seed + (uint64_t)w->index);
    if (!w->init) {
        noise_fill(&w->noise, start_noise, w->n);
        sampler_start(w->request.sampler, start_noise, NULL, x, w->n);
        return KILN_OK;
    }
    noise_fill(&w->noise, start_noise, w->n);
    kiln_status status =
        autoencode_encode(w->session, w->init, w->request.height, w->request.width, start_noise, x, err);
    if (w->index + 1 == w->request.options->batch)
        session_drop(w->session, NETWORK_VAE_ENCODER);
    if (status != KILN_OK)
        return status;
    noise_fill(&w->noise, start_noise, w->n);
    sampler_start(w->request.sampler, start_noise, x, x, w->n);
    return KILN_OK;
}

/* The infotext names the model's hash, which a thread began to compute when the drawing began. */
static kiln_status wait_for_hash(const work *w, kiln_error *err)
{
    int64_t done = 0, size = 0;
    kiln_status status = KILN_OK;
    while (status == KILN_OK && !model_hash_wait(&w->session->model->hash, &done, &size))
        status = tell(w, "hash", done, size, NULL, err);
    return status;
}

static kiln_status to_picture(work *w, const float *latents, kiln_image **out, kiln_error *err)
{
    kiln_status status = tell(w, "decode", 0, 0, NULL, err);
    float *pixels = malloc((size_t)w->request.width * (size_t)w->request.height * 3 * sizeof *pixels);
    if (status == KILN_OK && !pixels)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    if (status == KILN_OK)
        status = autoencode_decode(w->session, latents, w->drawing.height, w->drawing.width,
                                   w->request.vae_tile, pixels, err);
    image *picture = NULL;
    if (status == KILN_OK)
        status = image_from_tensor(pixels, w->request.width, w->request.height, 3, 8, &picture, err);
    free(pixels);
    if (status == KILN_OK)
        status = kiln_image_wrap(picture, out, err);
    if (status == KILN_OK)
        status = wait_for_hash(w, err);
    char *text = status == KILN_OK ? request_infotext(w->session, &w->request, w->index) : NULL;
    if (status == KILN_OK && !text)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the picture's text");
    if (status == KILN_OK)
        status = kiln_image_set_text(*out, PICTURE_TEXT_PARAMETERS, text, err);
    free(text);
    return status;
}

static kiln_status draw_one(work *w, kiln_image **out, kiln_error *err)
{
    float *x = malloc(w->n * sizeof *x), *start_noise = malloc(w->n * sizeof *start_noise);
    kiln_status status =
        x && start_noise ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    if (status == KILN_OK)
        status = start(w, x, start_noise, err);
    if (status == KILN_OK)
        status = tell(w, "draw", 0, sampler_plan_steps(w->request.sampler), NULL, err);
    sampler_calls calls = {.noise = give_noise, .noise_self = w, .on_step = on_step, .on_step_self = w};
    if (status == KILN_OK)
        status = drawing_run(&w->drawing, &calls, x, err);
    if (status == KILN_OK)
        status = to_picture(w, x, out, err);
    free(x);
    free(start_noise);
    return status;
}

/* ------------------------------------------------------------------------------------ the public call */

static void describe(work *w)
{
    const request *r = &w->request;
    drawing *d = &w->drawing;
    *d = (drawing){.session = w->session,
                   .height = r->latent_height,
                   .width = r->latent_width,
                   .sampler = r->sampler,
                   .cfg = (float)r->options->cfg,
                   .cfg_rescale = (float)r->options->cfg_rescale,
                   .time_ids = {(float)r->height, (float)r->width, 0, 0, (float)r->height, (float)r->width}};
    w->n = drawing_elements(d);
}

static void work_fini(work *w)
{
    request_fini(&w->request);
    kiln_map_free(w->positive);
    kiln_map_free(w->negative);
    free(w->init);
    free(w->extra);
}

/* With the request resolved and found to fit. */
static kiln_status draw_all(work *w, kiln_image **out, kiln_error *err)
{
    describe(w);
    kiln_status status = encode_words(w, err);
    if (status == KILN_OK)
        status = load_init(w, err);
    if (status == KILN_OK)
        status = make_extra(w, err);
    for (; status == KILN_OK && w->index < w->request.options->batch; w->index++)
        status = draw_one(w, &out[w->index], err);
    return status;
}

kiln_status kiln_draw(kiln_session *s, const kiln_draw_options *options, kiln_image **out, kiln_error *err)
{
    session_begin(s);
    work w = {.session = s};
    /* Before the first write to out: as many places as a sane batch has, and no more, are the caller's. */
    kiln_status status = request_check_batch(options, err);
    if (status != KILN_OK)
        return status;
    for (int i = 0; i < options->batch; i++)
        out[i] = NULL;
    status = request_resolve(s, options, &w.request, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &w.request, err);
    if (status == KILN_OK) {
        model_hash_begin(&s->model->hash);
        s->loading = on_loading;
        s->loading_self = &w;
        status = draw_all(&w, out, err);
        s->loading = NULL;
        model_hash_end(&s->model->hash);
    }
    for (int i = 0; status != KILN_OK && i < options->batch; i++) {
        kiln_image_free(out[i]);
        out[i] = NULL;
    }
    work_fini(&w);
    return status;
}
