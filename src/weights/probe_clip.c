/* probe_clip.c - see probe_clip.h. */
#include "weights/probe_clip.h"

#include "formats/tensor_folder.h"
#include "weights/describe.h"
#include "weights/probe_parts.h"
#include "weights/small_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct clip_memory {
    arena arena;
    tensor_file *file;
};

/* ------------------------------------------------------------------------------------ how pictures are prepared */

/* "size" is a number, {"shortest_edge": n} or {"height": n, "width": n}, by the version that wrote it. */
static int read_size(config_reader *r, const char *field, int absent, bool *exact)
{
    const json_t *found = config_get(r, field);
    if (!found)
        return absent;
    if (!json_is_object(found))
        return config_number(r, field, found, 1, 4096);
    const json_t *edge = json_object_get(found, "shortest_edge"), *height = json_object_get(found, "height");
    if (exact)
        *exact = !edge;
    if (!edge && !json_equal(height, json_object_get(found, "width"))) {
        config_fail(r, KILN_UNSUPPORTED, "'%s' is no square, which is not supported", field);
        return absent;
    }
    return config_number(r, field, edge ? edge : height, 1, 4096);
}

static void read_three(config_reader *r, const char *field, float out[3])
{
    float given[3] = {0};
    if (!config_get(r, field))
        return;
    if (config_real_list(r, field, 3, -1e6, 1e6, given) != 3)
        config_fail(r, KILN_BAD_FORMAT, "'%s' must have 3 numbers", field);
    memcpy(out, given, sizeof given);
}

static void read_preparation(config_reader *r, clip_preparation *p)
{
    p->short_side = read_size(r, "size", p->short_side, &p->exact);
    p->crop = read_size(r, "crop_size", p->crop, NULL);
    p->filter = config_int(r, "resample", p->filter, 0, 4);
    read_three(r, "image_mean", p->mean);
    read_three(r, "image_std", p->deviation);
    config_only_bool(r, "do_resize", true);
    config_only_bool(r, "do_center_crop", true);
    config_only_bool(r, "do_normalize", true);
    for (int i = 0; i < 3; i++)
        if (!(p->deviation[i] > 0))
            config_fail(r, KILN_BAD_FORMAT, "'image_std' must be above 0");
}

static kiln_status find_preparation(clip_parts *parts, const char *folder, kiln_error *err)
{
    clip_preparation *p = &parts->preparation;
    *p = (clip_preparation){.short_side = parts->vision.image_size,
                            .crop = parts->vision.image_size,
                            .filter = 3,
                            .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                            .deviation = {0.26862954f, 0.26130258f, 0.27577711f}};
    arena *memory = &parts->memory->arena;
    const char *path = folder ? arena_format(memory, "%s/preprocessor_config.json", folder) : NULL, *text;
    if (!path || !path_is_file(path))
        return KILN_OK;
    size_t length;
    kiln_error own;
    config_reader reader;
    kiln_status status = small_file_read(path, memory, &text, &length, err);
    if (status)
        return status;
    config_open(&reader, text, length, path, err ? err : &own);
    if (!reader.status)
        read_preparation(&reader, p);
    status = config_close(&reader);
    if (!status && p->crop != parts->vision.image_size)
        status = fail(err, KILN_MISMATCH, "%s: 'crop_size' is %d, the vision encoder takes %d", path, p->crop,
                      parts->vision.image_size);
    return status;
}

/* ------------------------------------------------------------------------------------ the two halves */

static kiln_status open_file(clip_parts *parts, const char *path, kiln_error *err)
{
    return tensor_file_open(path, &parts->memory->file, err);
}

/* A scalar in the file: CLIP's learned temperature. */
static kiln_status read_scale(clip_parts *parts, const char *prefix, kiln_error *err)
{
    const tensor_file *file = parts->memory->file;
    const char *name = arena_format(&parts->memory->arena, "%slogit_scale", prefix);
    const tensor_entry *e = name ? tensor_file_find(file, name) : NULL;
    parts->logit_scale = logf(100.0f);
    if (!e || shape_count(e->shape) != 1 || !dtype_is_floating(e->type))
        return KILN_OK;
    kiln_status status = tensor_file_read_f32(file, e, 0, 1, &parts->logit_scale, err);
    if (!status && !(parts->logit_scale > -20.0f && parts->logit_scale < 20.0f))
        status =
            fail(err, KILN_BAD_FORMAT, "%s: 'logit_scale' is %g", parts->path, (double)parts->logit_scale);
    parts->has_scale = !status;
    return status;
}

static kiln_status find_text(clip_parts *parts, const char *prefix, const char *config, size_t length,
                             const model_hints *hints, kiln_error *err)
{
    const tensor_file *file = parts->memory->file;
    bool transformers = has_tensor(file, prefix, "text_model.embeddings.token_embedding.weight");
    if (!transformers && !has_tensor(file, prefix, "token_embedding.weight"))
        return KILN_OK;
    prefix_finder below = {file, prefix};
    tensor_finder finder = finder_of(&below);
    kiln_status status;
    kiln_error own;
    if (config) {
        status = clip_text_config_parse(config, length, parts->path, &parts->text, err ? err : &own);
        /* A whole model's projection_dim stands outside text_config, where it may be repeated or not. */
        parts->text.projection_channels = transformers ? find_dim(&finder, 0, "text_projection.weight")
                                                       : find_dim(&finder, 1, "text_projection");
    } else {
        status = clip_text_config_from_tensors(&finder, hints->text_heads, &parts->text, err);
        if (hints->activation)
            parts->text.quick_gelu = strcmp(hints->activation, "quick_gelu") == 0;
        else
            parts->text.quick_gelu = parts->vision.quick_gelu;
    }
    if (!transformers)
        parts->text.dialect = CLIP_DIALECT_OPENCLIP;
    parts->has_text = !status && parts->text.projection_channels == parts->vision.projection_channels &&
                      parts->vision.projection_channels > 0;
    parts->text_place = (weights_place){file, prefix, transformers ? DIALECT_CANONICAL : DIALECT_ORIGINAL};
    return status ? status : read_scale(parts, prefix, err);
}

