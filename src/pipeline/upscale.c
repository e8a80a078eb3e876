/* upscale.c - kiln_upscale and kiln_upscale_plan: passes, the last resampling, alpha and texts. */
#include "pipeline/upscale.h"

#include "base/error.h"
#include "pipeline/image_api.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ channels */

static int64_t get(const image *from, int64_t index)
{
    return from->bits == 8 ? ((const uint8_t *)from->pixels)[index] : ((const uint16_t *)from->pixels)[index];
}

static void put(image *to, int64_t index, int64_t number)
{
    if (to->bits == 8)
        ((uint8_t *)to->pixels)[index] = (uint8_t)number;
    else
        ((uint16_t *)to->pixels)[index] = (uint16_t)number;
}

/* Channel `channel` of every pixel, as a grey picture. */
static kiln_status take_channel(const image *from, int channel, image **out, kiln_error *err)
{
    kiln_status status = image_new(from->width, from->height, 1, from->bits, out, err);
    for (int64_t i = 0, n = (int64_t)from->width * from->height; status == KILN_OK && i < n; i++)
        put(*out, i, get(from, i * from->channels + channel));
    return status;
}

/* `colours` with `alpha` as its last channel; both are given back. */
static kiln_status join_channels(image *colours, image *alpha, image **out, kiln_error *err)
{
    int channels = colours->channels + 1;
    kiln_status status = image_new(colours->width, colours->height, channels, colours->bits, out, err);
    for (int64_t i = 0, n = (int64_t)colours->width * colours->height; status == KILN_OK && i < n; i++) {
        for (int c = 0; c + 1 < channels; c++)
            put(*out, i * channels + c, get(colours, i * (channels - 1) + c));
        put(*out, i * channels + channels - 1, get(alpha, i));
    }
    image_free(colours);
    image_free(alpha);
    return status;
}

/* ------------------------------------------------------------------------------------ steps */

static kiln_status run_passes(kiln_upscaler *u, const upscale_job *job, const image *from, image **out,
                              kiln_error *err)
{
    upscale_counter counter = {.total = job->work.tiles};
    image *last = NULL;
    kiln_status status = KILN_OK;
    for (int i = 0; i < job->pass_count && status == KILN_OK; i++) {
        int bits = i + 1 < job->pass_count || job->resized ? 16 : job->bits;
        image *next = NULL;
        status = upscale_run_pass(u, job, &job->passes[i], last ? last : from, bits, &counter, &next, err);
        image_free(last);
        last = next;
    }
    *out = last;
    return status;
}

/* To the size that was asked for, and back to the picture's bits. Replaces *picture. */
static kiln_status finish_colours(const upscale_job *job, image **picture, kiln_error *err)
{
    image *next = NULL;
    kiln_status status = KILN_OK;
    if (job->resized) {
        status = image_resize(*picture, job->width, job->height, job->filter, &next, err);
        image_free(*picture);
        *picture = next;
    }
    if (status == KILN_OK && (*picture)->bits != job->bits) {
        status = image_to_bytes(*picture, job->colours, &next, err);
        image_free(*picture);
        *picture = next;
    }
    return status;
}

static kiln_status enlarge(kiln_upscaler *u, const upscale_job *job, const image *from, image **out,
                           kiln_error *err)
{
    image *colours = NULL, *alpha = NULL, *smaller = NULL;
    if (!u->file)
        return image_resize(from, job->width, job->height, job->filter, out, err);
    kiln_status status = run_passes(u, job, from, &colours, err);
    if (status == KILN_OK)
        status = finish_colours(job, &colours, err);
    if (status == KILN_OK && !job->alpha) {
        *out = colours;
        return KILN_OK;
    }
    if (status == KILN_OK)
        status = take_channel(from, from->channels - 1, &smaller, err);
    if (status == KILN_OK)
        status = image_resize(smaller, job->width, job->height, RESIZE_LANCZOS, &alpha, err);
    image_free(smaller);
    if (status == KILN_OK)
        return join_channels(colours, alpha, out, err);
    image_free(colours);
    return status;
}

/* The texts that the picture had, and A1111's words for what was done. */
static kiln_status keep_texts(const kiln_upscaler *u, const kiln_image *from, const image *made,
                              kiln_image *to, kiln_error *err)
{
    char words[512];
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < from->texts->count && status == KILN_OK; i++)
        status =
            picture_text_add(to->texts, from->texts->entries[i].keyword, from->texts->entries[i].text, err);
    snprintf(words, sizeof words, "Postprocess upscale by: %.6g, Postprocess upscaler: %.400s",
             (double)made->width / from->picture->width, u->name);
    if (status == KILN_OK && text_is_utf8(words, strlen(words)))
        status = kiln_image_set_text(to, "postprocessing", words, err);
    return status;
}

/* ------------------------------------------------------------------------------------ the public calls */

static kiln_status begin(kiln_upscaler *u, const kiln_image *picture, const kiln_upscale_options *options,
                         upscale_job *job, kiln_error *err)
{
    kiln_upscale_options standard = kiln_upscale_defaults();
    const kiln_upscale_options *o = options ? options : &standard;
    atomic_store(&u->cancel, false);
    u->progress = o->progress;
    u->user = o->user;
    if (!picture)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to enlarge");
    return upscale_resolve(u, picture->picture, o, 0, job, err);
}

kiln_status kiln_upscale_plan(kiln_upscaler *u, const kiln_image *picture,
                              const kiln_upscale_options *options, kiln_upscale_work *out, kiln_error *err)
{
    upscale_job job;
    *out = (kiln_upscale_work){0};
    kiln_status status = begin(u, picture, options, &job, err);
    if (status == KILN_OK)
        *out = job.work;
    return status;
}

kiln_status kiln_upscale(kiln_upscaler *u, const kiln_image *picture, const kiln_upscale_options *options,
                         kiln_image **out, kiln_error *err)
{
    upscale_job job;
    image *made = NULL;
    *out = NULL;
    kiln_status status = begin(u, picture, options, &job, err);
    if (status == KILN_OK)
        status = enlarge(u, &job, picture->picture, &made, err);
    u->progress = NULL;
    if (status != KILN_OK)
        return status;
    status = kiln_image_wrap(made, out, err);
    if (status == KILN_OK)
        status = keep_texts(u, picture, made, *out, err);
    if (status != KILN_OK) {
        kiln_image_free(*out);
        *out = NULL;
    }
    return status;
}
