/* probe_folder.c - a diffusers folder: model_index.json names the parts, each part has a folder with config.json and
 * weights. */
#include "weights/probe_parts.h"

#include "formats/tensor_folder.h"
#include "model/config.h"
#include "weights/small_file.h"

#include <jansson.h>
#include <string.h>

/* Which part a config.json belongs to, by the class that wrote it; PART_COUNT for none of ours. */
static part_kind kind_of_config(const json_t *config)
{
    const char *class_name = json_string_value(json_object_get(config, "_class_name"));
    const json_t *architecture = json_array_get(json_object_get(config, "architectures"), 0);
    const char *text_class = json_string_value(architecture);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (class_name && strcmp(class_name, "UNet2DConditionModel") == 0)
        return PART_UNET;
    if (class_name && strcmp(class_name, "AutoencoderKL") == 0)
        return PART_VAE;
    if (class_name && strcmp(class_name, "SRVGGNetCompact") == 0)
        return PART_UPSCALER;
    if (text_class && strcmp(text_class, "CLIPTextModelWithProjection") == 0)
        return PART_TEXT_2;
    if (text_class || (type && strncmp(type, "clip", 4) == 0))
        return PART_TEXT;
    return PART_COUNT;
}

kiln_status part_parse_config(model_parts *parts, part_kind kind, const char *text, size_t length,
                              const char *name, kiln_error *err)
{
    kiln_error own;
    err = err ? err : &own;
    switch (kind) {
    case PART_UNET:
        return unet_config_parse(text, length, name, &parts->unet, err);
    case PART_VAE:
        return vae_config_parse(text, length, name, &parts->vae, err);
    case PART_TEXT:
        return clip_text_config_parse(text, length, name, &parts->text, err);
    case PART_TEXT_2:
        return clip_text_config_parse(text, length, name, &parts->text_2, err);
    case PART_UPSCALER:
        return upscale_config_parse(text, length, name, &parts->upscaler, err);
    case PART_COUNT:
        break;
    }
    return fail(err, KILN_UNSUPPORTED, "%s: this is the configuration of no known part of a model", name);
}

/* Read the part's configuration and open its weights; a part without weights is missing, not wrong. */
static kiln_status read_part(model_parts *parts, part_kind kind, const char *folder, const char *file,
                             const char *variant, kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    const char *config = arena_format(memory, "%s/config.json", folder), *text;
    char weights_path[4096];
    size_t length;
    kiln_error why;
    if (!config)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", folder);
    if (!path_is_file(config))
        return part_missing(parts, kind, err, "there is no %s", config);
    kiln_status status = small_file_read(config, memory, &text, &length, err);
    if (!status)
        status = part_parse_config(parts, kind, text, length, config, err);
    if (status)
        return status;
    if (!file) {
        if (tensor_folder_find(folder, variant, weights_path, sizeof weights_path, &why))
            return part_missing(parts, kind, err, "%s", why.text);
        file = weights_path;
    }
    const tensor_file *opened;
    status = probe_file_open(parts, file, &opened, err);
    if (!status) {
        part_found(parts, kind, opened, "", DIALECT_CANONICAL);
        parts->part[kind].config = text;
    }
    return status;
}

kiln_status probe_component(model_parts *parts, const char *folder, const char *file, const char *variant,
                            kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    const char *config = arena_format(memory, "%s/config.json", folder), *text;
    size_t length;
    if (!config)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", folder);
    kiln_status status = small_file_read(config, memory, &text, &length, err);
    if (status)
        return status;
    json_error_t where;
    json_t *document = json_loadb(text, length, 0, &where);
    part_kind kind = kind_of_config(document);
    json_decref(document);
    if (kind == PART_COUNT)
        return fail(err, KILN_UNSUPPORTED, "%s: this is the configuration of no known part of a model",
                    config);
    return read_part(parts, kind, folder, file, variant, err);
}

/* ------------------------------------------------------------------------------------ the whole folder */

/* Whether model_index.json gives the part a class; without the file every part is looked for. */
static bool is_named(const json_t *index, const char *name)
{
    return !index || json_is_string(json_array_get(json_object_get(index, name), 1));
}

static kiln_status read_tokenizer(model_parts *parts, const char *name, const char **out, kiln_error *err)
{
    const char *folder = arena_format(&parts->memory->arena, "%s/%s", parts->path, name);
    if (!folder)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
    *out = path_is_folder(folder) ? folder : NULL;
    return KILN_OK;
}

static kiln_status read_scheduler(model_parts *parts, const char **prediction, bool *zero_snr,
                                  kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    const char *path = arena_format(memory, "%s/scheduler/scheduler_config.json", parts->path), *text;
    size_t length;
    if (!path)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
    if (!path_is_file(path))
        return KILN_OK;
    kiln_status status = small_file_read(path, memory, &text, &length, err);
    if (status)
        return status;
    kiln_error own;
    config_reader r;
    static const char *const words[] = {"epsilon", "v_prediction", "sample", NULL};
    config_open(&r, text, length, path, err ? err : &own);
    *prediction = words[config_word(&r, "prediction_type", 0, words)];
    *zero_snr = config_bool(&r, "rescale_betas_zero_snr", false);
    parts->scheduler = text;
    return config_close(&r);
}