/* Where a file may hold a vision encoder: before the names, and which names they are. */
typedef struct known_place {
    const char *vision, *text; /* prefixes; text NULL: none there */
    bool openclip;
} known_place;

static const known_place known_places[] = {
    {"", "", false},
    {"visual.", "", true},
    {"", NULL, true},
    {"embedder.model.visual.", NULL, true},
    {"conditioner.embedders.0.model.visual.", NULL, true},
    {"cond_stage_model.model.visual.", NULL, true},
};

static const known_place *find_place(const tensor_file *file)
{
    for (size_t i = 0; i < sizeof known_places / sizeof *known_places; i++) {
        const known_place *p = &known_places[i];
        const char *first = p->openclip ? "class_embedding" : "vision_model.embeddings.class_embedding";
        if (has_tensor(file, p->vision, first))
            return p;
    }
    return NULL;
}

static kiln_status refuse(const clip_parts *parts, kiln_error *err)
{
    char what[DESCRIPTION_BYTES];
    describe_file(parts->memory->file, what);
    return fail(
        err, KILN_NOT_FOUND,
        "%s: there is no CLIP vision encoder here%s%s: neither 'vision_model.embeddings.class_embedding' "
        "nor 'visual.class_embedding'",
        parts->path, what[0] ? ", the file is " : "", what);
}

/* `config` NULL: told from the tensors. */
static kiln_status find_halves(clip_parts *parts, const char *config, size_t length, const model_hints *hints,
                               kiln_error *err)
{
    const tensor_file *file = parts->memory->file;
    const known_place *place = find_place(file);
    if (!place)
        return refuse(parts, err);
    prefix_finder below = {file, place->vision};
    tensor_finder finder = finder_of(&below);
    kiln_status status;
    kiln_error own;
    if (config) {
        status = clip_vision_config_parse(config, length, parts->path, &parts->vision, err ? err : &own);
    } else {
        status = clip_vision_config_from_tensors(&finder, place->openclip, hints->vision_heads,
                                                 &parts->vision, err);
        if (hints->vision_activation)
            parts->vision.quick_gelu = strcmp(hints->vision_activation, "quick_gelu") == 0;
    }
    if (status)
        return fail_within(err, status, "%s", parts->path);
    parts->vision_place =
        (weights_place){file, place->vision, place->openclip ? DIALECT_ORIGINAL : DIALECT_CANONICAL};
    parts->alone = place < known_places + 3 && !has_tensor(file, UNET_ORIGINAL_PREFIX, "out.2.weight");
    return place->text ? find_text(parts, place->text, config, length, hints, err) : KILN_OK;
}

/* ------------------------------------------------------------------------------------ folders and files */

static kiln_status open_folder(clip_parts *parts, const model_hints *hints, kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    const char *inner = arena_format(memory, "%s/image_encoder", parts->path), *folder = parts->path;
    const char *extractor = arena_format(memory, "%s/feature_extractor", parts->path), *text;
    if (inner && path_is_folder(inner))
        folder = inner;
    const char *config = arena_format(memory, "%s/config.json", folder);
    const char *words = arena_format(memory, "%s/vocab.json", folder);
    if (!inner || !extractor || !config || !words)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", parts->path);
    if (!path_is_file(config))
        return fail(err, KILN_NOT_FOUND,
                    "%s: there is no CLIP model here: no config.json and no image_encoder/", parts->path);
    char path[4096];
    size_t length;
    kiln_status status = small_file_read(config, memory, &text, &length, err);
    if (!status)
        status = tensor_folder_find(folder, NULL, path, sizeof path, err);
    if (!status)
        status = open_file(parts, path, err);
    if (!status)
        status = find_halves(parts, text, length, hints, err);
    if (!status && path_is_file(words))
        parts->tokenizer = folder;
    parts->alone = parts->alone && folder == parts->path;
    if (status)
        return status;
    return find_preparation(parts, folder == inner && path_is_folder(extractor) ? extractor : folder, err);
}

static kiln_status open_any(clip_parts *parts, const char *hints_path, kiln_error *err)
{
    model_hints hints;
    kiln_status status = hints_read(hints_path, parts->path, &parts->memory->arena, &hints, err);
    if (status)
        return status;
    if (path_is_folder(parts->path))
        return open_folder(parts, &hints, err);
    status = open_file(parts, parts->path, err);
    if (!status)
        status = find_halves(parts, NULL, 0, &hints, err);
    return status ? status : find_preparation(parts, NULL, err);
}

kiln_status probe_clip_open(const char *path, const char *hints, clip_parts **out, kiln_error *err)
{
    *out = NULL;
    clip_parts *parts = calloc(1, sizeof *parts);
    if (parts)
        parts->memory = calloc(1, sizeof *parts->memory);
    if (!parts || !parts->memory) {
        free(parts);
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    }
    parts->path = arena_text(&parts->memory->arena, path);
    kiln_status status =
        parts->path ? open_any(parts, hints, err) : fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    if (status)
        probe_clip_close(parts);
    else
        *out = parts;
    return status;
}

void probe_clip_close(clip_parts *parts)
{
    if (!parts)
        return;
    tensor_file_close(parts->memory->file);
    arena_fini(&parts->memory->arena);
    free(parts->memory);
    free(parts);
}
