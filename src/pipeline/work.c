/* work.c - see work.h. */
#include "pipeline/work.h"

#include "diffusion/brownian.h"
#include "diffusion/prediction.h"
#include "pipeline/autoencode.h"
#include "pipeline/conditioning.h"
#include "pipeline/guiding.h"
#include "pipeline/hypernetworks.h"
#include "pipeline/image_api.h"
#include "pipeline/loras.h"
#include "pipeline/preview.h"
#include "pipeline/seeding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kiln_status work_tell(const work *w, const char *stage, int64_t done, int64_t total,
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
    return work_tell(self, "loading", done, total, NULL, NULL) == KILN_OK;
}

/* ------------------------------------------------------------------------------------ words */

/* One text, as the rules of the prompt or of the negative one have it. */
static kiln_status encode_text(work *w, const char *text, bool negative, const kiln_map **map,
                               const prompting **changing, kiln_error *err)
{
    prompting_rules rules;
    const prompting *own = NULL;
    kiln_status status = request_prompting(&w->request, negative, &rules, err);
    if (status == KILN_OK)
        status = prompting_store_get(w->store, w->session, text, &rules, &own, err);
    if (status != KILN_OK)
        return status;
    *map = prompting_map(own, 0, 0);
    *changing = prompting_is_plain(own) ? NULL : own;
    return KILN_OK;
}

static kiln_status make_zeros(const work *w, work_words *own, kiln_error *err)
{
    if (own->zeros)
        return KILN_OK;
    kiln_status status = conditioning_of_nothing(own->conditioning, &own->zeros, err);
    return status == KILN_OK
               ? conditioning_check(w->session->model, own->zeros, "the negative prompt's conditioning", err)
               : status;
}

static kiln_status encode_negative(work *w, const kiln_draw_options *o, work_words *own, kiln_error *err)
{
    own->negative = o->negative_conditioning;
    if (own->negative)
        return KILN_OK;
    if (!w->request.zero_negative)
        return encode_text(w, o->negative ? o->negative : "", true, &own->negative, &own->negative_words,
                           err);
    kiln_status status = make_zeros(w, own, err);
    own->negative = own->zeros;
    return status;
}

/* No words at all, which a perpendicular negative prompt is measured against. */
static kiln_status encode_empty(work *w, const kiln_draw_options *o, work_words *own, kiln_error *err)
{
    const prompting *changing = NULL;
    if (!(o->guidance.perpendicular > 0) || w->request.zero_negative)
        return KILN_OK;
    if (!w->session->model->parts->zero_empty_prompt)
        return encode_text(w, "", true, &own->empty, &changing, err);
    kiln_status status = make_zeros(w, own, err);
    own->empty = own->zeros;
    return status;
}

static kiln_status encode_positive(work *w, const kiln_draw_options *o, work_words *own, kiln_error *err)
{
    own->conditioning = o->conditioning;
    return o->conditioning ? KILN_OK : encode_text(w, o->prompt, false, &own->conditioning, &own->words, err);
}

/* The LoRAs that a text names bend the encoders too. */
static kiln_status encode_pair(work *w, const kiln_draw_options *o, work_words *own, kiln_error *err)
{
    kiln_status status = session_use_loras(w->session, o, err);
    if (status == KILN_OK)
        status = encode_positive(w, o, own, err);
    if (status == KILN_OK && w->request.guided)
        status = encode_negative(w, o, own, err);
    if (status == KILN_OK && w->request.guided)
        status = encode_empty(w, o, own, err);
    return status;
}

