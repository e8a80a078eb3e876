/* memory.c - how much memory a drawing takes, known before it starts.
 *
 * Three stages follow each other; the peak is that of the widest:
 *     text     the text encoders (one after the other; forgotten afterwards)
 *     draw     the UNet's weights and the activations of one run
 *     decode   the UNet's weights stay, the VAE's join them, and the decoder's activations
 * To each the process as it is now is added, and the picture's own buffers. Kernels are compiled for the measurement, but
 * no weight is read. */
#include "pipeline/request.h"

#include "pipeline/autoencode.h"
#include "text/chunks.h"

#include <stdio.h>
#include <unistd.h>

/* The pages that this process has now, and those that the machine can still give, in bytes. 0: unknown. */
static int64_t resident_now(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*s %lld", &pages) != 1)
        pages = 0;
    fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int64_t available_now(void)
{
    char line[256];
    long long kilobytes = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kilobytes) == 1)
            break;
    fclose(f);
    return (int64_t)kilobytes * 1024;
}

/* Weights that earlier drawings left in place: they are in resident_now() already. */
static int64_t packed_now(const kiln_model *m)
{
    int64_t bytes = 0;
    for (int k = 0; k < NETWORK_COUNT; k++)
        bytes += (int64_t)packed_store_bytes(m->networks[k].store);
    return bytes;
}

typedef struct stage {
    int64_t activations, weights;
} stage;

static kiln_status measure(kiln_session *s, network_kind kind, network_shape size, stage *out, kiln_error *err)
{
    *out = (stage){0};
    return model_has(s->model, kind) ? session_measure(s, kind, &size, &out->activations, &out->weights, err) : KILN_OK;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static kiln_status measure_text(kiln_session *s, const request *r, int64_t *peak, kiln_error *err)
{
    *peak = 0;
    kiln_status status = KILN_OK;
    for (network_kind k = NETWORK_TEXT_1; status == KILN_OK && !r->options->conditioning && k <= NETWORK_TEXT_2; k++) {
        stage one;
        network_shape size = {.batch = 1, .tokens = CHUNK_LENGTH, .outputs = k == NETWORK_TEXT_2 ? CLIP_HIDDEN_RAW | CLIP_TEXT_EMBEDS : CLIP_HIDDEN_LN, .skip = 1};
        status = measure(s, k, size, &one, err);
        *peak = largest(*peak, one.activations + one.weights);
    }
    return status;
}

/* The decoder whole, or by tiles of 512 px when the whole would not fit under `limit`. */
static kiln_status choose_tile(kiln_session *s, request *r, int64_t before, int64_t limit, stage *decode, kiln_error *err)
{
    int f = autoencode_factor(s->model), given = r->options->vae_tile;
    r->vae_tile = given > 0 ? given : 0;
    network_shape whole = {.batch = 1, .height = r->latent_height, .width = r->latent_width};
    if (given > 0) {
        int tile = given / f;
        whole.height = whole.height < tile ? whole.height : tile;
        whole.width = whole.width < tile ? whole.width : tile;
    }
    kiln_status status = measure(s, NETWORK_VAE_DECODER, whole, decode, err);
    if (status != KILN_OK || given || before + decode->activations + decode->weights <= limit)
        return status;
    r->vae_tile = 512;
    whole.height = whole.height < 512 / f ? whole.height : 512 / f;
    whole.width = whole.width < 512 / f ? whole.width : 512 / f;
    return measure(s, NETWORK_VAE_DECODER, whole, decode, err);
}

kiln_status request_plan_memory(kiln_session *s, request *r, kiln_error *err)
{
    drawing d = {.session = s, .height = r->latent_height, .width = r->latent_width};
    stage unet, decode, encode = {0};
    int64_t text = 0, picture = (int64_t)r->width * r->height * (3 * 4 + 3 + 4) + (int64_t)drawing_elements(&d) * 4 * 12;
    network_shape size = {.batch = r->guided ? 2 : 1, .height = r->latent_height, .width = r->latent_width, .tokens = CHUNK_LENGTH};
    kiln_status status = measure(s, NETWORK_UNET, size, &unet, err);
    int64_t now = resident_now() - packed_now(s->model) + picture, available = available_now();
    int64_t limit = r->options->memory_limit ? r->options->memory_limit : available ? now + available - available / 20 : INT64_MAX;
    if (status == KILN_OK)
        status = measure_text(s, r, &text, err);
    if (status == KILN_OK && r->options->init)
        status = measure(s, NETWORK_VAE_ENCODER, (network_shape){.batch = 1, .height = r->height, .width = r->width}, &encode, err);
    if (status == KILN_OK)
        status = choose_tile(s, r, now + unet.weights, limit, &decode, err);
    if (status != KILN_OK)
        return status;
    r->memory.weights = unet.weights + decode.weights;
    r->memory.activations = largest(unet.activations, largest(decode.activations, encode.activations));
    int64_t peak = largest(text, largest(unet.weights + unet.activations, unet.weights + decode.weights + decode.activations));
    peak = largest(peak, encode.weights + encode.activations);
    r->memory.peak = now + peak;
    if (r->memory.peak > limit)
        return fail(err, KILN_NO_MEMORY, "drawing %dx%d takes %.2f GB, but only %.2f GB %s", r->width, r->height, (double)r->memory.peak / 1e9,
                    (double)limit / 1e9, r->options->memory_limit ? "are allowed" : "are free");
    return KILN_OK;
}

kiln_status kiln_draw_plan(kiln_session *s, const kiln_draw_options *options, kiln_memory_plan *out, kiln_error *err)
{
    *out = (kiln_memory_plan){0};
    session_begin(s);
    request r;
    kiln_status status = request_resolve(s, options, &r, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &r, err);
    if (status == KILN_OK)
        *out = r.memory;
    request_fini(&r);
    return status;
}
