/* variation.c - see variation.h. */
#include "pipeline/variation.h"

#include "formats/tensor_folder.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The noise of embeddings has a schedule of its own, the same in every published model. */
static const char noise_schedule[] =
    "{\"_class_name\": \"DDPMScheduler\", \"beta_schedule\": \"squaredcos_cap_v2\", "
    "\"num_train_timesteps\": 1000}";
enum { NOISE_LEVELS = 1000 };

kiln_status variation_check(const kiln_model *m, const kiln_variation *v, kiln_error *err)
{
    const unet_config *u = &m->parts->unet;
    if (!v)
        return KILN_OK;
    if (!v->encoder || !v->picture)
        return fail(err, KILN_BAD_ARGUMENT, "an image variation takes a picture and a vision encoder");
    if (u->class_kind != UNET_CLASS_PROJECTION)
        return fail(
            err, KILN_MISMATCH,
            "%s takes no picture as its condition: image variations need an unCLIP model (with others, a "
            "picture is a prompt through an IP-Adapter)",
            m->path);
    int channels = v->encoder->parts->vision.projection_channels;
    if (u->class_channels != 2 * channels)
        return fail(err, KILN_MISMATCH,
                    "%s takes image embeddings of width %d, the vision encoder %s gives %d", m->path,
                    u->class_channels / 2, v->encoder->parts->path, channels);
    if (v->noise_level < 0 || v->noise_level >= NOISE_LEVELS)
        return fail(err, KILN_BAD_ARGUMENT, "the noise level of an image variation is 0 to %d, not %d",
                    NOISE_LEVELS - 1, v->noise_level);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ what is told of embeddings */

static kiln_status read_vector(const tensor_file *file, const char *name, int channels, float *to,
                               kiln_error *err)
{
    const tensor_entry *e = tensor_file_find(file, name);
    if (!e)
        return KILN_OK;
    if (shape_count(e->shape) != channels)
        return fail(err, KILN_MISMATCH, "%s: '%s' has %lld numbers, expected %d", tensor_file_path(file),
                    name, (long long)shape_count(e->shape), channels);
    return tensor_file_read_f32(file, e, 0, channels, to, err);
}

/* A folder's image_normalizer. *out stays NULL when there is none. */
static kiln_status open_normalizer(const kiln_model *m, tensor_file **out, kiln_error *err)
{
    char folder[4096], path[4096];
    *out = NULL;
    int length = snprintf(folder, sizeof folder, "%s/image_normalizer", m->parts->path);
    if (m->parts->single_file || length >= (int)sizeof folder || access(folder, F_OK) != 0)
        return KILN_OK;
    kiln_status status = tensor_folder_find(folder, NULL, path, sizeof path, err);
    return status == KILN_OK ? tensor_file_open(path, out, err) : status;
}

static kiln_status read_statistics(const kiln_model *m, variation *v, kiln_error *err)
{
    for (int i = 0; i < v->channels; i++)
        v->deviation[i] = 1;
    tensor_file *own = NULL;
    const tensor_file *whole = m->parts->part[PART_UNET].place.file;
    kiln_status status = open_normalizer(m, &own, err);
    if (status == KILN_OK)
        status = read_vector(own ? own : whole, own ? "mean" : "noise_augmentor.data_mean", v->channels,
                             v->mean, err);
    if (status == KILN_OK)
        status = read_vector(own ? own : whole, own ? "std" : "noise_augmentor.data_std", v->channels,
                             v->deviation, err);
    for (int i = 0; status == KILN_OK && i < v->channels; i++)
        if (!isfinite(v->mean[i]) || !(v->deviation[i] > 0) || !isfinite(v->deviation[i]))
            status = fail(err, KILN_BAD_FORMAT,
                          "%s: the mean or deviation of image embeddings is no number above 0", m->path);
    tensor_file_close(own);
    return status;
}

static kiln_status read_level(variation *v, kiln_error *err)
{
    schedule_config config;
    schedule *s = NULL;
    kiln_status status = schedule_config_read(&config, noise_schedule, strlen(noise_schedule), NULL,
                                              "the noise of embeddings", err);
    if (status != KILN_OK)
        return status;
    status = schedule_new(&s, &config, err);
    if (status == KILN_OK)
        v->alpha_bar = s->alpha_bar[v->level];
    schedule_free(s);
    schedule_config_fini(&config);
    return status;
}

/* ------------------------------------------------------------------------------------ the picture */

static kiln_status encode(kiln_session *s, const kiln_variation *from, variation *v, kiln_error *err)
{
    const clip_parts *c = from->encoder->parts;
    kiln_map *map = NULL;
    float *pixels = malloc((size_t)c->vision.image_size * (size_t)c->vision.image_size * 3 * sizeof *pixels);
    kiln_status status = pixels ? clip_pixels(from->picture->picture, &c->preparation, pixels, err)
                                : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    if (status == KILN_OK)
        status = clip_encode_pixels(from->encoder, pixels, CLIP_IMAGE_EMBEDS, &s->cancel, &map, err);
    const float *embedding = status == KILN_OK ? map_find(map, "image_embeds", NULL) : NULL;
    for (int i = 0; embedding && i < v->channels; i++)
        v->embedding[i] = (embedding[i] - v->mean[i]) / v->deviation[i];
    kiln_map_free(map);
    free(pixels);
    return status;
}

kiln_status variation_new(kiln_session *s, const kiln_variation *from, variation **out, kiln_error *err)
{
    *out = NULL;
    if (!from)
        return KILN_OK;
    variation *v = calloc(1, sizeof *v);
    if (!v)
        return fail(err, KILN_NO_MEMORY, "out of memory for an image variation");
    v->channels = from->encoder->parts->vision.projection_channels;
    v->level = from->noise_level;
    size_t n = (size_t)v->channels;
    float *all = calloc(5 * n, sizeof *all);
    v->embedding = all;
    kiln_status status = all ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for an image variation");
    if (all) {
        v->mean = all + n;
        v->deviation = all + 2 * n;
        v->labels = all + 3 * n;
        status = read_statistics(s->model, v, err);
    }
    if (status == KILN_OK)
        status = read_level(v, err);
    if (status == KILN_OK)
        status = encode(s, from, v, err);
    if (status == KILN_OK)
        *out = v;
    else
        variation_free(v);
    return status;
}

void variation_free(variation *v)
{
    if (!v)
        return;
    free(v->embedding);
    free(v);
}

/* cos and sin of the level at falling frequencies, as time is embedded. */
static void embed_level(const variation *v, float *to)
{
    int half = v->channels / 2;
    for (int i = 0; i < half; i++) {
        float exponent = -logf(10000.0f) * (float)i / (float)half, angle = (float)v->level * expf(exponent);
        to[i] = (float)cos((double)angle);
        to[half + i] = (float)sin((double)angle);
    }
    if (v->channels % 2)
        to[v->channels - 1] = 0;
}

void variation_noise(variation *v, noise_source *noise, float *scratch)
{
    float signal = sqrtf(v->alpha_bar), spread = sqrtf(1 - v->alpha_bar);
    noise_fill(noise, scratch, (size_t)v->channels);
    for (int i = 0; i < v->channels; i++)
        v->labels[i] = (v->embedding[i] * signal + scratch[i] * spread) * v->deviation[i] + v->mean[i];
    embed_level(v, v->labels + v->channels);
}
