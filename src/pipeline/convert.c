/* convert.c - kiln_convert: between checkpoints, folders and element types.
 *
 *     folder -> folder, file -> folder     every part under the canonical names, with config.json    (convert_folder.c)
 *     folder -> file.safetensors           every part under the original names                       (here)
 *     file -> file.safetensors             the tensors as they are named, whatever they are          (convert_names.c)
 *     an embedding -> .safetensors, .pt, .png                                                      (convert_words.c)
 *     ... with LoRAs                       the model's own tensors, LoRAs merged into them           (convert_lora.c)
 *
 * Everything is written beside its place and renamed when it is complete. */
#include "pipeline/convert.h"

#include "weights/config_text.h"
#include "weights/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------ shared pieces */

kiln_status bound_models_open(bound_models *models, const model_parts *parts, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int k = 0; k < PART_COUNT; k++)
        for (int half = 0; half < (k == PART_VAE ? 2 : 1) && parts->part[k].present && !status; half++) {
            bound_model *m = &models->model[models->count];
            m->part = (part_kind)k;
            m->graph = probe_draw(parts, m->part, half == 1, err);
            if (!m->graph)
                return err ? err->status : KILN_MISMATCH;
            models->count++;
            status = weights_bind(m->graph, &parts->part[k].place, 1, &m->weights, err);
        }
    return status;
}

void bound_models_fini(bound_models *models)
{
    for (int i = 0; i < models->count; i++) {
        bound_model_forget_loras(&models->model[i]);
        weights_free(models->model[i].weights);
        graph_free(models->model[i].graph);
    }
    models->count = 0;
}

bool conversion_step(void *self, int64_t bytes)
{
    conversion *c = self;
    c->done += bytes;
    if (!c->progress)
        return true;
    const kiln_progress progress = {.stage = "convert", .done = c->done, .total = c->total, .images = 1};
    return c->progress(c->user, &progress);
}

weights_output conversion_output(const conversion *c, const bound_model *m, const char *prefix, dialect names)
{
    return (weights_output){.graph = m->graph,
                            .source = m->stack.count ? lora_source(&m->stack) : weights_source(m->weights),
                            .prefix = prefix,
                            .dialect = names,
                            .type = c->type,
                            .as = c->keep_types ? m->weights : NULL};
}

