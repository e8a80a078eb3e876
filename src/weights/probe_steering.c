/* probe_steering.c - see probe_steering.h. */
#include "weights/probe_steering.h"

#include "formats/tensor_folder.h"
#include "weights/describe.h"
#include "weights/probe_parts.h"
#include "weights/small_file.h"

#include <stdlib.h>
#include <string.h>

struct steering_memory {
    arena arena;
    tensor_file *file;
};

static kiln_status no_memory(const char *path, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
}

static struct steering_memory *memory_new(const char *path, const char **copy)
{
    struct steering_memory *m = calloc(1, sizeof *m);
    if (m && !(*copy = arena_text(&m->arena, path))) {
        free(m);
        m = NULL;
    }
    return m;
}

static void memory_free(struct steering_memory *m)
{
    if (!m)
        return;
    tensor_file_close(m->file);
    arena_fini(&m->arena);
    free(m);
}

/* ------------------------------------------------------------------------------------ ControlNet */

static bool any_has(const tensor_file *file, const char *part)
{
    for (size_t i = 0; i < tensor_file_count(file); i++)
        if (strstr(tensor_file_entry(file, i)->name, part))
            return true;
    return false;
}

/* Files that steer in another way, each with the word that gives it away. */
static kiln_status refuse_others(const control_parts *parts, kiln_error *err)
{
    static const struct {
        const char *part, *what;
    } others[] = {
        {"lora_controlnet", "a control LoRA, which holds differences to a model's own weights"},
        {"control_add_embedding", "a ControlNet union model"},
        {"task_embedding", "a ControlNet union model"},
        {"adapter.body.", "a T2I-Adapter"},
        {"body.0.block1.weight", "a T2I-Adapter"},
        {"double_blocks.", "a ControlNet for FLUX"},
        {"single_transformer_blocks.", "a ControlNet for FLUX"},
        {"transformer_blocks.0.norm1_context", "a ControlNet for Stable Diffusion 3"},
    };
    const tensor_file *file = parts->memory->file;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (any_has(file, others[i].part))
            return fail(err, KILN_UNSUPPORTED, "%s: the file is %s, which is not supported", parts->path,
                        others[i].what);
    return KILN_OK;
}

static kiln_status refuse_foreign(const char *path, const tensor_file *file, const char *wanted,
                                  kiln_error *err)
{
    char what[DESCRIPTION_BYTES];
    describe_file(file, what);
    return fail(err, KILN_UNSUPPORTED, "%s: the file is %s, not %s", path,
                what[0] ? what : "of no known kind", wanted);
}

static kiln_status read_control(control_parts *parts, const char *config, size_t length,
                                const char *hints_path, kiln_error *err)
{
    const tensor_file *file = parts->memory->file;
    model_hints hints;
    kiln_error own;
    kiln_status status = refuse_others(parts, err);
    if (status)
        return status;
    const char *prefix = has_tensor(file, CONTROLNET_ORIGINAL_PREFIX, "input_hint_block.0.weight")
                             ? CONTROLNET_ORIGINAL_PREFIX
                             : "";
    bool original = has_tensor(file, prefix, "input_hint_block.0.weight");
    if (!original && !has_tensor(file, prefix, "controlnet_cond_embedding.conv_in.weight"))
        return refuse_foreign(parts->path, file, "a ControlNet", err);
    parts->place = (weights_place){file, prefix, original ? DIALECT_ORIGINAL : DIALECT_CANONICAL};
    if (config)
        return controlnet_config_parse(config, length, parts->path, &parts->config, err ? err : &own);
    prefix_finder below = {file, prefix};
    tensor_finder finder = finder_of(&below);
    status = hints_read(hints_path, parts->path, &parts->memory->arena, &hints, err);
    if (!status)
        status = controlnet_config_from_tensors(&finder, original, &hints.unet, &parts->config, err);
    return status ? fail_within(err, status, "%s", parts->path) : KILN_OK;
}

static kiln_status open_control(control_parts *parts, const char *hints, kiln_error *err)
{
    arena *memory = &parts->memory->arena;
    char path[4096];
    const char *text = NULL;
    size_t length = 0;
    if (!path_is_folder(parts->path)) {
        kiln_status status = tensor_file_open(parts->path, &parts->memory->file, err);
        return status ? status : read_control(parts, NULL, 0, hints, err);
    }
    const char *config = arena_format(memory, "%s/config.json", parts->path);
    if (!config)
        return no_memory(parts->path, err);
    kiln_status status = small_file_read(config, memory, &text, &length, err);
    if (!status)
        status = tensor_folder_find(parts->path, NULL, path, sizeof path, err);
    if (!status)
        status = tensor_file_open(path, &parts->memory->file, err);
    return status ? status : read_control(parts, text, length, hints, err);
}

kiln_status probe_control_open(const char *path, const char *hints, control_parts **out, kiln_error *err)
{
    *out = NULL;
    control_parts *parts = calloc(1, sizeof *parts);
    if (!parts || !(parts->memory = memory_new(path, &parts->path))) {
        free(parts);
        return no_memory(path, err);
    }
    kiln_status status = open_control(parts, hints, err);
    if (status)
        probe_control_close(parts);
    else
        *out = parts;
    return status;
}

void probe_control_close(control_parts *parts)
{
    if (!parts)
        return;
    memory_free(parts->memory);
    free(parts);
}

/* ------------------------------------------------------------------------------------ IP-Adapter */

static kiln_status open_adapter(adapter_parts *parts, kiln_error *err)
{
    kiln_status status = tensor_file_open(parts->path, &parts->memory->file, err);
    if (status)
        return status;
    const tensor_file *file = parts->memory->file;
    if (!any_has(file, "image_proj.") && !any_has(file, "ip_adapter."))
        return refuse_foreign(parts->path, file, "an IP-Adapter", err);
    prefix_finder below = {file, ""};
    tensor_finder finder = finder_of(&below);
    status = ip_adapter_config_from_tensors(&finder, &parts->config, err);
    parts->place = (weights_place){file, "", DIALECT_ORIGINAL};
    return status ? fail_within(err, status, "%s", parts->path) : KILN_OK;
}

kiln_status probe_adapter_open(const char *path, adapter_parts **out, kiln_error *err)
{
    *out = NULL;
    adapter_parts *parts = calloc(1, sizeof *parts);
    if (!parts || !(parts->memory = memory_new(path, &parts->path))) {
        free(parts);
        return no_memory(path, err);
    }
    kiln_status status = open_adapter(parts, err);
    if (status)
        probe_adapter_close(parts);
    else
        *out = parts;
    return status;
}

void probe_adapter_close(adapter_parts *parts)
{
    if (!parts)
        return;
    memory_free(parts->memory);
    free(parts);
}
