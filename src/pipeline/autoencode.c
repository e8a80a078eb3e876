/* autoencode.c - see autoencode.h. */
#include "pipeline/autoencode.h"

#include "image/image_tensor.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void channels_last(const float *from, int64_t channels, int64_t positions, int64_t stride, float *to)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < positions; i++)
            to[i * stride + c] = from[c * positions + i];
}

void channels_first(const float *from, int64_t channels, int64_t positions, float *to)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < positions; i++)
            to[c * positions + i] = from[i * channels + c];
}

int autoencode_factor(const kiln_model *m)
{
    return model_is_pixel(m) ? 1 : vae_factor(&m->parts->vae);
}

kiln_status autoencode_check(const kiln_model *m, kiln_error *err)
{
    const vae_config *v = &m->parts->vae;
    if (m->parts->part[PART_VAE].present && (v->in_channels != 3 || v->out_channels != 3))
        return fail(
            err, KILN_UNSUPPORTED,
            "the VAE of %s takes pictures of %d channels and gives %d; only RGB (3 and 3) is known here",
            m->path, v->in_channels, v->out_channels);
    return KILN_OK;
}

/* Raw latent r to the sampler's: (r - shift) * scale, or by the file's statistics. */
static void normalisation(const vae_config *v, int channel, float *shift, float *scale)
{
    *shift = v->statistics ? v->latents_mean[channel] : v->shift_factor;
    *scale = v->scaling_factor / (v->statistics ? v->latents_deviation[channel] : 1);
}

static void reduce_moments(const vae_config *v, const float *moments, int64_t positions, const float *noise,
                           float *latents)
{
    int64_t channels = v->latent_channels;
    for (int64_t c = 0; c < channels; c++) {
        float shift, scale;
        normalisation(v, (int)c, &shift, &scale);
        for (int64_t i = 0; i < positions; i++) {
            float z = moments[i * 2 * channels + c], logvar = moments[i * 2 * channels + channels + c];
            logvar = fminf(fmaxf(logvar, -30), 20);
            if (noise)
                z += expf(0.5f * logvar) * noise[c * positions + i];
            latents[c * positions + i] = (z - shift) * scale;
        }
    }
}

kiln_status autoencode_encode(kiln_session *s, const float *picture, int height, int width,
                              const float *noise, float *latents, kiln_error *err)
{
    if (model_is_pixel(s->model)) {
        channels_first(picture, 3, (int64_t)height * width, latents);
        return KILN_OK;
    }
    const vae_config *v = &s->model->parts->vae;
    int f = vae_factor(v);
    network_shape size = {.batch = 1, .height = height, .width = width};
    const plan *p = NULL;
    run *r = NULL;
    kiln_status status = model_need(s->model, NETWORK_VAE_ENCODER, err);
    if (status == KILN_OK)
        status = autoencode_check(s->model, err);
    if (status == KILN_OK)
        status = session_get_plan(s, NETWORK_VAE_ENCODER, &size, &p, err);
    if (status == KILN_OK)
        status = run_new(p, &r, err);
    if (status == KILN_OK) {
        memcpy(run_input(r, "image"), picture, (size_t)height * (size_t)width * 3 * sizeof(float));
        status = session_run(s, p, r, err);
    }
    if (status == KILN_OK)
        reduce_moments(v, run_output(r, "moments"), (int64_t)(height / f) * (width / f), noise, latents);
    run_free(r);
    return status;
}

/* Latents of one tile, [C,h,w] within a wider map, to the decoder's input [th,tw,C]. */
static void tile_in(const vae_config *v, const float *latents, int height, int width, int y, int x, int th,
                    int tw, float *to)
{
    int64_t channels = v->latent_channels;
    for (int64_t c = 0; c < channels; c++) {
        float shift, scale;
        normalisation(v, (int)c, &shift, &scale);
        for (int i = 0; i < th; i++)
            for (int j = 0; j < tw; j++)
                to[((int64_t)i * tw + j) * channels + c] =
                    latents[(c * height + y + i) * width + x + j] / scale + shift;
    }
}

