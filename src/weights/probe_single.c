/* probe_single.c - a checkpoint in one file: which models it holds is told from prefixes, how each is built from names
 * and shapes.
 *
 *     model.diffusion_model.             the UNet
 *     first_stage_model.                 the VAE
 *     cond_stage_model.transformer.      SD 1.x: CLIP in transformers' names
 *     cond_stage_model.model.            SD 2.x: OpenCLIP
 *     conditioner.embedders.0.transformer.  and  .1.model.    SDXL's two
 *     conditioner.embedders.0.model.     SDXL's refiner (its only one), and SD 2.x stored by newer code
 *
 * A file that Kiln wrote says more: its metadata hold each part's config.json ("kiln.unet", ...) and the scheduler's.
 *
 * Easy to get wrong: an SD 2.x file holds 24 layers of text encoder of which the last is never used, where its folder
 * form holds 23; and a text_projection that belongs to no SD 2.x model. */
#include "weights/probe_parts.h"

#include "weights/describe.h"
#include "weights/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SGM_FIRST_OPENCLIP "conditioner.embedders.0.model."

/* The part's configuration out of the file's metadata; false when it is not there. */
static bool read_told_config(model_parts *parts, part_kind kind, const tensor_file *file, kiln_status *status,
                             kiln_error *err)
{
    char key[64];
    snprintf(key, sizeof key, "kiln.%s", part_name(kind));
    const char *text = tensor_file_metadata(file, key);
    if (!text)
        return false;
    *status = part_parse_config(parts, kind, text, strlen(text), key, err);
    return true;
}

static kiln_status find_unet(model_parts *parts, const tensor_file *file, const model_hints *hints,
                             kiln_error *err)
{
    prefix_finder below = {file, UNET_ORIGINAL_PREFIX};
    tensor_finder finder = finder_of(&below);
    static const char first[] = "input_blocks.0.0.weight";
    if (!has_tensor(file, below.prefix, first)) {
        below.prefix = "";
        if (!has_tensor(file, below.prefix, first))
            return part_missing(parts, PART_UNET, err, "there is no tensor '%s%s'", UNET_ORIGINAL_PREFIX,
                                first);
    }
    kiln_status status;
    if (!read_told_config(parts, PART_UNET, file, &status, err))
        status = unet_config_from_tensors(&finder, &hints->unet, &parts->unet, err);
    if (!status)
        part_found(parts, PART_UNET, file, below.prefix, DIALECT_ORIGINAL);
    return status;
}

static kiln_status find_vae(model_parts *parts, const tensor_file *file, const model_hints *hints,
                            kiln_error *err)
{
    prefix_finder below = {file, VAE_ORIGINAL_PREFIX};
    tensor_finder finder = finder_of(&below);
    static const char first[] = "decoder.conv_in.weight";
    if (!has_tensor(file, below.prefix, first)) {
        below.prefix = "";
        if (!has_tensor(file, below.prefix, first) ||
            !has_tensor(file, "", "decoder.mid.block_1.conv1.weight"))
            return part_missing(parts, PART_VAE, err, "there is no tensor '%s%s'", VAE_ORIGINAL_PREFIX,
                                first);
    }
    float scaling = hints->vae_scaling;
    if (scaling <= 0.0f && parts->part[PART_UNET].present && parts->unet.text_time)
        scaling = vae_sdxl.scaling_factor;
    if (scaling <= 0.0f && parts->part[PART_UNET].present && parts->unet.class_kind == UNET_CLASS_TABLE)
        scaling = vae_x4_upscaler.scaling_factor;
    kiln_status status;
    if (!read_told_config(parts, PART_VAE, file, &status, err))
        status = vae_config_from_tensors(&finder, scaling, hints->vae_groups, &parts->vae, err);
    if (!status)
        part_found(parts, PART_VAE, file, below.prefix, DIALECT_ORIGINAL);
    return status;
}

static clip_dialect text_dialect(const tensor_file *file, const char *prefix)
{
    if (has_tensor(file, prefix, "text_model.embeddings.token_embedding.weight"))
        return CLIP_DIALECT_TRANSFORMERS;
    return has_tensor(file, prefix, "embeddings.token_embedding.weight") ? CLIP_DIALECT_BARE
                                                                         : CLIP_DIALECT_OPENCLIP;
}

/* What a first encoder is not told by its tensors alone: it has no projection, and SD 2.x runs without the last of
 * its 24 layers. A file that some folder was turned into may hold the 23 that are run. */
static void trim_first_text(clip_text_config *c)
{
    c->projection_channels = 0;
    if (c->dialect == CLIP_DIALECT_OPENCLIP && c->layers > 1 && c->layers != clip_text_h.layers)
        c->layers--;
}

static kiln_status find_text(model_parts *parts, part_kind kind, const tensor_file *file, const char *prefix,
                             int heads, const char *activation, kiln_error *err)
{
    prefix_finder below = {file, prefix};
    tensor_finder finder = finder_of(&below);
    clip_text_config *config = kind == PART_TEXT ? &parts->text : &parts->text_2;
    kiln_status status;
    if (read_told_config(parts, kind, file, &status, err)) {
        config->dialect = text_dialect(file, prefix);
    } else {
        status = clip_text_config_from_tensors(&finder, heads, config, err);
        if (activation)
            config->quick_gelu = strcmp(activation, "quick_gelu") == 0;
        if (kind == PART_TEXT)
            trim_first_text(config);
    }
    if (!status)
        part_found(parts, kind, file, prefix, DIALECT_ORIGINAL);
    return status;
}