static kiln_status encode_words(work *w, kiln_error *err)
{
    kiln_status status = work_tell(w, "text", 0, 0, NULL, err);
    int count = w->request.texts.count;
    if (status == KILN_OK && !(w->words = calloc((size_t)count, sizeof *w->words)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    for (int i = 0; status == KILN_OK && i < count; i++) {
        kiln_draw_options own = request_options(&w->request, i);
        status = encode_pair(w, &own, &w->words[i], err);
    }
    /* The text encoders have done their work: their memory is the UNet's now. */
    session_drop(w->session, NETWORK_TEXT_1);
    session_drop(w->session, NETWORK_TEXT_2);
    return status;
}

/* What the texts of a picture name beside their words, too. */
static kiln_status bend(work *w, int number, kiln_error *err)
{
    kiln_draw_options own = request_options(&w->request, number);
    kiln_status status = session_use_loras(w->session, &own, err);
    return status == KILN_OK ? session_use_hypernetworks(w->session, &own, err) : status;
}

static kiln_status take_words(work *w, kiln_error *err)
{
    int number = texts_index(&w->request.texts, w->index);
    const work_words *own = &w->words[number];
    w->drawing.conditioning = own->conditioning;
    w->drawing.negative = own->negative;
    w->drawing.empty = own->empty;
    w->drawing.words = own->words;
    w->drawing.negative_words = own->negative_words;
    return w->request.texts.count > 1 ? bend(w, number, err) : KILN_OK;
}

/* ------------------------------------------------------------------------------------ the UNet's other channels */

/* The mask of a latent by its nearest pixel, and whether that is to be drawn. */
static bool masked_at(const work *w, int y, int x)
{
    int f = w->request.height / w->drawing.height;
    return w->source.mask[(size_t)(y * f) * (size_t)w->request.width + (size_t)(x * f)] >= 0.5f;
}

/* A UNet made for inpainting sees the mask, and the picture with grey in place of what is masked. Without a mask everything
 * is masked: A1111's way to draw freely with such a model. */
static kiln_status fill_masked(work *w, const float *noise, kiln_error *err)
{
    size_t positions = w->n / (size_t)drawing_channels(w->session->model),
           pixels = (size_t)w->request.width * (size_t)w->request.height;
    float *grey = calloc(pixels * 3, sizeof *grey);
    if (!grey)
        return fail(err, KILN_NO_MEMORY, "out of memory for the mask");
    for (size_t i = 0; w->source.mask && i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            grey[i * 3 + c] =
                w->source.picture[i * 3 + c] * (w->source.mask[i] >= 0.5f ? 1 - w->source.mask_weight : 1);
    for (size_t i = 0; i < positions; i++)
        w->extra[i] = w->source.mask ? masked_at(w, (int)(i / (size_t)w->drawing.width),
                                                 (int)(i % (size_t)w->drawing.width))
                                     : 1;
    kiln_status status = autoencode_encode(w->session, grey, w->request.height, w->request.width, noise,
                                           w->extra + positions, err);
    free(grey);
    return status;
}

/* A UNet that changes a picture by words sees the latents' mean, not scaled. */
static kiln_status fill_edited(work *w, kiln_error *err)
{
    kiln_status status = autoencode_encode(w->session, w->source.picture, w->request.height, w->request.width,
                                           NULL, w->extra, err);
    float scale = w->session->model->parts->vae.scaling_factor;
    for (size_t i = 0; status == KILN_OK && i < w->n; i++)
        w->extra[i] /= scale;
    return status;
}

/* Once for all pictures: where the channels are, and what is the same for each. */
static kiln_status make_extra(work *w, kiln_error *err)
{
    if (w->request.extra == EXTRA_NONE)
        return KILN_OK;
    size_t positions = (size_t)w->drawing.height * (size_t)w->drawing.width;
    int extra = w->session->model->parts->unet.in_channels - drawing_channels(w->session->model);
    w->extra = malloc(positions * (size_t)extra * sizeof(float));
    if (!w->extra)
        return fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    w->drawing.extra = w->extra;
    w->drawing.extra_channels = extra;
    kiln_status status = KILN_OK;
    if (w->request.extra == EXTRA_EDIT)
        status = fill_edited(w, err);
    else if (w->request.extra == EXTRA_MASKED && !w->source.mask)
        status = fill_masked(w, NULL, err);
    if (!w->source.picture)
        session_drop(w->session, NETWORK_VAE_ENCODER);
    return status;
}

/* ------------------------------------------------------------------------------------ the start */

/* What lies under the mask is replaced: by noise of the picture's own seed, or by nothing. */
static kiln_status replace_masked(work *w, float *x, kiln_error *err)
{
    if (!w->source.latent_mask || w->source.content == CONTENT_PICTURE)
        return KILN_OK;
    size_t positions = w->repaint.positions;
    float *fresh = calloc(w->n, sizeof *fresh);
    noise_source *own = malloc(sizeof *own);
    if (fresh && own && w->source.content == CONTENT_NOISE) {
        noise_init(own, w->request.noise, seeding_seed(w->request.options, w->index));
        noise_fill(own, fresh, w->n);
    }
    for (size_t i = 0; fresh && own && i < w->n; i++) {
        float m = w->source.latent_mask[i % positions];
        x[i] = (1 - m) * x[i] + m * fresh[i];
    }
    bool good = fresh && own;
    free(fresh);
    free(own);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the latents");
}

/* Whether the start picture's latents matter: not where diffusers' pipeline begins with noise alone and the UNet is told
 * what it may not draw. */
static bool needs_image(const work *w)
{
    return !w->request.pure_noise || w->drawing.repaint;
}

/* The start picture's latents in x. */
static kiln_status start_image(work *w, float *x, float *noise, kiln_error *err)
{
    kiln_status status = KILN_OK;
    if (w->source.latents) {
        memcpy(x, w->source.latents, w->n * sizeof *x);
    } else {
        noise_fill(&w->noise, noise, w->n);
        status = autoencode_encode(w->session, w->source.picture, w->request.height, w->request.width, noise,
                                   x, err);
    }
    if (status == KILN_OK && w->image)
        memcpy(w->image, x, w->n * sizeof *x);
    return status == KILN_OK ? replace_masked(w, x, err) : status;
}

/* The x4 upscaler's small picture, with noise of a level that hides what a bad original has. */
static void fill_low(work *w)
{
    size_t count = (size_t)w->drawing.extra_channels * (size_t)w->drawing.height * (size_t)w->drawing.width;
    noise_fill(&w->noise, w->extra, count);
    add_noise_vp(w->source.low, w->extra, w->source.low_alpha, w->extra, count);
}

static kiln_status start_noise(work *w, float *noise, kiln_error *err)
{
    const kiln_model *m = w->session->model;
    noise_shape s = {drawing_channels(m), w->drawing.height, w->drawing.width};
    return seeding_start(w->request.options, w->request.noise, w->index, s, autoencode_factor(m), &w->noise,
                         noise, err);
}

static kiln_status start(work *w, float *x, float *noise, kiln_error *err)
{
    noise_init(&w->noise, w->request.noise, seeding_seed(w->request.options, w->index));
    if (w->request.extra == EXTRA_LOW)
        fill_low(w);
    bool from_image = w->source.picture || w->source.latents;
    kiln_status status = steering_noise(w->steering, &w->noise, err);
    if (status == KILN_OK && from_image && needs_image(w))
        status = start_image(w, x, noise, err);
    if (status == KILN_OK)
        status = start_noise(w, noise, err);
    if (status != KILN_OK)
        return status;
    if (w->noise_at_start)
        memcpy(w->noise_at_start, noise, w->n * sizeof *noise);
    sampler_start(w->request.sampler, noise, from_image && !w->request.pure_noise ? x : NULL, x, w->n);
    if (w->source.mask) {
        noise_fill(&w->noise, noise, w->n);
        if (w->request.extra == EXTRA_MASKED)
            status = fill_masked(w, noise, err);
    }
    seeding_restart(w->request.options, w->request.noise, w->index, &w->noise);
    if (from_image && w->index + 1 == w->request.options->batch)
        session_drop(w->session, NETWORK_VAE_ENCODER);
    return status;
}

/* ------------------------------------------------------------------------------------ sampling */

/* What the sampler's steps draw from: the stream that the start came from, or a Brownian path of the same seed. */
typedef struct step_noise {
    noise_source *stream;
    brownian *path; /* NULL: the stream */
} step_noise;

static kiln_status give_noise(void *self, float sigma_from, float sigma_to, float *out, size_t n,
                              kiln_error *err)
{
    (void)err;
    step_noise *from = self;
    if (from->path)
        brownian_increment(from->path, sigma_from, sigma_to, out);
    else
        noise_fill(from->stream, out, n);
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
        status = work_tell(w, "draw", step, steps, preview, err);
    kiln_image_free(preview);
    return status;
}

kiln_status work_latents(work *w, int index, float *x, kiln_error *err)
{
    w->index = index;
    float *noise = malloc(w->n * sizeof *noise);
    kiln_status status = noise ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    if (status == KILN_OK)
        status = take_words(w, err);
    if (status == KILN_OK)
        status = start(w, x, noise, err);
    free(noise);
    if (status == KILN_OK)
        status = work_tell(w, "draw", 0, sampler_plan_steps(w->request.sampler), NULL, err);
    step_noise from = {.stream = &w->noise};
    if (status == KILN_OK && sampler_plan_is_brownian(w->request.sampler))
        status = brownian_new(&from.path, seeding_seed(w->request.options, index), w->n, err);
    sampler_calls calls = {.noise = give_noise,
                           .noise_self = &from,
                           .on_step = on_step,
                           .on_step_self = w,
                           .evaluations = &w->session->evaluations};
    if (status == KILN_OK)
        status = drawing_run(&w->drawing, &calls, x, err);
    brownian_free(from.path);
    return status;
}

kiln_status work_decode(work *w, const float *x, float *pixels, kiln_error *err)
{
    kiln_status status = work_tell(w, "decode", 0, 0, NULL, err);
    return status == KILN_OK ? autoencode_decode(w->session, x, w->drawing.height, w->drawing.width,
                                                 w->request.vae_tile, pixels, err)
                             : status;
}

/* The infotext names the model's hash, which a thread began to compute when the drawing began. */
kiln_status work_wait_for_hash(const work *w, kiln_error *err)
{
    int64_t done = 0, size = 0;
    kiln_status status = KILN_OK;
    while (status == KILN_OK && !model_hash_wait(&w->session->model->hash, &done, &size))
        status = work_tell(w, "hash", done, size, NULL, err);
    return status;
}

kiln_status work_sign(work *w, kiln_image *picture, kiln_error *err)
{
    kiln_status status = work_wait_for_hash(w, err);
    char *text = status == KILN_OK ? request_infotext(w->session, &w->request, w->index) : NULL;
    if (status == KILN_OK && !text)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the picture's text");
    if (status == KILN_OK)
        status = kiln_image_set_text(picture, PICTURE_TEXT_PARAMETERS, text, err);
    free(text);
    return status;
}

/* ------------------------------------------------------------------------------------ open, close */

static void describe(work *w)
{
    const request *r = &w->request;
    w->drawing = (drawing){
        .session = w->session,
        .height = r->latent_height,
        .width = r->latent_width,
        .sampler = r->sampler,
        .cfg = (float)r->options->cfg,
        .cfg_rescale = (float)r->options->cfg_rescale,
        .interval = guiding_interval(&r->options->guidance),
        .mimic = (float)r->options->guidance.mimic_scale,
        .mimic_percentile =
            r->options->guidance.mimic_percentile > 0 ? (float)r->options->guidance.mimic_percentile : 1,
        .perpendicular = (float)r->options->guidance.perpendicular,
        .time_ids = {(float)r->height, (float)r->width, 0, 0, (float)r->height, (float)r->width},
        .edits = r->extra == EXTRA_EDIT,
        .image_cfg = (float)r->options->image_cfg,
    };
    steering_shape(r->options, &w->drawing.steered);
    w->n = drawing_elements(&w->drawing);
}

/* diffusers' pipeline leaves a UNet that is told the mask alone; A1111 keeps the rest of the picture itself all the same. */
static kiln_status describe_mask(work *w, kiln_error *err)
{
    if (!w->source.latent_mask ||
        (w->request.sampler->folder_view && w->request.extra == EXTRA_MASKED && !w->source.soft))
        return KILN_OK;
    w->image = malloc(w->n * sizeof(float));
    w->noise_at_start = malloc(w->n * sizeof(float));
    if (!w->image || !w->noise_at_start)
        return fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    w->repaint = (repaint){
        .way = w->request.sampler->folder_view && !w->source.soft ? REPAINT_NOISED : REPAINT_DENOISED,
        .mask = w->source.latent_mask,
        .image = w->image,
        .noise = w->noise_at_start,
        .soft = w->source.soft,
        .positions = (size_t)w->drawing.height * (size_t)w->drawing.width,
        .channels = drawing_channels(w->session->model),
    };
    w->drawing.repaint = &w->repaint;
    return KILN_OK;
}

kiln_status work_open(work *w, kiln_session *s, const kiln_draw_options *options, request_kind kind,
                      kiln_error *err)
{
    *w = (work){.session = s};
    w->store = &w->own_store;
    kind.drawn = true;
    kiln_status status = request_resolve(s, options, kind, &w->request, err);
    /* What any picture names has to be there before the first is drawn. */
    for (int i = w->request.texts.count - 1; status == KILN_OK && i >= 0; i--)
        status = bend(w, i, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &w->request, err);
    if (status != KILN_OK)
        return status;
    s->loading = on_loading;
    s->loading_self = w;
    describe(w);
    return KILN_OK;
}

kiln_status work_prepare(work *w, kiln_error *err)
{
    w->drawing.noise_level = w->source.noise_level;
    kiln_status status = describe_mask(w, err);
    if (status == KILN_OK)
        status = encode_words(w, err);
    if (status == KILN_OK)
        status = steering_new(w->session, w->request.options, w->drawing.height, w->drawing.width,
                              &w->steering, err);
    w->drawing.steering = w->steering;
    return status == KILN_OK ? make_extra(w, err) : status;
}

void work_close(work *w)
{
    if (w->session && w->session->loading_self == w) {
        w->session->loading = NULL;
        w->session->loading_self = NULL;
    }
    for (int i = 0; w->words && i < w->request.texts.count; i++)
        kiln_map_free(w->words[i].zeros);
    free(w->words);
    prompting_store_free(&w->own_store);
    request_fini(&w->request);
    steering_free(w->steering);
    free(w->extra);
    free(w->image);
    free(w->noise_at_start);
}

kiln_status work_pixels(kiln_session *s, const kiln_draw_options *options, const work_source *source,
                        float **pixels, kiln_error *err)
{
    work w;
    float *x = NULL;
    *pixels = NULL;
    request_kind kind = {.picture = source && (source->picture || source->latents),
                         .mask = source && source->latent_mask,
                         .low = source && source->low};
    kiln_status status = work_open(&w, s, options, kind, err);
    if (status == KILN_OK) {
        if (source)
            w.source = *source;
        x = malloc(w.n * sizeof *x);
        *pixels = malloc((size_t)w.request.width * (size_t)w.request.height * 3 * sizeof **pixels);
        if (!x || !*pixels)
            status = fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    }
    if (status == KILN_OK)
        status = work_prepare(&w, err);
    if (status == KILN_OK)
        status = work_latents(&w, 0, x, err);
    if (status == KILN_OK)
        status = work_decode(&w, x, *pixels, err);
    free(x);
    work_close(&w);
    if (status != KILN_OK) {
        free(*pixels);
        *pixels = NULL;
    }
    return status;
}

kiln_status work_paint_batch(kiln_session *s, const kiln_draw_options *o, batch_painter paint,
                             const void *options, kiln_image **out, kiln_error *err)
{
    session_begin(s);
    kiln_status status = request_check_batch(o, err);
    if (status != KILN_OK)
        return status;
    for (int k = 0; k < o->batch; k++)
        out[k] = NULL;
    model_hash_begin(&s->model->hash);
    status = paint(s, options, out, err);
    model_hash_end(&s->model->hash);
    for (int k = 0; status != KILN_OK && k < o->batch; k++) {
        kiln_image_free(out[k]);
        out[k] = NULL;
    }
    return status;
}