static kiln_status read_index(model_parts *parts, json_t **index, kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    const char *path = arena_format(memory, "%s/model_index.json", parts->path), *text;
    size_t length;
    *index = NULL;
    if (!path)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
    if (!path_is_file(path))
        return KILN_OK;
    kiln_status status = small_file_read(path, memory, &text, &length, err);
    if (status)
        return status;
    json_error_t where;
    *index = json_loadb(text, length, 0, &where);
    if (!*index)
        return fail(err, KILN_BAD_FORMAT, "%s: not valid JSON: %s (line %d)", path, where.text, where.line);
    if (!json_is_object(*index)) {
        json_decref(*index);
        *index = NULL;
        return fail(err, KILN_BAD_FORMAT, "%s: not a JSON object", path);
    }
    parts->zero_empty_prompt = json_is_true(json_object_get(*index, "force_zeros_for_empty_prompt"));
    parts->time_ids_score = json_is_true(json_object_get(*index, "requires_aesthetics_score"));
    /* A name that begins with an underscore, which diffusers passes over. What no drawing could take counts as unsaid. */
    double guidance =
        json_number_value(json_object_get(json_object_get(*index, "_recommended"), "guidance_scale"));
    parts->guidance = guidance > 0 && guidance <= 100 ? guidance : 0;
    return KILN_OK;
}

static kiln_status read_parts(model_parts *parts, const json_t *index, const char *variant, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int k = 0; k < PART_COUNT && !status; k++) {
        const char *name = part_name((part_kind)k);
        const char *folder = arena_format(&parts->memory->arena, "%s/%s", parts->path, name);
        if (!folder)
            status = fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
        else if (!is_named(index, name))
            status = part_missing(parts, (part_kind)k, err, "model_index.json names none");
        else if (!path_is_folder(folder))
            status = part_missing(parts, (part_kind)k, err, "there is no folder '%s'", name);
        else
            status = read_part(parts, (part_kind)k, folder, NULL, variant, err);
    }
    return status;
}

static bool any_present(const model_parts *parts)
{
    for (int k = 0; k < PART_COUNT; k++)
        if (parts->part[k].present)
            return true;
    return false;
}

/* Models whose denoiser is no UNet. */
static kiln_status check_known(const model_parts *parts, const json_t *index, kiln_error *err)
{
    static const char *const others[] = {"transformer", "prior", "decoder"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *class_name = json_string_value(json_array_get(json_object_get(index, others[i]), 1));
        if (class_name)
            return fail(err, KILN_UNSUPPORTED,
                        "%s: the model is built around a %.100s, which is not supported", parts->path,
                        class_name);
    }
    return KILN_OK;
}

/* A training's own folder has models in it: the sentence names the newest. */
static kiln_status no_model(const model_parts *parts, kiln_error *err)
{
    static const char *const newest[] = {"checkpoints/latest", "latest"};
    for (size_t i = 0; i < sizeof newest / sizeof *newest; i++) {
        const char *there = arena_format(&parts->memory->arena, "%s/%s", parts->path, newest[i]);
        if (there && path_is_folder(there))
            return fail(err, KILN_NOT_FOUND,
                        "%s: the folder is a training's and no model; its newest checkpoint is one: %s",
                        parts->path, there);
    }
    return fail(err, KILN_NOT_FOUND,
                "%s: the folder is no model: it has neither model_index.json nor unet/, vae/ "
                "or text_encoder/",
                parts->path);
}

kiln_status probe_folder(model_parts *parts, const probe_options *options, kiln_error *err)
{
    json_t *index;
    const char *prediction = NULL, *variant = options ? options->variant : NULL;
    bool zero_snr = false;
    kiln_status status = read_index(parts, &index, err);
    if (!status && (status = check_known(parts, index, err)))
        json_decref(index);
    if (status)
        return status;
    const char *config = arena_format(&parts->memory->arena, "%s/config.json", parts->path);
    if (config && !index && path_is_file(config)) {
        status = probe_component(parts, parts->path, NULL, variant, err);
    } else {
        status = read_parts(parts, index, variant, err);
        if (!status)
            status = read_tokenizer(parts, "tokenizer", &parts->tokenizer, err);
        if (!status)
            status = read_tokenizer(parts, "tokenizer_2", &parts->tokenizer_2, err);
        if (!status)
            status = read_scheduler(parts, &prediction, &zero_snr, err);
    }
    if (!status && !index && !any_present(parts))
        status = no_model(parts, err);
    json_decref(index);
    return status ? status : probe_conclude(parts, prediction, zero_snr, err);
}