kiln_status write_text_file(const char *path, const char *text, size_t length, kiln_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail_system(err, "%s: cannot be written", path);
    bool whole = fwrite(text, 1, length, file) == length && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (fclose(file) != 0 || !whole)
        return fail_system(err, "%s: cannot be written", path);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ one checkpoint */

static const char *original_prefix(const model_parts *parts, part_kind part)
{
    bool xl = parts->family == FAMILY_SDXL;
    switch (part) {
    case PART_UNET:
        return UNET_ORIGINAL_PREFIX;
    case PART_VAE:
        return VAE_ORIGINAL_PREFIX;
    case PART_TEXT:
        return xl                                             ? CLIP_PREFIX_SDXL_1
               : parts->text.dialect == CLIP_DIALECT_OPENCLIP ? CLIP_PREFIX_SD2
                                                              : CLIP_PREFIX_SD1;
    case PART_TEXT_2:
        return xl ? CLIP_PREFIX_SDXL_2 : "conditioner.embedders.0.model.";
    case PART_UPSCALER: /* a file of its own, without a prefix */
    case PART_COUNT:
        break;
    }
    return "";
}

/* The names that each family's own code gives its text encoders. */
static void choose_text_dialects(model_parts *parts)
{
    bool openclip = parts->family == FAMILY_SD2 || parts->family == FAMILY_X4_UPSCALER;
    parts->text.dialect = openclip ? CLIP_DIALECT_OPENCLIP : CLIP_DIALECT_TRANSFORMERS;
    parts->text_2.dialect = CLIP_DIALECT_OPENCLIP;
}

/* What the tensors do not tell goes into the metadata, so that the way back needs no hints. */
static kiln_status write_metadata(safetensors_writer *writer, const model_parts *parts, kiln_error *err)
{
    kiln_status status = safetensors_writer_metadata(writer, "format", "pt", err);
    if (!status && !parts->prediction_assumed)
        status = safetensors_writer_metadata(
            writer, "modelspec.prediction_type",
            strcmp(parts->prediction, "v_prediction") == 0 ? "v" : parts->prediction, err);
    if (!status && !parts->scheduler_assumed)
        status = safetensors_writer_metadata(writer, "kiln.scheduler", parts->scheduler, err);
    for (int k = 0; k < PART_COUNT && !status; k++) {
        char key[64];
        if (!parts->part[k].present)
            continue;
        char *text = part_config_text(parts, (part_kind)k);
        snprintf(key, sizeof key, "kiln.%s", part_name((part_kind)k));
        status = text ? safetensors_writer_metadata(writer, key, text, err)
                      : fail(err, KILN_NO_MEMORY, "out of memory for the configuration of the %s",
                             part_name((part_kind)k));
        free(text);
    }
    return status;
}

static kiln_status write_single(const model_parts *parts, const bound_models *models, const char *to,
                                conversion *c, kiln_error *err)
{
    safetensors_writer *writer;
    weights_output output[CONVERT_MAX_MODELS];
    const weights_progress progress = {conversion_step, c};
    kiln_status status = safetensors_writer_open(to, &writer, err);
    if (status)
        return status;
    status = write_metadata(writer, parts, err);
    for (int i = 0; i < models->count && !status; i++) {
        const bound_model *m = &models->model[i];
        output[i] = conversion_output(c, m, original_prefix(parts, m->part), DIALECT_ORIGINAL);
        c->total += weights_output_bytes(&output[i]);
        status = weights_declare(writer, &output[i], err);
    }
    for (int i = 0; i < models->count && !status; i++)
        status = weights_write(writer, &output[i], &progress, err);
    if (!status)
        return safetensors_writer_finish(writer, err);
    safetensors_writer_abort(writer);
    return status;
}

kiln_status convert_to_single(model_parts *parts, const char *to, conversion *c, kiln_error *err)
{
    bound_models models = {0};
    choose_text_dialects(parts);
    kiln_status status = bound_models_open(&models, parts, err);
    if (!status)
        status = convert_merge_loras(&models, c, err);
    if (!status)
        status = write_single(parts, &models, to, c, err);
    bound_models_fini(&models);
    return status;
}

/* ------------------------------------------------------------------------------------ the interface */

kiln_convert_options kiln_convert_defaults(void)
{
    return (kiln_convert_options){0};
}

kiln_status convert_read_type(const char *text, conversion *c, kiln_error *err)
{
    static const struct {
        const char *text;
        dtype type;
    } types[] = {{"f32", DTYPE_F32}, {"f16", DTYPE_F16}, {"bf16", DTYPE_BF16}};
    c->keep_types = !text;
    for (size_t i = 0; text && i < sizeof types / sizeof *types; i++)
        if (strcmp(text, types[i].text) == 0) {
            c->type = types[i].type;
            return KILN_OK;
        }
    return text ? fail(err, KILN_BAD_ARGUMENT, "the element type is f32, f16 or bf16, not '%s'", text)
                : KILN_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static kiln_status check_target(const char *to, bool *to_file, kiln_error *err)
{
    const char *slash = strrchr(to, '/'), *name = slash ? slash + 1 : to, *dot = strrchr(name, '.');
    *to_file = ends_with(to, ".safetensors");
    if (!*to)
        return fail(err, KILN_BAD_ARGUMENT, "the name of the file or folder to write is empty");
    if (!*to_file && *name && dot && dot != name && !path_is_folder(to))
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s: only .safetensors files and folders are written (end a folder's name "
                    "with '/')",
                    to);
    return KILN_OK;
}

static kiln_status convert_parts(const char *from, const char *to, bool to_file, const char *hints,
                                 conversion *c, kiln_error *err)
{
    model_parts *parts;
    bound_models models = {0};
    kiln_status status = probe_open(from, &(probe_options){.hints = hints}, &parts, err);
    if (status)
        return status;
    if (to_file) {
        status = convert_to_single(parts, to, c, err);
    } else {
        status = bound_models_open(&models, parts, err);
        if (!status)
            status = convert_merge_loras(&models, c, err);
        if (!status)
            status = convert_to_folder(parts, &models, to, c, err);
    }
    bound_models_fini(&models);
    probe_close(parts);
    return status;
}

kiln_status kiln_convert(const char *from, const char *to, const kiln_convert_options *options,
                         kiln_error *err)
{
    kiln_error own;
    bool to_file;
    const kiln_convert_options o = options ? *options : kiln_convert_defaults();
    conversion c = {.progress = o.progress, .user = o.user};
    err = err ? err : &own;
    if (!from || !to)
        return fail(err, KILN_BAD_ARGUMENT, "a model to read and a name to write are needed");
    if (!path_is_folder(from) && convert_takes_words(from, to))
        return convert_words(from, to, &o, err);
    kiln_status status = convert_read_type(o.type, &c, err);
    if (!status)
        status = check_target(to, &to_file, err);
    if (status)
        return status;
    if (to_file && !path_is_folder(from) && !o.lora_count)
        return convert_names_kept(from, to, &c, err);
    status = convert_open_loras(&c, &o, err);
    if (!status)
        status = convert_parts(from, to, to_file, o.hints, &c, err);
    convert_close_loras(&c);
    return status;
}
