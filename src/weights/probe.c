/* probe.c - see probe.h. What the two layouts share: the parts' bookkeeping, the family, the scheduler. */
#include "weights/probe_parts.h"

#include "weights/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ parts */

const char *part_name(part_kind kind)
{
    static const char *const names[PART_COUNT] = {"unet", "vae", "text_encoder", "text_encoder_2",
                                                  "upscaler"};
    return (unsigned)kind < PART_COUNT ? names[kind] : "";
}

kiln_status probe_file_open(model_parts *parts, const char *path, const tensor_file **out, kiln_error *err)
{
    struct probe_memory *memory = parts->memory;
    *out = NULL;
    if (memory->file_count == PROBE_MAX_FILES)
        return fail(err, KILN_INTERNAL, "%s: too many files", path);
    kiln_status status = tensor_file_open(path, &memory->files[memory->file_count], err);
    if (!status)
        *out = memory->files[memory->file_count++];
    return status;
}

void part_found(model_parts *parts, part_kind kind, const tensor_file *file, const char *prefix,
                dialect names)
{
    parts->part[kind] = (model_part){.present = true, .place = {file, prefix, names}};
}

kiln_status part_missing(model_parts *parts, part_kind kind, kiln_error *err, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    parts->part[kind] = (model_part){.why_not = arena_text(&parts->memory->arena, text)};
    return parts->part[kind].why_not ? KILN_OK
                                     : fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
}

bool has_tensor(const tensor_file *file, const char *prefix, const char *name)
{
    char full[PATH_TEXT];
    int length = snprintf(full, sizeof full, "%s%s", prefix, name);
    return length > 0 && length < PATH_TEXT && tensor_file_find(file, full) != NULL;
}

static const shape *find_below(void *self, const char *name)
{
    const prefix_finder *f = self;
    char full[2 * PATH_TEXT];
    int length = snprintf(full, sizeof full, "%s%s", f->prefix, name);
    const tensor_entry *e = length < (int)sizeof full ? tensor_file_find(f->file, full) : NULL;
    return e ? &e->shape : NULL;
}

tensor_finder finder_of(prefix_finder *f)
{
    return (tensor_finder){find_below, f};
}

/* ------------------------------------------------------------------------------------ conclusions */

static model_family family_of(const model_parts *parts)
{
    const model_part *part = parts->part;
    const unet_config *u = &parts->unet;
    if (!part[PART_UNET].present) {
        if (part[PART_TEXT_2].present)
            return part[PART_TEXT].present ? FAMILY_SDXL : FAMILY_SDXL_REFINER;
        if (part[PART_TEXT].present)
            return parts->text.quick_gelu ? FAMILY_SD1 : FAMILY_SD2;
        return FAMILY_OTHER;
    }
    if (u->text_time)
        return u->context_channels == 1280 || (part[PART_TEXT_2].present && !part[PART_TEXT].present)
                   ? FAMILY_SDXL_REFINER
                   : FAMILY_SDXL;
    if (u->class_kind == UNET_CLASS_TABLE)
        return FAMILY_X4_UPSCALER;
    return u->linear_projection ? FAMILY_SD2 : FAMILY_SD1;
}

static const char *family_name(const model_parts *parts)
{
    static const char *const names[] = {"Stable Diffusion 1",           "Stable Diffusion 2",
                                        "Stable Diffusion XL",          "Stable Diffusion XL refiner",
                                        "Stable Diffusion x4 upscaler", "parts of a model"};
    const unet_config *u = &parts->unet;
    const char *task = "";
    if (parts->part[PART_UNET].present && !parts->part[PART_VAE].present && u->in_channels == 3 &&
        u->out_channels == 3)
        return "pixel-space diffusion";
    /* What a task adds comes in, and does not come out: latents of 8 channels are no pair of pictures. */
    if (parts->part[PART_UNET].present && parts->family != FAMILY_X4_UPSCALER &&
        u->in_channels != u->out_channels)
        task = u->in_channels == 9   ? " inpainting"
               : u->in_channels == 8 ? " instruct-pix2pix"
               : u->in_channels == 5 ? " depth"
                                     : "";
    return arena_format(&parts->memory->arena, "%s%s", names[parts->family], task);
}

