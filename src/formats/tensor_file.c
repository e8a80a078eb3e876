/* tensor_file.c - see tensor_file.h: opening by content, the tables of names, closing. */
#include "formats/tensor_file_parts.h"
#include "formats/tensor_folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

kiln_status no_memory(const tensor_file *file, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: not enough memory for the table of its tensors", file->path);
}

tensor_file *tensor_file_new(const char *path)
{
    tensor_file *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    file->source.fd = -1;
    file->format = "";
    file->path = arena_text(&file->memory, path);
    file->lock = malloc(sizeof(pthread_mutex_t));
    if (!file->path || !file->lock || pthread_mutex_init(file->lock, NULL) != 0) {
        free(file->lock);
        file->lock = NULL;
        tensor_file_close(file);
        return NULL;
    }
    return file;
}

static void text_list_fini(text_list *list)
{
    free(list->items);
    name_index_fini(&list->index);
}

void tensor_file_close(tensor_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->shard_count; i++)
        tensor_file_close(file->shards[i]);
    byte_source_close(&file->source);
    name_index_fini(&file->names);
    text_list_fini(&file->metadata);
    text_list_fini(&file->values);
    free(file->entries);
    free(file->packed);
    free(file->inflated);
    if (file->lock)
        pthread_mutex_destroy(file->lock);
    free(file->lock);
    arena_fini(&file->memory);
    free(file);
}

/* Room for one more item in a growing array; false when memory is short. */
static bool make_room(void **items, size_t *capacity, size_t count, size_t item_bytes)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    if (wanted > UINT32_MAX / 2)
        return false;
    void *bigger = realloc(*items, wanted * item_bytes);
    if (!bigger)
        return false;
    *items = bigger;
    *capacity = wanted;
    return true;
}

tensor_entry *tensor_file_add(tensor_file *file, const char *name)
{
    int64_t known = name_index_find(&file->names, name);
    if (known != NAME_MISSING) {
        tensor_entry *entry = &file->entries[known];
        *entry = (tensor_entry){.name = entry->name, .home = file};
        return entry;
    }
    const char *copy = arena_text(&file->memory, name);
    if (!copy || !make_room((void **)&file->entries, &file->capacity, file->count, sizeof *file->entries) ||
        !name_index_put(&file->names, copy, (uint32_t)file->count))
        return NULL;
    file->entries[file->count] = (tensor_entry){.name = copy, .home = file};
    return &file->entries[file->count++];
}

bool tensor_file_add_text(tensor_file *file, text_list *list, const char *key, const char *text)
{
    text_pair pair = {arena_text(&file->memory, key), arena_text(&file->memory, text)};
    if (!pair.key || !pair.text ||
        !make_room((void **)&list->items, &list->capacity, list->count, sizeof *list->items) ||
        !name_index_put(&list->index, pair.key, (uint32_t)list->count))
        return false;
    list->items[list->count++] = pair;
    return true;
}

uint32_t tensor_file_add_packed(tensor_file *file, zip_member member, uint64_t size)
{
    if (!make_room((void **)&file->packed, &file->packed_capacity, file->packed_count, sizeof *file->packed))
        return 0;
    member.name = arena_text(&file->memory, member.name);
    if (!member.name)
        return 0;
    file->packed[file->packed_count++] = (packed_storage){member, size};
    return (uint32_t)file->packed_count;
}

/* What people hand in instead of weights, told by its first bytes. */
static const struct {
    const char *magic, *what;
} strangers[] = {
    {"GGUF", "a GGUF file; convert it to safetensors first"},
    {"version https://git-lfs", "a Git LFS pointer, not the file itself; run 'git lfs pull'"},
    {"<!DOCTYPE", "a web page, not weights: the download was probably refused"},
    {"<!doctype", "a web page, not weights: the download was probably refused"},
    {"<html", "a web page, not weights: the download was probably refused"},
    {"\x89PNG", "a PNG picture, not weights"},
    {"\xFF\xD8\xFF", "a JPEG picture, not weights"},
    {"RIFF", "a WebP picture or a sound, not weights"},
    {"\x89HDF", "an HDF5 file, which is not supported"},
    {"\x1F\x8B", "a gzip archive; unpack it first"},
    {"7z\xBC\xAF", "a 7z archive; unpack it first"},
    {"Rar!", "a RAR archive; unpack it first"},
};

static kiln_status refuse_stranger(const tensor_file *file, const uint8_t *head, size_t size, kiln_error *err)
{
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        size_t length = strlen(strangers[i].magic);
        if (size >= length && memcmp(head, strangers[i].magic, length) == 0)
            return fail(err, KILN_UNSUPPORTED, "%s: is %s", file->path, strangers[i].what);
    }
    if (size >= 16 && head[8] == '{')
        return fail(err, KILN_BAD_FORMAT,
                    "%s: looks like safetensors, but its header of %" PRIu64
                    " bytes does not fit into the file of %" PRIu64 " bytes (truncated?)",
                    file->path, little_u64(head), file->source.size);
    bool zeros = true;
    for (size_t i = 0; i < size; i++)
        zeros = zeros && head[i] == 0;
    if (zeros)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: begins with zeros: not a weights file, or a download cut short", file->path);
    return fail(err, KILN_BAD_FORMAT, "%s: neither safetensors nor a torch file", file->path);
}

