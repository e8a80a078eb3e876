/* request.c - see request.h. */
#include "pipeline/request.h"

#include "image/image.h"
#include "image/picture_text.h"
#include "pipeline/autoencode.h"
#include "pipeline/conditioning.h"
#include "pipeline/guiding.h"
#include "pipeline/image_api.h"
#include "pipeline/loras.h"
#include "pipeline/seeding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

kiln_draw_options kiln_draw_defaults(void)
{
    return (kiln_draw_options){.prompt = "",
                               .steps = 20,
                               .cfg = 7,
                               .rng = "cpu",
                               .sampler = "DPM++ 2M",
                               .eta = -1,
                               .clip_skip = 1,
                               .batch = 1,
                               .strength = 0.75,
                               .image_cfg = 1.5,
                               .hires_upscaler = "Latent",
                               .hires_strength = 0.7};
}

uint64_t kiln_seed_random(void)
{
    uint32_t seed = 0;
    /* 32 bits: what A1111 and torch's CPU generator can repeat. */
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = 0x9E3779B9u;
    return seed;
}

static kiln_status check_side(const char *name, int given, int step, kiln_error *err)
{
    if (given <= 0)
        return fail(err, KILN_BAD_ARGUMENT, "the %s must be a positive number of pixels, got %d", name,
                    given);
    if (given > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "the %s may be %d pixels at most, got %d", name, IMAGE_MAX_SIDE,
                    given);
    if (given % step)
        return fail(err, KILN_BAD_ARGUMENT,
                    "the %s must be a multiple of %d for this model, got %d (near it are %d and %d)", name,
                    step, given, given / step > 0 ? given / step * step : step, (given / step + 1) * step);
    return KILN_OK;
}

static kiln_status resolve_size(const kiln_model *m, request *r, kiln_error *err)
{
    int own_width, own_height, step = kiln_model_size_step(m), f = autoencode_factor(m);
    kiln_model_size(m, &own_width, &own_height);
    r->width = r->options->width ? r->options->width : own_width;
    r->height = r->options->height ? r->options->height : own_height;
    kiln_status status = check_side("width", r->width, step, err);
    if (status == KILN_OK)
        status = check_side("height", r->height, step, err);
    if (status == KILN_OK && (int64_t)r->width * r->height > IMAGE_MAX_PIXELS)
        status = fail(err, KILN_BAD_ARGUMENT, "a picture of %dx%d is too large: %lld pixels at most",
                      r->width, r->height, (long long)IMAGE_MAX_PIXELS);
    r->latent_width = r->width / f;
    r->latent_height = r->height / f;
    return status;
}

kiln_status request_check_number(const char *name, double given, double low, double high, kiln_error *err)
{
    if (given >= low && given <= high)
        return KILN_OK;
    return fail(err, KILN_BAD_ARGUMENT, "%s is a number from %g to %g, not %g", name, low, high, given);
}

kiln_status request_check_batch(const kiln_draw_options *o, kiln_error *err)
{
    return request_check_number("batch", o->batch, 1, 10000, err);
}

static kiln_status check_numbers(const kiln_draw_options *o, request_kind kind, const schedule *s,
                                 kiln_error *err)
{
    kiln_status status = request_check_number("steps", o->steps, 1, s->count, err);
    if (status == KILN_OK)
        status = request_check_number("cfg", o->cfg, 0, 1000, err);
    if (status == KILN_OK)
        status = request_check_number("cfg_rescale", o->cfg_rescale, 0, 1, err);
    if (status == KILN_OK)
        status = guiding_check(&o->guidance, err);
    if (status == KILN_OK)
        status = seeding_check(o, err);
    if (status == KILN_OK)
        status = request_check_number("clip_skip", o->clip_skip, 1, 100, err);
    if (status == KILN_OK)
        status = request_check_number("image_cfg", o->image_cfg, 0, 1000, err);
    if (status == KILN_OK && kind.picture)
        status = request_check_number("strength", o->strength, 0, 1, err);
    if (status == KILN_OK && o->eta != -1)
        status = request_check_number("eta", o->eta, 0, 100, err);
    if (status == KILN_OK && o->memory_limit < 0)
        status = fail(err, KILN_BAD_ARGUMENT, "the memory limit cannot be negative");
    if (status == KILN_OK && o->vae_tile != 0 && o->vae_tile != -1)
        status = request_check_number("vae_tile", o->vae_tile, 64, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK && o->preview_every < 0)
        status = fail(err, KILN_BAD_ARGUMENT, "preview_every cannot be negative");
    return status;
}

static kiln_status resolve_noise(request *r, kiln_error *err)
{
    const char *name = r->options->rng ? r->options->rng : "cpu";
    if (strcmp(name, "cpu") == 0)
        r->noise = NOISE_TORCH;
    else if (strcmp(name, "nv") == 0)
        r->noise = NOISE_PHILOX;
    else
        return fail(err, KILN_BAD_ARGUMENT, "rng is \"cpu\" or \"nv\", not \"%s\"", name);
    return KILN_OK;
}

