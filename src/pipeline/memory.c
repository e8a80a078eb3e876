/* memory.c - how much memory a drawing takes, known before it starts.
 *
 * Three stages follow each other; the peak is that of the widest:
 *     text     the text encoders (forgotten afterwards)
 *     draw     the UNet's weights and the activations of one run, and those of previews
 *     decode   the UNet's weights stay, the VAE's join them, and the decoder's activations
 * and before them, when a picture is to be started from, the VAE's encoder. To each the process as it is now is added, less
 * the weights that it holds already, and the pictures' own buffers. Kernels are compiled for the measurement, but
 * no weight is read. */
#include "pipeline/guiding.h"
#include "pipeline/request.h"

#include "base/free_memory.h"
#include "pipeline/autoencode.h"
#include "pipeline/hires.h"
#include "pipeline/hypernetworks.h"
#include "pipeline/loras.h"
#include "text/chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weights that earlier drawings left in place: they are in resident_memory() already. */
static int64_t packed_now(const kiln_session *s)
{
    const kiln_model *m = s->model;
    int64_t bytes = (int64_t)(session_loras_bytes(s) + session_hypernetworks_bytes(s));
    for (int k = 0; k < NETWORK_COUNT; k++)
        bytes += (int64_t)packed_store_bytes(m->networks[k].store);
    return bytes;
}

typedef struct stage {
    int64_t activations, weights;
} stage;

