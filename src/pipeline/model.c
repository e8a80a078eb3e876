/* model.c - opening a model: find its parts, bind every parameter, prepare its tokenizers and its noise schedule.
 * Weights themselves are read when the first plan of a network is compiled. */
#include "pipeline/model.h"

#include "image/picture_text.h"
#include "pipeline/data_file.h"
#include "pipeline/model_words.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

kiln_model_options kiln_model_defaults(void)
{
    return (kiln_model_options){.precision = KILN_PRECISION_AUTO};
}

/* ------------------------------------------------------------------------------------ networks */

static const part_kind part_of[NETWORK_COUNT] = {
    [NETWORK_TEXT_1] = PART_TEXT,       [NETWORK_TEXT_2] = PART_TEXT_2,   [NETWORK_UNET] = PART_UNET,
    [NETWORK_VAE_ENCODER] = PART_VAE,   [NETWORK_VAE_DECODER] = PART_VAE, [NETWORK_PREVIEW] = PART_COUNT,
    [NETWORK_UPSCALER] = PART_UPSCALER,
};

bool model_has(const kiln_model *m, network_kind kind)
{
    return m->networks[kind].bound != NULL;
}

bool model_is_pixel(const kiln_model *m)
{
    const model_parts *p = m->parts;
    return p->part[PART_UNET].present && !p->part[PART_VAE].present && p->unet.in_channels == 3 &&
           p->unet.out_channels == 3;
}

kiln_status model_need(const kiln_model *m, network_kind kind, kiln_error *err)
{
    if (model_has(m, kind))
        return KILN_OK;
    if (part_of[kind] == PART_COUNT)
        return fail(err, KILN_NOT_FOUND, "%s: no preview decoder is open", m->path);
    return probe_require(m->parts, 1u << part_of[kind], err);
}

kiln_status model_draw_network(const kiln_model *m, network_kind kind, const network_shape *s,
                               const graph_hooks *hooks, graph **out, kiln_error *err)
{
    graph *g = *out = graph_new();
    if (!g)
        return fail(err, KILN_NO_MEMORY, "out of memory for a graph");
    g->hooks = hooks;
    clip_text_shape text = {.batch = s->batch,
                            .tokens = s->tokens,
                            .outputs = s->outputs,
                            .skip = s->skip,
                            .word_vectors = s->word_vectors};
    unet_shape unet = {.batch = s->batch,
                       .height = s->height,
                       .width = s->width,
                       .context_tokens = s->tokens,
                       .control = s->control,
                       .image_prompts = s->image_prompts};
    memcpy(unet.image_tokens, s->image_tokens, sizeof unet.image_tokens);
    switch (kind) {
    case NETWORK_TEXT_1:
        clip_text_draw(g, &m->parts->text, &text);
        break;
    case NETWORK_TEXT_2:
        clip_text_draw(g, &m->parts->text_2, &text);
        break;
    case NETWORK_UNET:
        unet_draw(g, &m->parts->unet, &unet);
        break;
    case NETWORK_VAE_ENCODER:
        vae_draw_encoder(g, &m->parts->vae, s->batch, s->height, s->width);
        break;
    case NETWORK_VAE_DECODER:
        vae_draw_decoder(g, &m->parts->vae, s->batch, s->height, s->width);
        break;
    case NETWORK_PREVIEW:
        if (m->preview_is_taesd)
            taesd_draw(g, &m->preview_taesd, s->batch, s->height, s->width);
        else
            vae_approx_draw(g, &m->preview_approx, s->batch, s->height, s->width);
        break;
    case NETWORK_UPSCALER:
        upscale_draw(g, &m->parts->upscaler, false, s->batch, s->height, s->width);
        break;
    case NETWORK_COUNT:
        break;
    }
    kiln_status status = graph_finish(g, err);
    if (status != KILN_OK) {
        graph_free(g);
        *out = NULL;
    }
    return status;
}

static kiln_status bind_graph(network *n, graph *g, const weights_place *place, kiln_error *err)
{
    kiln_status status = graph_finish(g, err);
    if (status == KILN_OK)
        status = weights_bind(g, place, 1, &n->bound, err);
    if (status == KILN_OK && !(n->store = packed_store_new(weights_source(n->bound))))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the weights");
    return status;
}

/* Bind a network's parameters now, so that a damaged or foreign file is refused when it is opened. */
static kiln_status bind_network(kiln_model *m, network_kind kind, kiln_error *err)
{
    part_kind part = part_of[kind];
    if (part == PART_COUNT || !m->parts->part[part].present)
        return KILN_OK;
    graph *g = probe_draw(m->parts, part, kind == NETWORK_VAE_ENCODER, err);
    if (!g)
        return err ? err->status : KILN_INTERNAL;
    kiln_status status = bind_graph(&m->networks[kind], g, &m->parts->part[part].place, err);
    graph_free(g);
    return status;
}