static kiln_status resolve_sampler(const kiln_session *s, request *r, kiln_error *err)
{
    const kiln_draw_options *o = r->options;
    sampler_request q = sampler_request_default();
    q.sampler = o->sampler && strcmp(o->sampler, "model") == 0 ? NULL : o->sampler;
    q.curve = o->schedule;
    q.steps = o->steps;
    q.strength = r->kind.picture ? o->strength : (double)NAN;
    if (o->eta != -1)
        q.eta = o->eta;
    guiding_request(&o->sampling, &q);
    q.sigmas.large_family = s->model->parts->family == FAMILY_SDXL;
    q.image_tokens = (r->latent_width + 1) / 2 * ((r->latent_height + 1) / 2);
    kiln_status status = sampler_plan_new(&r->sampler, s->model->schedule, &q, err);
    if (status != KILN_OK || !r->kind.mask || !r->sampler->folder_view || o->strength < 1)
        return status;
    r->pure_noise = true;
    sampler_plan_free(r->sampler);
    r->sampler = NULL;
    q.strength = (double)NAN;
    return sampler_plan_new(&r->sampler, s->model->schedule, &q, err);
}

kiln_status request_prompting(const request *r, bool negative, prompting_rules *out, kiln_error *err)
{
    const kiln_draw_options *o = r->options;
    *out = (prompting_rules){.steps = o->steps, .clip_skip = o->clip_skip, .negative = negative};
    return emphasis_of_name(o->emphasis, &out->emphasis, err);
}

kiln_draw_options request_options(const request *r, int number)
{
    return texts_options(&r->texts, number, r->options);
}

/* A text is recorded with the picture, so it has to be UTF-8 even where it is not encoded (`tokens` NULL). */
static kiln_status check_text(const kiln_session *s, const request *r, bool negative, const char *text,
                              int *tokens, kiln_error *err)
{
    kiln_status status = KILN_OK;
    prompting_rules rules;
    if (tokens) {
        status = request_prompting(r, negative, &rules, err);
        if (status == KILN_OK)
            status = prompting_tokens(s, text ? text : "", &rules, tokens, err);
    }
    if (!tokens && text && !text_is_utf8(text, strlen(text)))
        status = fail(err, KILN_BAD_ARGUMENT, "the %s is not UTF-8", negative ? "negative prompt" : "prompt");
    return status;
}

static kiln_status check_map(const kiln_session *s, const kiln_map *map, const char *what, int *tokens,
                             kiln_error *err)
{
    kiln_status status = conditioning_check(s->model, map, what, err);
    if (status == KILN_OK)
        *tokens = conditioning_map_tokens(map);
    return status;
}

/* Guidance that needs words of its own: neither a map nor zeros stand in for them. */
static bool encodes_negative(const request *r)
{
    return r->guided && !r->zero_negative && !r->options->negative_conditioning;
}

/* Of the pictures with these options: their texts. */
static kiln_status check_pair(kiln_session *s, request *r, const kiln_draw_options *o, kiln_error *err)
{
    int tokens = 0, negative_tokens = 0;
    kiln_status status = r->kind.drawn ? session_use_loras(s, o, err) : KILN_OK;
    if (status == KILN_OK)
        status = check_text(s, r, false, o->prompt, o->conditioning ? NULL : &tokens, err);
    if (status == KILN_OK && o->conditioning)
        status = check_map(s, o->conditioning, "the given conditioning", &tokens, err);
    if (status == KILN_OK)
        status = check_text(s, r, true, o->negative, encodes_negative(r) ? &negative_tokens : NULL, err);
    if (status == KILN_OK && o->negative_conditioning)
        status =
            check_map(s, o->negative_conditioning, "the given negative conditioning", &negative_tokens, err);
    if (r->zero_negative)
        negative_tokens = tokens;
    if (!r->guided)
        negative_tokens = 0;
    r->apart = r->apart || (r->guided && tokens != negative_tokens);
    r->tokens = tokens > r->tokens ? tokens : r->tokens;
    r->negative_tokens = negative_tokens > r->negative_tokens ? negative_tokens : r->negative_tokens;
    return status;
}

static kiln_status check_words(kiln_session *s, request *r, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < r->texts.count; i++) {
        kiln_draw_options own = request_options(r, i);
        status = check_pair(s, r, &own, err);
    }
    return status;
}

