/* shard_index.c - *.index.json: a table of which tensor lies in which file beside it.
 *
 *     {"metadata": {"total_size": 123}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}} */
#include "formats/tensor_file_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_MAX = 64 << 20, SHARDS_MAX = 4096 };

/* The open shard of this file name, opened when it is new; NULL with *status set. */
static tensor_file *shard_named(tensor_file *file, const char *name, name_index *known, kiln_status *status,
                                kiln_error *err)
{
    int64_t number = name_index_find(known, name);
    if (number != NAME_MISSING)
        return file->shards[number];
    if (!*name || *name == '.' || strchr(name, '/') || strchr(name, '\\') ||
        file->shard_count == SHARDS_MAX) {
        *status =
            fail(err, KILN_BAD_FORMAT, "%s: '%s' is no name of a file beside the index", file->path, name);
        return NULL;
    }
    const char *slash = strrchr(file->path, '/');
    const char *path =
        arena_format(&file->memory, "%.*s%s", slash ? (int)(slash + 1 - file->path) : 0, file->path, name);
    if (!path || !name_index_put(known, name, (uint32_t)file->shard_count)) {
        *status = no_memory(file, err);
        return NULL;
    }
    tensor_file *shard;
    *status = tensor_file_open_shard(path, &shard, err);
    if (*status) {
        *status = fail_within(err, *status, "%s", file->path);
        return NULL;
    }
    file->shards[file->shard_count++] = shard;
    return shard;
}

static kiln_status read_map(tensor_file *file, json_t *map, name_index *known, kiln_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        if (!json_is_string(value))
            return fail(err, KILN_BAD_FORMAT, "%s: weight_map gives no file name for '%s'", file->path, name);
        kiln_status status = KILN_OK;
        tensor_file *shard = shard_named(file, json_string_value(value), known, &status, err);
        if (!shard)
            return status;
        const tensor_entry *there = tensor_file_find(shard, name);
        if (!there)
            return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be in %s, which has no such tensor",
                        file->path, name, shard->path);
        tensor_entry *entry = tensor_file_add(file, name);
        if (!entry)
            return no_memory(file, err);
        const char *own_name = entry->name;
        *entry = *there;
        entry->name = own_name;
    }
    return KILN_OK;
}

/* The JSON document of the whole file, or NULL. */
static json_t *load_document(tensor_file *file, kiln_status *status, kiln_error *err)
{
    if (file->source.size > INDEX_MAX) {
        *status = fail(err, KILN_BAD_FORMAT, "%s: neither safetensors nor a torch file", file->path);
        return NULL;
    }
    char *text = malloc((size_t)file->source.size);
    if (!text) {
        *status = no_memory(file, err);
        return NULL;
    }
    json_error_t where;
    json_t *document = NULL;
    *status = byte_source_read(&file->source, 0, text, (size_t)file->source.size, err);
    if (!*status && !(document = json_loadb(text, (size_t)file->source.size, JSON_REJECT_DUPLICATES, &where)))
        *status =
            fail(err, KILN_BAD_FORMAT, "%s: not valid JSON: line %d: %s", file->path, where.line, where.text);
    free(text);
    return document;
}

kiln_status shard_index_read(tensor_file *file, kiln_error *err)
{
    kiln_status status = KILN_OK;
    json_t *document = load_document(file, &status, err);
    if (!document)
        return status;
    json_t *map = json_object_get(document, "weight_map");
    name_index known = {0};
    file->format = "sharded index";
    file->shards = arena_alloc(&file->memory, SHARDS_MAX * sizeof *file->shards);
    if (!json_is_object(map))
        status = fail(err, KILN_BAD_FORMAT,
                      "%s: a JSON file without a weight_map: not the index of a sharded model", file->path);
    else if (!file->shards)
        status = no_memory(file, err);
    else
        status = read_map(file, map, &known, err);
    name_index_fini(&known);
    json_decref(document);
    return status;
}