/* ------------------------------------------------------------------------------------ previews */

static const shape *find_in_file(void *self, const char *name)
{
    const tensor_entry *e = tensor_file_find(self, name);
    return e ? &e->shape : NULL;
}

static kiln_status open_preview(kiln_model *m, const char *path, kiln_error *err)
{
    if (!path)
        return KILN_OK;
    kiln_status status = tensor_file_open(path, &m->preview_file, err);
    if (status != KILN_OK)
        return status;
    tensor_finder finder = {find_in_file, m->preview_file};
    bool plain = false;
    kiln_error why;
    m->preview_is_taesd =
        taesd_config_from_tensors(&finder, true, &m->preview_taesd, &plain, &why) == KILN_OK;
    if (!m->preview_is_taesd && vae_approx_config_from_tensors(&finder, &m->preview_approx, &why) != KILN_OK)
        return fail(err, KILN_UNSUPPORTED,
                    "%s is neither a TAESD decoder nor a VAE-approx, which previews are made with", path);
    int channels = m->preview_is_taesd ? m->preview_taesd.in_channels : m->preview_approx.latent_channels;
    if (m->parts->part[PART_VAE].present && channels != m->parts->vae.latent_channels)
        return fail(err, KILN_MISMATCH, "%s decodes latents of %d channels, the model's have %d", path,
                    channels, m->parts->vae.latent_channels);
    graph *g = NULL;
    status = model_draw_network(m, NETWORK_PREVIEW, &(network_shape){.batch = 1, .height = 4, .width = 4},
                                NULL, &g, err);
    weights_place place = {m->preview_file, "",
                           m->preview_is_taesd && plain ? DIALECT_ORIGINAL : DIALECT_CANONICAL};
    if (status == KILN_OK)
        status = bind_graph(&m->networks[NETWORK_PREVIEW], g, &place, err);
    graph_free(g);
    return status;
}

/* ------------------------------------------------------------------------------------ tokenizers */

static bool is_folder(const char *path)
{
    char file[4096];
    snprintf(file, sizeof file, "%s/.", path);
    return access(file, F_OK) == 0;
}

static kiln_status open_tokenizer(const char *path, tokenizer **out, kiln_error *err)
{
    return is_folder(path) ? tokenizer_open(path, out, err) : tokenizer_open_gz(path, out, err);
}

/* Without a tokenizer of its own a model takes CLIP's, which all these families share; only the padding differs. */
static int32_t family_pad(const kiln_model *m, int encoder)
{
    bool zero = m->parts->family == FAMILY_SD2 || m->parts->family == FAMILY_X4_UPSCALER || encoder == 1;
    return zero ? 0 : -1;
}

kiln_status model_open_tokenizer(const kiln_model_options *o, const char *own, tokenizer **out,
                                 kiln_error *err)
{
    char bundled[4096];
    *out = NULL;
    if (o->tokenizer)
        return open_tokenizer(o->tokenizer, out, err);
    if (own)
        return tokenizer_open(own, out, err);
    return data_file_find(o->data_directory, "clip/bpe_simple_vocab_16e6.txt.gz", bundled, sizeof bundled)
               ? tokenizer_open_gz(bundled, out, err)
               : KILN_OK;
}

static kiln_status open_tokenizers(kiln_model *m, const kiln_model_options *o, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < 2; i++) {
        const char *own = i == 0 ? m->parts->tokenizer : m->parts->tokenizer_2;
        m->pad_id[i] = -1;
        if (!m->parts->part[i == 0 ? PART_TEXT : PART_TEXT_2].present)
            continue;
        status = model_open_tokenizer(o, own, &m->tokenizers[i], err);
        if (!own)
            m->pad_id[i] = family_pad(m, i);
    }
    return status;
}

/* ------------------------------------------------------------------------------------ open, close */

static kiln_status open_schedule(kiln_model *m, kiln_error *err)
{
    schedule_config config;
    kiln_status status =
        schedule_config_read(&config, m->parts->scheduler, strlen(m->parts->scheduler), NULL, m->path, err);
    if (status != KILN_OK)
        return status;
    if (m->parts->family != FAMILY_SDXL && m->parts->family != FAMILY_SDXL_REFINER)
        schedule_config_repair(&config);
    status = schedule_new(&m->schedule, &config, err);
    schedule_config_fini(&config);
    return status;
}

static char *stem_of(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    char *name = strndup(path + start, end - start), *dot = name ? strrchr(name, '.') : NULL;
    if (dot && dot != name && !is_folder(path))
        *dot = '\0';
    /* The name is written into pictures, whose texts are UTF-8. */
    for (char *p = name; p && !text_is_utf8(name, strlen(name)); p++)
        if ((unsigned char)*p >= 0x80)
            *p = '_';
    return name;
}