/* What the pictures say, and so whether a negative prompt is encoded. */
static kiln_status resolve_texts(const kiln_session *s, request *r, kiln_error *err)
{
    const kiln_draw_options *o = r->options;
    if (!o->conditioning && !o->prompt)
        return fail(err, KILN_BAD_ARGUMENT, "there is neither a prompt nor a conditioning");
    kiln_status status = request_check_batch(o, err);
    if (status == KILN_OK)
        status = texts_of(o, &r->texts, err);
    r->zero_negative = status == KILN_OK && r->guided && s->model->parts->zero_empty_prompt &&
                       !r->texts.list[0].negative && !o->negative_conditioning;
    return status;
}

static kiln_status check_model(const kiln_session *s, const request *r, kiln_error *err)
{
    const model_parts *parts = s->model->parts;
    unsigned needed = 1u << PART_UNET | 1u << PART_VAE;
    if (!r->options->conditioning || encodes_negative(r))
        needed |= probe_drawing_parts(parts);
    if (model_is_pixel(s->model))
        needed = 1u << PART_UNET;
    kiln_status status = probe_require(parts, needed, err);
    if (status == KILN_OK && parts->family == FAMILY_X4_UPSCALER && !r->kind.low)
        status = fail(err, KILN_UNSUPPORTED, "%s is an upscaler: it enlarges pictures and draws none",
                      s->model->path);
    if (status == KILN_OK && parts->family == FAMILY_SDXL_REFINER)
        status = fail(err, KILN_UNSUPPORTED,
                      "%s is a refiner: it finishes another model's picture and draws none", s->model->path);
    return status == KILN_OK ? autoencode_check(s->model, err) : status;
}

/* What the UNet's channels beyond the latents hold. */
static kiln_status resolve_extra(const kiln_model *m, request *r, kiln_error *err)
{
    int channels = drawing_channels(m), extra = m->parts->unet.in_channels - channels;
    if (m->parts->unet.out_channels != channels)
        return fail(err, KILN_MISMATCH, "the UNet predicts %d channels, the VAE's latents have %d",
                    m->parts->unet.out_channels, channels);
    if (m->parts->family == FAMILY_X4_UPSCALER && extra == 3)
        r->extra = EXTRA_LOW;
    else if (extra == channels + 1)
        r->extra = EXTRA_MASKED;
    else if (extra == channels)
        r->extra = EXTRA_EDIT;
    else if (extra)
        return fail(
            err, KILN_UNSUPPORTED,
            "the UNet of %s takes %d channels: %d are latents, and what the other %d hold is not known here",
            m->path, m->parts->unet.in_channels, channels, extra);
    if (r->extra == EXTRA_EDIT && !r->kind.picture)
        return fail(err, KILN_BAD_ARGUMENT, "%s changes a picture by words, and there is none to start from",
                    m->path);
    return KILN_OK;
}

kiln_status request_resolve(kiln_session *s, const kiln_draw_options *o, request_kind kind, request *r,
                            kiln_error *err)
{
    *r = (request){.options = o, .kind = kind};
    bool edits = s->model->parts->unet.in_channels == 2 * drawing_channels(s->model);
    r->guided = o->cfg != 1 || (edits && o->image_cfg != 1);
    kiln_status status = resolve_texts(s, r, err);
    if (status == KILN_OK)
        status = check_model(s, r, err);
    if (status == KILN_OK)
        status = resolve_extra(s->model, r, err);
    if (status == KILN_OK)
        status = steering_check(s->model, o, err);
    if (status == KILN_OK)
        status = check_numbers(o, kind, s->model->schedule, err);
    if (status == KILN_OK)
        status = resolve_size(s->model, r, err);
    if (status == KILN_OK)
        status = resolve_noise(r, err);
    if (status == KILN_OK)
        status = check_words(s, r, err);
    if (status == KILN_OK)
        status = resolve_sampler(s, r, err);
    return status;
}

void request_fini(request *r)
{
    sampler_plan_free(r->sampler);
    r->sampler = NULL;
    texts_free(&r->texts);
}

const char *kiln_sampler_name(int i)
{
    return i < 0 ? NULL : sampler_label(i);
}

const char *kiln_sampler_advice(int i)
{
    return sampler_good_for(i);
}

const char *kiln_sampler_alias(int i, int k)
{
    const char *const *names = sampler_aliases(i);
    for (int j = 0; names && names[j] && j < k; j++)
        if (!names[j + 1])
            return NULL;
    return names && k >= 0 ? names[k] : NULL;
}

const char *kiln_schedule_advice(int i)
{
    return i < 0 || i >= SIGMAS_COUNT ? NULL : sigma_curve_about((sigma_curve)i);
}

const char *kiln_schedule_alias(int i, int k)
{
    if (i < 0 || i >= SIGMAS_COUNT || k < 0 || k > 1)
        return NULL;
    return k == 0 ? sigma_curve_id((sigma_curve)i) : sigma_curve_alias((sigma_curve)i);
}

const char *kiln_schedule_name(int i)
{
    return i < 0 || i >= SIGMAS_COUNT ? NULL : sigma_curve_label((sigma_curve)i);
}