/* How much a tile counts `i` pixels from its edge: a ramp over the overlap, so that seams vanish. */
static float ramp(int i, int size, int overlap)
{
    int edge = i < size - 1 - i ? i : size - 1 - i;
    return edge >= overlap ? 1 : ((float)edge + 0.5f) / (float)overlap;
}

static void tile_out(const float *tile, int y, int x, int th, int tw, int overlap, int width, float *picture,
                     float *weight)
{
    for (int i = 0; i < th; i++)
        for (int j = 0; j < tw; j++) {
            float w = ramp(i, th, overlap) * ramp(j, tw, overlap);
            int64_t pixel = (int64_t)(y + i) * width + x + j;
            weight[pixel] += w;
            for (int c = 0; c < 3; c++)
                picture[pixel * 3 + c] += w * tile[((int64_t)i * tw + j) * 3 + c];
        }
}

/* Evenly spread tiles of one size: how many, and where tile k begins. */
static int tile_count(int length, int tile, int overlap)
{
    return length <= tile ? 1 : (length - overlap + tile - overlap - 1) / (tile - overlap);
}

static int tile_start(int k, int count, int length, int tile)
{
    return count == 1 ? 0 : (int)((int64_t)k * (length - tile) / (count - 1));
}

typedef struct tiling {
    int height, width, th, tw, overlap, rows, columns; /* in latents */
} tiling;

int autoencode_tile(const kiln_model *m, int tile_px, int side)
{
    int tile = tile_px ? tile_px / autoencode_factor(m) : side;
    tile = tile < 4 ? 4 : tile;
    return tile < side ? tile : side;
}

static tiling make_tiling(const kiln_model *m, int height, int width, int tile_px)
{
    tiling t = {.height = height,
                .width = width,
                .th = autoencode_tile(m, tile_px, height),
                .tw = autoencode_tile(m, tile_px, width)};
    t.overlap = tile_px ? (t.th > t.tw ? t.th : t.tw) / 4 : 0;
    t.rows = tile_count(height, t.th, t.overlap);
    t.columns = tile_count(width, t.tw, t.overlap);
    return t;
}

static kiln_status decode_tiles(kiln_session *s, const plan *p, run *r, const tiling *t, const float *latents,
                                float *picture, float *weight, kiln_error *err)
{
    const vae_config *v = &s->model->parts->vae;
    int f = vae_factor(v);
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < t->rows; i++)
        for (int j = 0; status == KILN_OK && j < t->columns; j++) {
            int y = tile_start(i, t->rows, t->height, t->th), x = tile_start(j, t->columns, t->width, t->tw);
            tile_in(v, latents, t->height, t->width, y, x, t->th, t->tw, run_input(r, "latents"));
            status = session_run(s, p, r, err);
            if (status != KILN_OK)
                break;
            if (t->rows * t->columns == 1)
                memcpy(picture, run_output(r, "image"),
                       (size_t)(t->height * f) * (size_t)(t->width * f) * 3 * sizeof(float));
            else
                tile_out(run_output(r, "image"), y * f, x * f, t->th * f, t->tw * f, t->overlap * f,
                         t->width * f, picture, weight);
        }
    return status;
}