/* SD 2.x at 768 px and the upscaler predict v; a file does not tell SD 2.x at 768 from that at 512, which is rarer. */
static const char *custom_prediction(const model_parts *parts)
{
    if (parts->family == FAMILY_X4_UPSCALER)
        return "v_prediction";
    if (parts->family == FAMILY_SD2 && parts->part[PART_UNET].present && parts->unet.in_channels == 4)
        return "v_prediction";
    return "epsilon";
}

/* scheduler_config.json as the family's first release has it. */
static const char *custom_scheduler(const model_parts *parts, bool zero_snr)
{
    const char *class_name = "DDIMScheduler",
               *more = "\"clip_sample\": false,\n  \"set_alpha_to_one\": false";
    const char *start = "0.00085", *end = "0.012";
    if (parts->family == FAMILY_SD1 || parts->family == FAMILY_OTHER) {
        class_name = "PNDMScheduler";
        more = "\"set_alpha_to_one\": false,\n  \"skip_prk_steps\": true";
    } else if (parts->family == FAMILY_SDXL || parts->family == FAMILY_SDXL_REFINER) {
        class_name = "EulerDiscreteScheduler";
        more = "\"interpolation_type\": \"linear\",\n  \"use_karras_sigmas\": false";
    } else if (parts->family == FAMILY_X4_UPSCALER) {
        start = "0.0001";
        end = "0.02";
    }
    return arena_format(
        &parts->memory->arena,
        "{\n  \"_class_name\": \"%s\",\n  \"_diffusers_version\": \"0.31.0\",\n"
        "  \"beta_end\": %s,\n  \"beta_schedule\": \"scaled_linear\",\n  \"beta_start\": %s,\n"
        "  \"num_train_timesteps\": 1000,\n  \"prediction_type\": \"%s\",\n"
        "%s  \"steps_offset\": 1,\n  \"timestep_spacing\": \"%s\",\n  %s,\n"
        "  \"trained_betas\": null\n}\n",
        class_name, end, start, parts->prediction, zero_snr ? "  \"rescale_betas_zero_snr\": true,\n" : "",
        zero_snr ? "trailing" : "leading", more);
}

