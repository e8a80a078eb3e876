/* probe_vae.c - a VAE in a file of its own, whoever wrote it.
 *
 * Three forms: a diffusers folder; a file in diffusers' names (with a config.json beside it, or without: its shape is
 * then told from the tensors); a file in CompVis' names, with or without "first_stage_model." before them. */
#include "weights/probe_parts.h"

#include "weights/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What follows `words` and a number in the text; NULL when they are not there. */
static const char *after_number(const char *text, const char *words, int *out)
{
    size_t length = strlen(words);
    if (!text || strncmp(text, words, length) != 0)
        return NULL;
    char *end;
    long number = strtol(text + length, &end, 10);
    if (end == text + length || number < 0 || number > 999)
        return NULL;
    *out = (int)number;
    return end;
}

/* The canonical dialect shown under the original names that vae_config_from_tensors asks for. They count levels from
 * the finest, diffusers counts the way up from the coarsest. */
static const shape *find_translated(void *self, const char *name)
{
    const prefix_finder *f = self;
    char translated[PATH_TEXT] = "";
    const tensor_entry *e;
    int level = 0, layer = 0, levels = 0;
    const char *rest = after_number(after_number(name, "decoder.up.", &level), ".block.", &layer);
    if (rest && *rest == '.') {
        do
            snprintf(translated, sizeof translated, "decoder.up_blocks.%d.resnets.0.conv1.weight", levels);
        while (tensor_file_find(f->file, translated) && levels++ < VAE_MAX_LEVELS);
        snprintf(translated, sizeof translated, "decoder.up_blocks.%d.resnets.%d.%s", levels - 1 - level,
                 layer, rest + 1);
    } else if (strcmp(name, "decoder.mid.attn_1.q.weight") == 0) {
        e = tensor_file_find(f->file, "decoder.mid_block.attentions.0.query.weight");
        if (e)
            return &e->shape;
        snprintf(translated, sizeof translated, "decoder.mid_block.attentions.0.to_q.weight");
    } else {
        snprintf(translated, sizeof translated, "%s", name);
    }
    e = tensor_file_find(f->file, translated);
    return e ? &e->shape : NULL;
}

/* "dir/config.json" beside the file when there is one and it is a VAE's. */
static bool read_config_beside(model_parts *parts, const char *path)
{
    const char *slash = strrchr(path, '/'), *text;
    size_t length;
    arena *memory = &parts->memory->arena;
    const char *config = arena_format(memory, "%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path);
    return config && path_is_file(config) &&
           small_file_read(config, memory, &text, &length, NULL) == KILN_OK &&
           vae_config_parse(text, length, config, &parts->vae, &(kiln_error){0}) == KILN_OK;
}

static kiln_status probe_vae_file(model_parts *parts, const char *path, float scaling, int groups,
                                  kiln_error *err)
{
    const tensor_file *file;
    kiln_status status = probe_file_open(parts, path, &file, err);
    if (status)
        return status;
    prefix_finder below = {file, ""};
    tensor_finder finder = finder_of(&below);
    dialect names = DIALECT_ORIGINAL;
    if (has_tensor(file, VAE_ORIGINAL_PREFIX, "decoder.conv_in.weight")) {
        below.prefix = VAE_ORIGINAL_PREFIX;
    } else if (has_tensor(file, "", "decoder.mid_block.resnets.0.norm1.weight")) {
        names = DIALECT_CANONICAL;
        finder.find = find_translated;
    }
    if (names != DIALECT_CANONICAL || !read_config_beside(parts, path))
        status = vae_config_from_tensors(&finder, scaling, groups, &parts->vae, err);
    if (status)
        return fail_within(err, status, "%s", path);
    part_found(parts, PART_VAE, file, below.prefix, names);
    return KILN_OK;
}

kiln_status probe_vae(model_parts *parts, const char *path, const char *variant, float scaling, int groups,
                      kiln_error *err)
{
    if (!path_is_folder(path))
        return probe_vae_file(parts, path, scaling, groups, err);
    /* A VAE's own folder, or a whole model's. */
    const char *inner = arena_format(&parts->memory->arena, "%s/vae", path);
    if (!inner)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    parts->part[PART_VAE] = (model_part){0};
    kiln_status status = probe_component(parts, path_is_folder(inner) ? inner : path, NULL, variant, err);
    if (status == KILN_OK && !parts->part[PART_VAE].present)
        status = fail(err, KILN_NOT_FOUND, "%s: there is no VAE in this folder%s%s", path,
                      parts->part[PART_VAE].why_not ? ": " : "",
                      parts->part[PART_VAE].why_not ? parts->part[PART_VAE].why_not : "");
    return status;
}