kiln_status autoencode_decode(kiln_session *s, const float *latents, int height, int width, int tile_px,
                              float *picture, kiln_error *err)
{
    if (model_is_pixel(s->model)) {
        channels_last(latents, 3, (int64_t)height * width, 3, picture);
        return KILN_OK;
    }
    tiling t = make_tiling(s->model, height, width, tile_px);
    int f = autoencode_factor(s->model);
    int64_t pixels = (int64_t)height * f * width * f;
    network_shape size = {.batch = 1, .height = t.th, .width = t.tw};
    const plan *p = NULL;
    run *r = NULL;
    float *weight = NULL;
    kiln_status status = model_need(s->model, NETWORK_VAE_DECODER, err);
    if (status == KILN_OK)
        status = autoencode_check(s->model, err);
    if (status == KILN_OK)
        status = session_get_plan(s, NETWORK_VAE_DECODER, &size, &p, err);
    if (status == KILN_OK)
        status = run_new(p, &r, err);
    if (status == KILN_OK && t.rows * t.columns > 1) {
        memset(picture, 0, (size_t)pixels * 3 * sizeof(float));
        weight = calloc((size_t)pixels, sizeof *weight);
        if (!weight)
            status = fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    }
    if (status == KILN_OK)
        status = decode_tiles(s, p, r, &t, latents, picture, weight, err);
    for (int64_t i = 0; status == KILN_OK && weight && i < pixels * 3; i++)
        picture[i] /= weight[i / 3];
    free(weight);
    run_free(r);
    return status;
}

/* ------------------------------------------------------------------------------------ the public calls */

kiln_status kiln_encode_image(kiln_session *s, const kiln_image *picture, kiln_map **out, kiln_error *err)
{
    *out = NULL;
    session_begin(s);
    kiln_status status = model_need(s->model, NETWORK_VAE_ENCODER, err);
    if (status != KILN_OK)
        return status;
    if (!picture)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to encode");
    int f = autoencode_factor(s->model), width = kiln_image_width(picture),
        height = kiln_image_height(picture);
    if (width % f || height % f)
        return fail(err, KILN_BAD_ARGUMENT, "the picture is %dx%d; its sides must be multiples of %d", width,
                    height, f);
    status = memory_check_encode(s, height, width, err);
    if (status != KILN_OK)
        return status;
    int channels = s->model->parts->vae.latent_channels;
    float *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    float *latents = malloc((size_t)channels * (size_t)(width / f) * (size_t)(height / f) * sizeof *latents);
    if (!pixels || !latents)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    if (status == KILN_OK) {
        image_to_tensor(picture->picture, pixels);
        status = autoencode_encode(s, pixels, height, width, NULL, latents, err);
    }
    if (status == KILN_OK)
        status = map_new("latents", out, err);
    if (status == KILN_OK)
        status = map_add(*out, "latents", SHAPE4(1, channels, height / f, width / f), latents, err);
    if (status != KILN_OK) {
        kiln_map_free(*out);
        *out = NULL;
    }
    free(pixels);
    free(latents);
    return status;
}

kiln_status kiln_decode_latents(kiln_session *s, const kiln_map *map, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    session_begin(s);
    kiln_status status = model_need(s->model, NETWORK_VAE_DECODER, err);
    if (status != KILN_OK)
        return status;
    shape l = {0};
    const float *latents = map ? map_find(map, "latents", &l) : NULL;
    int f = autoencode_factor(s->model);
    if (!latents || l.rank != 4 || l.dim[0] != 1 || l.dim[1] != s->model->parts->vae.latent_channels)
        return fail(err, KILN_MISMATCH, "the map holds no tensor 'latents' [1,%d,h,w] for this model",
                    s->model->parts->vae.latent_channels);
    if (l.dim[2] < 1 || l.dim[3] < 1 || l.dim[2] * f > IMAGE_MAX_SIDE || l.dim[3] * f > IMAGE_MAX_SIDE ||
        l.dim[2] * l.dim[3] * f * f > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "latents of %lldx%lld give a picture that is too large",
                    (long long)l.dim[3], (long long)l.dim[2]);
    int height = (int)l.dim[2] * f, width = (int)l.dim[3] * f, tile = 0;
    status = memory_check_decode(s, (int)l.dim[2], (int)l.dim[3], &tile, err);
    if (status != KILN_OK)
        return status;
    float *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    image *picture = NULL;
    if (!pixels)
        return fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    status = autoencode_decode(s, latents, (int)l.dim[2], (int)l.dim[3], tile, pixels, err);
    if (status == KILN_OK)
        status = image_from_tensor(pixels, width, height, 3, 8, &picture, err);
    free(pixels);
    return status == KILN_OK ? kiln_image_wrap(picture, out, err) : status;
}