kiln_status probe_conclude(model_parts *parts, const char *prediction, bool zero_snr, kiln_error *err)
{
    parts->family = family_of(parts);
    parts->family_text = family_name(parts);
    parts->prediction = prediction ? prediction : custom_prediction(parts);
    parts->prediction_assumed = !prediction;
    if (parts->single_file && parts->family == FAMILY_SD2 && strcmp(parts->prediction, "epsilon") == 0)
        parts->unet.sample_size = 64;
    if (parts->single_file && parts->family == FAMILY_SDXL)
        parts->vae.sample_size = 1024;
    if (!parts->scheduler) {
        parts->scheduler = custom_scheduler(parts, zero_snr);
        parts->scheduler_assumed = true;
    }
    if (!parts->family_text || !parts->scheduler)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ the interface */

static kiln_status probe_all(model_parts *parts, const probe_options *options, kiln_error *err)
{
    model_hints hints;
    kiln_status status = hints_read(options->hints, parts->path, &parts->memory->arena, &hints, err);
    if (status)
        return status;
    if (path_is_folder(parts->path))
        status = probe_folder(parts, options, err);
    else
        status = probe_single_file(parts, &hints, err);
    if (status || !options->vae)
        return status;
    float scaling = parts->part[PART_VAE].present ? parts->vae.scaling_factor : hints.vae_scaling;
    if (scaling <= 0.0f && (parts->family == FAMILY_SDXL || parts->family == FAMILY_SDXL_REFINER))
        scaling = vae_sdxl.scaling_factor;
    return probe_vae(parts, options->vae, options->variant, scaling, hints.vae_groups, err);
}

kiln_status probe_open(const char *path, const probe_options *options, model_parts **out, kiln_error *err)
{
    static const probe_options plain = {0};
    *out = NULL;
    model_parts *parts = calloc(1, sizeof *parts);
    if (parts)
        parts->memory = calloc(1, sizeof *parts->memory);
    if (!parts || !parts->memory) {
        free(parts);
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    }
    /* "folder/" and "folder" are the same. */
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    parts->path = arena_text_part(&parts->memory->arena, path, length);
    kiln_status status = parts->path ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    if (!status)
        status = probe_all(parts, options ? options : &plain, err);
    if (status)
        probe_close(parts);
    else
        *out = parts;
    return status;
}

void probe_close(model_parts *parts)
{
    if (!parts)
        return;
    for (int i = 0; i < parts->memory->file_count; i++)
        tensor_file_close(parts->memory->files[i]);
    arena_fini(&parts->memory->arena);
    free(parts->memory);
    free(parts);
}

unsigned probe_drawing_parts(const model_parts *parts)
{
    unsigned all = 1u << PART_UNET | 1u << PART_VAE;
    if (parts->family == FAMILY_SDXL_REFINER)
        return all | 1u << PART_TEXT_2;
    return all | 1u << PART_TEXT | (parts->family == FAMILY_SDXL ? 1u << PART_TEXT_2 : 0);
}

kiln_status probe_require(const model_parts *parts, unsigned wanted, kiln_error *err)
{
    char text[900] = "";
    int missing = 0;
    for (int k = 0; k < PART_COUNT; k++) {
        const model_part *part = &parts->part[k];
        size_t used = strlen(text);
        if (!(wanted & 1u << k) || part->present)
            continue;
        snprintf(text + used, sizeof text - used, "%s%s%s%s%s", missing ? ", " : "", part_name((part_kind)k),
                 part->why_not ? " (" : "", part->why_not ? part->why_not : "", part->why_not ? ")" : "");
        missing++;
    }
    if (!missing)
        return KILN_OK;
    return fail(err, KILN_NOT_FOUND, "%s: the model lacks %s", parts->path, text);
}

graph *probe_draw(const model_parts *parts, part_kind kind, bool encoder, kiln_error *err)
{
    graph *g = graph_new();
    int factor = kind == PART_VAE ? vae_factor(&parts->vae) : 1;
    int step = kind == PART_UNET ? 1 << parts->unet.levels : 1;
    const unet_shape small_unet = {.batch = 1,
                                   .height = step,
                                   .width = step,
                                   .context_tokens = 1,
                                   .time_ids = parts->time_ids_score ? 5 : 6};
    const clip_text_shape small_text = {
        .batch = 1, .tokens = 1, .outputs = CLIP_LAST_HIDDEN_STATE, .skip = 1};
    if (!g) {
        fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
        return NULL;
    }
    if (kind == PART_UNET)
        unet_draw(g, &parts->unet, &small_unet);
    else if (kind == PART_VAE && encoder)
        vae_draw_encoder(g, &parts->vae, 1, factor, factor);
    else if (kind == PART_VAE)
        vae_draw_decoder(g, &parts->vae, 1, 1, 1);
    else if (kind == PART_UPSCALER)
        upscale_draw(g, &parts->upscaler, false, 1, parts->upscaler.multiple, parts->upscaler.multiple);
    else
        clip_text_draw(g, kind == PART_TEXT ? &parts->text : &parts->text_2, &small_text);
    if (graph_finish(g, err)) {
        fail_within(err, err ? err->status : KILN_MISMATCH, "%s: %s", parts->path, part_name(kind));
        graph_free(g);
        return NULL;
    }
    return g;
}