/* A prefix below which there is a CLIP in any dialect. */
static bool has_text(const tensor_file *file, const char *prefix)
{
    return has_tensor(file, prefix, "text_model.embeddings.token_embedding.weight") ||
           has_tensor(file, prefix, "embeddings.token_embedding.weight") ||
           has_tensor(file, prefix, "token_embedding.weight");
}

static kiln_status find_texts(model_parts *parts, const tensor_file *file, const model_hints *hints,
                              kiln_error *err)
{
    static const char *const firsts[] = {CLIP_PREFIX_SD1, CLIP_PREFIX_SDXL_1, CLIP_PREFIX_SD2, NULL};
    const char *first = NULL, *second = has_text(file, CLIP_PREFIX_SDXL_2) ? CLIP_PREFIX_SDXL_2 : NULL;
    for (int i = 0; firsts[i] && !first; i++)
        if (has_text(file, firsts[i]))
            first = firsts[i];
    if (!first && has_text(file, SGM_FIRST_OPENCLIP)) {
        if (parts->part[PART_UNET].present && parts->unet.text_time)
            second = second ? second : SGM_FIRST_OPENCLIP;
        else
            first = SGM_FIRST_OPENCLIP;
    }
    kiln_status status;
    if (first)
        status = find_text(parts, PART_TEXT, file, first, hints->text_heads, hints->activation, err);
    else
        status = part_missing(parts, PART_TEXT, err, "there are no tensors below '%s', '%s' or '%s'",
                              CLIP_PREFIX_SD1, CLIP_PREFIX_SD2, CLIP_PREFIX_SDXL_1);
    if (status)
        return status;
    if (second)
        return find_text(parts, PART_TEXT_2, file, second, hints->text_2_heads, NULL, err);
    return part_missing(parts, PART_TEXT_2, err, "there are no tensors below '%s'", CLIP_PREFIX_SDXL_2);
}

/* What a checkpoint says about its prediction: the hints, marks that trainers leave, the model card in the header. */
static const char *told_prediction(const tensor_file *file, const model_hints *hints)
{
    const char *card = tensor_file_metadata(file, "modelspec.prediction_type");
    if (hints->prediction)
        return hints->prediction;
    if (tensor_file_find(file, "v_pred") || tensor_file_find(file, "edm_vpred.sigma_max"))
        return "v_prediction";
    if (card && (strcmp(card, "v") == 0 || strcmp(card, "v_prediction") == 0))
        return "v_prediction";
    if (card && strcmp(card, "epsilon") == 0)
        return "epsilon";
    return NULL;
}

/* "model.vae.safetensors" beside "model.ckpt". */
static const char *vae_beside(const model_parts *parts)
{
    static const char *const endings[] = {"vae.safetensors", "vae.ckpt", "vae.pt"};
    const char *slash = strrchr(parts->path, '/'), *dot = strrchr(parts->path, '.');
    if (!dot || (slash && dot < slash))
        return NULL;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *path =
            arena_format(&parts->memory->arena, "%.*s.%s", (int)(dot - parts->path), parts->path, endings[i]);
        if (path && path_is_file(path))
            return path;
    }
    return NULL;
}

/* A file in diffusers' names inside its component folder. */
static kiln_status try_component_file(model_parts *parts, const tensor_file *file, kiln_error *err)
{
    const char *slash = strrchr(parts->path, '/');
    const char *folder =
        slash ? arena_text_part(&parts->memory->arena, parts->path, (size_t)(slash - parts->path)) : ".";
    const char *config = folder ? arena_format(&parts->memory->arena, "%s/config.json", folder) : NULL;
    if (config && path_is_file(config))
        return probe_component(parts, folder, parts->path, NULL, err);
    char what[DESCRIPTION_BYTES];
    describe_file(file, what);
    const tensor_entry *first = tensor_file_entry(file, 0);
    if (what[0])
        return fail(err, KILN_UNSUPPORTED,
                    "%s: the file is %s, not a model of the Stable Diffusion family under its "
                    "checkpoint names",
                    parts->path, what);
    return fail(err, KILN_UNSUPPORTED,
                "%s: no part of a diffusion model is in this file: no UNet, VAE or text encoder "
                "under the names of Stable Diffusion checkpoints (%zu tensors, the first is "
                "'%.100s')",
                parts->path, tensor_file_count(file), first ? first->name : "");
}

kiln_status probe_single_file(model_parts *parts, const model_hints *hints, kiln_error *err)
{
    const tensor_file *file;
    kiln_status status = probe_file_open(parts, parts->path, &file, err);
    if (status)
        return status;
    parts->single_file = true;
    status = find_unet(parts, file, hints, err);
    if (!status)
        status = find_vae(parts, file, hints, err);
    if (!status)
        status = find_texts(parts, file, hints, err);
    if (status)
        return fail_within(err, status, "%s", parts->path);
    const char *beside = vae_beside(parts);
    bool found = false;
    for (int k = 0; k < PART_COUNT; k++)
        found = found || parts->part[k].present;
    if (!found)
        status = try_component_file(parts, file, err);
    else if (beside)
        status = probe_vae(parts, beside, NULL, parts->vae.scaling_factor, hints->vae_groups, err);
    if (status)
        return status;
    parts->scheduler = tensor_file_metadata(file, "kiln.scheduler");
    parts->zero_empty_prompt = parts->part[PART_TEXT_2].present;
    parts->time_ids_score = parts->part[PART_TEXT_2].present && !parts->part[PART_TEXT].present;
    return probe_conclude(parts, told_prediction(file, hints), tensor_file_find(file, "ztsnr") != NULL, err);
}