static kiln_status measure(kiln_session *s, network_kind kind, network_shape size, stage *out,
                           kiln_error *err)
{
    *out = (stage){0};
    return model_has(s->model, kind) ? session_measure(s, kind, &size, &out->activations, &out->weights, err)
                                     : KILN_OK;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Both encoders' weights are there until the UNet's come; they run one after the other. */
static kiln_status measure_text(kiln_session *s, const request *r, int64_t *bytes, kiln_error *err)
{
    bool wanted =
        !r->options->conditioning || (r->guided && !r->zero_negative && !r->options->negative_conditioning);
    int64_t activations = 0, packed_bytes = 0;
    kiln_status status = KILN_OK;
    for (network_kind k = NETWORK_TEXT_1; status == KILN_OK && wanted && k <= NETWORK_TEXT_2; k++) {
        stage one;
        network_shape size = {.batch = 1,
                              .tokens = CHUNK_LENGTH,
                              .outputs =
                                  k == NETWORK_TEXT_2 ? CLIP_HIDDEN_RAW | CLIP_TEXT_EMBEDS : CLIP_HIDDEN_LN,
                              .skip = 1};
        status = measure(s, k, size, &one, err);
        activations = largest(activations, one.activations);
        packed_bytes += one.weights;
    }
    *bytes = activations + packed_bytes;
    return status;
}

/* One run for both contexts where they have as many tokens, else two that are there together. */
static kiln_status measure_unet(kiln_session *s, const request *r, stage *out, kiln_error *err)
{
    guidance_interval interval = guiding_interval(&r->options->guidance);
    bool apart = r->apart || (r->guided && guidance_pauses(&interval));
    network_shape size = {.batch = r->guided && !apart ? 2 : 1,
                          .height = r->latent_height,
                          .width = r->latent_width,
                          .tokens = r->tokens};
    steering_shape(r->options, &size);
    kiln_status status = measure(s, NETWORK_UNET, size, out, err);
    stage beside = {0};
    if (status == KILN_OK)
        status = steering_measure(s, r->options, &size, &beside.weights, &beside.activations, err);
    out->weights += beside.weights;
    out->activations += beside.activations;
    /* A run of its own: the negative's where it is longer or shorter, and that without the picture to be edited. */
    bool empty = r->options->guidance.perpendicular > 0 && !r->zero_negative;
    int more = apart + (r->guided && (r->extra == EXTRA_EDIT || empty));
    if (status != KILN_OK || !more)
        return status;
    stage second;
    size.batch = 1;
    size.tokens = r->negative_tokens;
    status = measure(s, NETWORK_UNET, size, &second, err);
    out->activations += more * second.activations;
    return status;
}

/* The decoder whole, or by tiles of 512 px when the whole would not fit under `limit`. `given` as in the options. */
static kiln_status choose_tile(kiln_session *s, int given, network_shape whole, int64_t before, int64_t limit,
                               int *tile, stage *decode, kiln_error *err)
{
    const kiln_model *m = s->model;
    *tile = given > 0 ? given : 0;
    network_shape size = {.batch = 1,
                          .height = autoencode_tile(m, *tile, whole.height),
                          .width = autoencode_tile(m, *tile, whole.width)};
    kiln_status status = measure(s, NETWORK_VAE_DECODER, size, decode, err);
    if (status != KILN_OK || given || before + decode->activations + decode->weights <= limit)
        return status;
    *tile = 512;
    size.height = autoencode_tile(m, *tile, whole.height);
    size.width = autoencode_tile(m, *tile, whole.width);
    return measure(s, NETWORK_VAE_DECODER, size, decode, err);
}

/* The bytes of everything but the networks, and how far all may grow. */
typedef struct room {
    int64_t before, limit;
} room;

static room room_now(const kiln_session *s, int64_t buffers, int64_t limit)
{
    int64_t resident = resident_memory(), available = free_memory("");
    if (!limit)
        limit = available ? resident + available - available / 20 : INT64_MAX;
    return (room){.before = largest(resident - packed_now(s), 0) + buffers, .limit = limit};
}

/* Pixels as floats and as bytes, and the weights of tiles. */
static int64_t picture_bytes(int width, int height)
{
    return (int64_t)width * height * (3 * 4 + 3 + 4);
}

static bool holds(const kiln_session *s, network_kind kind)
{
    for (int i = 0; i < s->plan_count; i++)
        if (s->plans[i].kind == kind)
            return true;
    return false;
}

typedef struct stages {
    stage unet, decode, encode, preview;
    int64_t text;
} stages;

static kiln_status measure_stages(kiln_session *s, request *r, stages *m, kiln_error *err)
{
    *m = (stages){0};
    bool encodes = r->kind.picture || r->extra == EXTRA_MASKED;
    kiln_status status = measure_unet(s, r, &m->unet, err);
    if (status == KILN_OK)
        status = measure_text(s, r, &m->text, err);
    if (status == KILN_OK && encodes)
        status =
            measure(s, NETWORK_VAE_ENCODER,
                    (network_shape){.batch = 1, .height = r->height, .width = r->width}, &m->encode, err);
    if (status == KILN_OK && r->options->preview_every)
        status = measure(s, NETWORK_PREVIEW,
                         (network_shape){.batch = 1, .height = r->latent_height, .width = r->latent_width},
                         &m->preview, err);
    return status;
}

/* Networks of an earlier picture stay: those of this batch, and those of the session's last drawing. */
static int64_t peak_of(const kiln_session *s, const request *r, const stages *m)
{
    bool more = r->options->batch > 1;
    int64_t unet = more || holds(s, NETWORK_UNET) ? m->unet.weights : 0;
    int64_t decoder = more || holds(s, NETWORK_VAE_DECODER) ? m->decode.weights : 0;
    int64_t both = m->unet.weights + m->preview.weights;
    int64_t peak = m->text + (holds(s, NETWORK_UNET) ? m->unet.weights : 0) +
                   (holds(s, NETWORK_VAE_DECODER) ? m->decode.weights : 0);
    if (m->encode.weights)
        peak = largest(peak, m->encode.weights + m->encode.activations + unet + decoder);
    int64_t encoder = more ? m->encode.weights : 0;
    peak = largest(peak, both + m->unet.activations + m->preview.activations + decoder + encoder);
    return largest(peak, both + m->decode.weights + m->decode.activations + encoder);
}

kiln_status request_plan_memory(kiln_session *s, request *r, kiln_error *err)
{
    drawing d = {.session = s, .height = r->latent_height, .width = r->latent_width};
    int64_t buffers = r->kind.beside + picture_bytes(r->width, r->height);
    buffers += (int64_t)drawing_elements(&d) * 4 * 12;
    buffers += (int64_t)r->width * r->height * (3 * (r->options->batch - 1) + (r->kind.picture ? 12 : 0));
    stages m;
    kiln_status status = measure_stages(s, r, &m, err);
    room space = room_now(s, buffers, r->options->memory_limit);
    network_shape whole = {.height = r->latent_height, .width = r->latent_width};
    if (status == KILN_OK)
        status = choose_tile(s, r->options->vae_tile, whole, space.before + m.unet.weights, space.limit,
                             &r->vae_tile, &m.decode, err);
    if (status != KILN_OK)
        return status;
    r->memory.weights = m.unet.weights + m.decode.weights;
    r->memory.activations = largest(m.unet.activations, largest(m.decode.activations, m.encode.activations));
    r->memory.peak = space.before + peak_of(s, r, &m);
    if (r->memory.peak > space.limit)
        return fail(err, KILN_NO_MEMORY, "drawing %dx%d takes %.2f GB, but only %.2f GB %s", r->width,
                    r->height, (double)r->memory.peak / 1e9, (double)space.limit / 1e9,
                    r->options->memory_limit ? "are allowed" : "are free");
    return KILN_OK;
}

static kiln_status check_room(const char *what, int height, int width, const room *space, const stage *one,
                              kiln_error *err)
{
    int64_t needed = space->before + one->weights + one->activations;
    if (needed <= space->limit)
        return KILN_OK;
    return fail(err, KILN_NO_MEMORY, "%s %dx%d takes %.2f GB, but only %.2f GB are free", what, width, height,
                (double)needed / 1e9, (double)space->limit / 1e9);
}

kiln_status memory_check_decode(kiln_session *s, int latent_height, int latent_width, int *tile,
                                kiln_error *err)
{
    stage decode;
    int f = autoencode_factor(s->model), height = latent_height * f, width = latent_width * f;
    room space = room_now(s, picture_bytes(width, height), 0);
    network_shape whole = {.height = latent_height, .width = latent_width};
    kiln_status status = choose_tile(s, 0, whole, space.before, space.limit, tile, &decode, err);
    return status == KILN_OK ? check_room("decoding a picture of", height, width, &space, &decode, err)
                             : status;
}

kiln_status memory_check_encode(kiln_session *s, int height, int width, kiln_error *err)
{
    stage encode;
    room space = room_now(s, picture_bytes(width, height), 0);
    kiln_status status = measure(s, NETWORK_VAE_ENCODER,
                                 (network_shape){.batch = 1, .height = height, .width = width}, &encode, err);
    return status == KILN_OK ? check_room("encoding a picture of", height, width, &space, &encode, err)
                             : status;
}

kiln_status kiln_draw_plan(kiln_session *s, const kiln_draw_options *options, kiln_memory_plan *out,
                           kiln_error *err)
{
    *out = (kiln_memory_plan){0};
    session_begin(s);
    request r;
    kiln_status status = request_resolve(s, options, (request_kind){.picture = options->init}, &r, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &r, err);
    if (status == KILN_OK)
        *out = r.memory;
    if (status == KILN_OK && hires_wanted(options))
        status = hires_plan(s, &r, out, err);
    request_fini(&r);
    return status;
}