kiln_status model_plan_options(const kiln_model_options *o, plan_options *out, kiln_error *err)
{
    int cores = omp_get_num_procs();
    if (o->threads < 0 || o->threads > 1024)
        return fail(err, KILN_BAD_ARGUMENT, "threads is 0 (one per core) to 1024, not %d", o->threads);
    out->threads = o->threads ? o->threads : cores;
    out->backend = o->reference ? &backend_reference : &backend_cpu;
    out->fuse = true;
    out->compute = o->precision == KILN_PRECISION_F32    ? DTYPE_F32
                   : o->precision == KILN_PRECISION_BF16 ? DTYPE_BF16
                   : o->reference                        ? DTYPE_F32
                                                         : backend_best_precision();
    return KILN_OK;
}

static kiln_status open_parts(kiln_model *m, const char *path, const kiln_model_options *o, kiln_error *err)
{
    m->path = strdup(path);
    m->name = stem_of(path);
    m->data_directory = o->data_directory ? strdup(o->data_directory) : NULL;
    if (!m->path || !m->name || (o->data_directory && !m->data_directory))
        return fail(err, KILN_NO_MEMORY, "out of memory for a model");
    m->precision = o->precision;
    kiln_status status = model_plan_options(o, &m->plan, err);
    if (status == KILN_OK)
        status = probe_open(path, &(probe_options){.hints = o->hints, .vae = o->vae}, &m->parts, err);
    for (network_kind k = 0; status == KILN_OK && k < NETWORK_COUNT; k++)
        status = bind_network(m, k, err);
    if (status != KILN_OK)
        return status;
    const tensor_file *unet = m->parts->part[PART_UNET].place.file;
    m->hash.path = unet ? tensor_file_path(unet) : NULL;
    status = open_tokenizers(m, o, err);
    if (status == KILN_OK)
        status = model_words_open(m, &o->words, err);
    if (status == KILN_OK)
        status = open_schedule(m, err);
    return status == KILN_OK ? open_preview(m, o->preview, err) : status;
}

static void model_free(kiln_model *m)
{
    model_hash_fini(&m->hash);
    for (int k = 0; k < NETWORK_COUNT; k++) {
        packed_store_free(m->networks[k].store);
        weights_free(m->networks[k].bound);
    }
    model_words_free(m->words);
    tokenizer_close(m->tokenizers[0]);
    tokenizer_close(m->tokenizers[1]);
    schedule_free(m->schedule);
    tensor_file_close(m->preview_file);
    probe_close(m->parts);
    free(m->path);
    free(m->name);
    free(m->data_directory);
    free(m);
}

kiln_status kiln_model_open(const char *path, const kiln_model_options *options, kiln_model **out,
                            kiln_error *err)
{
    *out = NULL;
    if (!path)
        return fail(err, KILN_BAD_ARGUMENT, "there is no model to open");
    kiln_model_options defaults = kiln_model_defaults();
    kiln_error own;
    kiln_model *m = calloc(1, sizeof *m);
    if (!m || !model_hash_init(&m->hash, options ? options->hash_cache : NULL)) {
        free(m);
        return fail(err, KILN_NO_MEMORY, "out of memory for a model");
    }
    kiln_status status = open_parts(m, path, options ? options : &defaults, err ? err : &own);
    if (status != KILN_OK) {
        model_free(m);
        return status;
    }
    *out = m;
    return KILN_OK;
}

kiln_status kiln_model_close(kiln_model *m)
{
    if (!m)
        return KILN_OK;
    if (atomic_load(&m->sessions) > 0)
        return KILN_BUSY;
    model_free(m);
    return KILN_OK;
}

const char *kiln_model_family(const kiln_model *m)
{
    return m->parts->family_text;
}

void kiln_model_size(const kiln_model *m, int *width, int *height)
{
    int factor = m->parts->part[PART_VAE].present ? vae_factor(&m->parts->vae) : model_is_pixel(m) ? 1 : 8;
    int size = m->parts->part[PART_UNET].present ? m->parts->unet.sample_size * factor : 512;
    *width = *height = size > 0 ? size : 512;
}

double kiln_model_guidance(const kiln_model *m)
{
    return m->parts->guidance > 0 ? m->parts->guidance : kiln_draw_defaults().cfg;
}

int kiln_model_size_step(const kiln_model *m)
{
    if (model_is_pixel(m))
        return 1 << (m->parts->unet.levels - 1);
    return m->parts->part[PART_VAE].present ? vae_factor(&m->parts->vae) : 8;
}