static kiln_status read_by_content(tensor_file *file, kiln_error *err)
{
    uint8_t head[32] = {0};
    uint64_t size = file->source.size;
    if (size == 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the file is empty", file->path);
    size_t known = size < sizeof head ? (size_t)size : sizeof head;
    kiln_status status = byte_source_read(&file->source, 0, head, known, err);
    if (status)
        return status;
    if (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0)
        return torch_zip_read(file, err);
    /* A pickle of protocol 2 or later: PROTO, and a version that exists. */
    if (head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && head[8] != '{')
        return torch_legacy_read(file, err);
    if (size >= 10 && head[8] == '{' && little_u64(head) <= size - 8)
        return safetensors_read_header(file, err);
    if (head[0] == 0x80 && head[1] >= 2 && head[1] <= 5)
        return torch_legacy_read(file, err);
    if (head[0] == '{' && !file->source.bytes && !file->is_shard)
        return shard_index_read(file, err);
    return refuse_stranger(file, head, known, err);
}

static kiln_status finish_open(tensor_file *file, kiln_status status, tensor_file **out)
{
    if (status)
        tensor_file_close(file);
    else
        *out = file;
    return status;
}

static kiln_status open_path(const char *path, bool is_shard, tensor_file **out, kiln_error *err)
{
    tensor_file *file = tensor_file_new(path);
    if (!file)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to open it", path);
    file->is_shard = is_shard;
    kiln_status status = byte_source_open(file->path, &file->source, err);
    if (!status)
        status = read_by_content(file, err);
    return finish_open(file, status, out);
}

kiln_status tensor_file_open_shard(const char *path, tensor_file **out, kiln_error *err)
{
    *out = NULL;
    return open_path(path, true, out, err);
}

kiln_status tensor_file_open(const char *path, tensor_file **out, kiln_error *err)
{
    *out = NULL;
    char inside[4096];
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        kiln_status status = tensor_folder_find(path, NULL, inside, sizeof inside, err);
        if (status)
            return status;
        path = inside;
    }
    return open_path(path, false, out, err);
}

kiln_status tensor_file_open_memory(const void *bytes, size_t size, const char *name, tensor_file **out,
                                    kiln_error *err)
{
    *out = NULL;
    tensor_file *file = tensor_file_new(name);
    if (!file)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to open it", name);
    file->source = byte_source_of_memory(bytes ? bytes : "", size, file->path);
    return finish_open(file, read_by_content(file, err), out);
}

size_t tensor_file_count(const tensor_file *file)
{
    return file->count;
}

const tensor_entry *tensor_file_entry(const tensor_file *file, size_t i)
{
    return i < file->count ? &file->entries[i] : NULL;
}

const tensor_entry *tensor_file_find(const tensor_file *file, const char *name)
{
    int64_t number = name_index_find(&file->names, name);
    return number == NAME_MISSING ? NULL : &file->entries[number];
}

static const char *text_find(const text_list *list, const char *key)
{
    int64_t number = name_index_find(&list->index, key);
    return number == NAME_MISSING ? NULL : list->items[number].text;
}

static const char *text_at(const text_list *list, size_t i, const char **text)
{
    if (text)
        *text = i < list->count ? list->items[i].text : NULL;
    return i < list->count ? list->items[i].key : NULL;
}

const char *tensor_file_metadata(const tensor_file *file, const char *key)
{
    return text_find(&file->metadata, key);
}

size_t tensor_file_metadata_count(const tensor_file *file)
{
    return file->metadata.count;
}

const char *tensor_file_metadata_at(const tensor_file *file, size_t i, const char **text)
{
    return text_at(&file->metadata, i, text);
}

const char *tensor_file_value(const tensor_file *file, const char *path)
{
    return text_find(&file->values, path);
}

size_t tensor_file_value_count(const tensor_file *file)
{
    return file->values.count;
}

const char *tensor_file_value_at(const tensor_file *file, size_t i, const char **text)
{
    return text_at(&file->values, i, text);
}

const char *tensor_file_format(const tensor_file *file)
{
    return file->format;
}

const char *tensor_file_path(const tensor_file *file)
{
    return file->path;
}

const char *tensor_file_wrapper(const tensor_file *file)
{
    return file->wrapper;
}

size_t tensor_file_outside_count(const tensor_file *file)
{
    return file->outside;
}

uint64_t tensor_file_size(const tensor_file *file)
{
    uint64_t size = file->source.size;
    for (size_t i = 0; i < file->shard_count; i++)
        size = (i ? size : 0) + file->shards[i]->source.size;
    return size;
}

uint64_t tensor_entry_bytes(const tensor_entry *entry)
{
    return (uint64_t)shape_count(entry->shape) * dtype_size(entry->type);
}
