/* torch_legacy.c - what torch.save wrote before 1.6, and plain pickles.
 *
 *   pickle: the magic number 0x1950a86a20f9469cfc6c
 *   pickle: protocol version 1001
 *   pickle: {"protocol_version": 1001, "little_endian": True, "type_sizes": {...}}
 *   pickle: the object
 *   pickle: [storage keys]
 *   for each key: i64 number of elements, the elements */
#include "formats/pickle_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_WINDOW = 1 << 20, PICKLE_BYTES_MAX = 256 << 20 };

static const uint8_t magic[] = {0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};

typedef struct legacy_storage {
    pickle_text key;
    const pickle_storage *about; /* the first tensor's view of it gives the element size */
    uint64_t at, count;
} legacy_storage;

typedef struct legacy {
    legacy_storage *storages;
    size_t count;
    name_index by_key;
    arena memory;
} legacy;

static kiln_status find_storage(void *self, tensor_file *file, const pickle_storage *storage,
                                tensor_entry *entry, kiln_error *err)
{
    legacy *all = self;
    char key[256];
    snprintf(key, sizeof key, "%.*s", (int)(storage->key.length < 250 ? storage->key.length : 250),
             storage->key.bytes);
    int64_t number = all ? name_index_find(&all->by_key, key) : NAME_MISSING;
    if (number == NAME_MISSING)
        return fail(err, KILN_BAD_FORMAT, "%s: its storage '%s' is missing in the file", file->path, key);
    const legacy_storage *found = &all->storages[number];
    if ((uint64_t)storage->first + (uint64_t)storage->count > found->count)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: storage '%s' should hold %" PRId64 " elements, it has %" PRIu64, file->path, key,
                    storage->count, found->count);
    entry->offset = found->at;
    return KILN_OK;
}

/* Collect what the pickle says of each storage, because the raw storages do not say their element size. Shared
 * and cyclic values: every container is entered once (on_path stays set). */
static void collect(legacy *all, pickle_value *value, int depth, size_t *entered, size_t entered_max,
                    pickle_value **marked)
{
    const pickle_storage *storage = NULL;
    if (value->kind == PICKLE_TENSOR)
        storage = value->tensor->storage;
    else if (value->kind == PICKLE_STORAGE)
        storage = value->storage;
    if (storage) {
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)(storage->key.length < 250 ? storage->key.length : 250),
                 storage->key.bytes);
        int64_t number = name_index_find(&all->by_key, key);
        if (number != NAME_MISSING && !all->storages[number].about)
            all->storages[number].about = storage;
        return;
    }
    if (depth > 64)
        return;
    if (value->kind == PICKLE_OBJECT) {
        if (value->object.arguments)
            collect(all, value->object.arguments, depth + 1, entered, entered_max, marked);
        if (value->object.state)
            collect(all, value->object.state, depth + 1, entered, entered_max, marked);
        return;
    }
    if (value->kind < PICKLE_LIST || value->kind > PICKLE_DICT || value->on_path || *entered == entered_max)
        return;
    value->on_path = true;
    marked[(*entered)++] = value;
    for (size_t i = 0; i < value->list.count; i++)
        collect(all, value->list.items[i], depth + 1, entered, entered_max, marked);
}

static kiln_status collect_storages(tensor_file *file, legacy *all, pickle_value *root, kiln_error *err)
{
    enum { CONTAINERS_MAX = 1 << 20 };
    pickle_value **marked = malloc(CONTAINERS_MAX * sizeof *marked);
    size_t entered = 0;
    if (!marked)
        return no_memory(file, err);
    collect(all, root, 0, &entered, CONTAINERS_MAX, marked);
    for (size_t i = 0; i < entered; i++)
        marked[i]->on_path = false;
    free(marked);
    return KILN_OK;
}

static kiln_status name_storages(tensor_file *file, legacy *all, const pickle_value *keys, kiln_error *err)
{
    if (keys->kind != PICKLE_LIST)
        return fail(err, KILN_BAD_FORMAT, "%s: the list of storage keys is missing", file->path);
    all->storages = arena_alloc(&all->memory, (keys->list.count + 1) * sizeof *all->storages);
    if (!all->storages)
        return no_memory(file, err);
    for (size_t i = 0; i < keys->list.count; i++) {
        const pickle_value *key = keys->list.items[i];
        if (key->kind != PICKLE_TEXT || key->text.length > 250 ||
            memchr(key->text.bytes, 0, key->text.length))
            return fail(err, KILN_BAD_FORMAT, "%s: a storage key is no text", file->path);
        char *name = arena_text_part(&all->memory, key->text.bytes, key->text.length);
        if (!name || !name_index_put(&all->by_key, name, (uint32_t)i))
            return no_memory(file, err);
        all->storages[i].key = key->text;
    }
    all->count = keys->list.count;
    return KILN_OK;
}

/* The places of the storages: each needs the sizes of those before it. */
static kiln_status place_storages(tensor_file *file, legacy *all, uint64_t at, kiln_error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        legacy_storage *storage = &all->storages[i];
        if (!storage->about || !storage->about->known)
            return fail(err, KILN_UNSUPPORTED, "%s: storage '%.*s' has elements of an unknown size (%.*s)",
                        file->path, (int)storage->key.length, storage->key.bytes,
                        storage->about ? (int)(storage->about->class_name.length & 255) : 1,
                        storage->about ? storage->about->class_name.bytes : "?");
        uint8_t count[8];
        kiln_status status = byte_source_read(&file->source, at, count, sizeof count, err);
        if (status)
            return status;
        storage->count = little_u64(count);
        storage->at = at + 8;
        uint64_t each = dtype_size(storage->about->type), left = file->source.size - storage->at;
        if (storage->count > left / each)
            return fail(err, KILN_BAD_FORMAT,
                        "%s: storage '%.*s' claims %" PRIu64 " elements of %" PRIu64
                        " bytes, the file has only "
                        "%" PRIu64 " more bytes (truncated?)",
                        file->path, (int)storage->key.length, storage->key.bytes, storage->count, each, left);
        at = storage->at + storage->count * each;
    }
    return KILN_OK;
}

/* Run the pickles from bytes[size]. *short_of_bytes: they need more than that. */
static kiln_status read_pickles(tensor_file *file, legacy *all, const uint8_t *bytes, size_t size,
                                bool *short_of_bytes, kiln_error *err)
{
    pickle_value *values[5];
    size_t at = 0, wanted = 5;
    *short_of_bytes = false;
    for (size_t i = 0; i < wanted; i++) {
        size_t used;
        kiln_status status =
            pickle_run(bytes + at, size - at, file->path, &all->memory, &values[i], &used, err);
        if (status) {
            *short_of_bytes = used == size - at;
            return status;
        }
        at += used;
        if (i == 0 && !(values[0]->kind == PICKLE_BYTES && values[0]->text.length == sizeof magic &&
                        memcmp(values[0]->text.bytes, magic, sizeof magic) == 0)) {
            file->format = "pickle";
            return pickle_view(file, values[0], find_storage, NULL, err);
        }
        if (i == 1 && (values[1]->kind != PICKLE_INT || values[1]->integer != 1001))
            return fail(err, KILN_UNSUPPORTED, "%s: this version of torch's legacy format is unknown",
                        file->path);
        const pickle_value *little = i == 2 ? pickle_get(values[2], "little_endian") : NULL;
        if (little && little->kind == PICKLE_BOOL && !little->truth)
            return fail(err, KILN_UNSUPPORTED,
                        "%s: was saved on a big-endian machine, which is not supported", file->path);
    }
    kiln_status status = name_storages(file, all, values[4], err);
    if (!status)
        status = collect_storages(file, all, values[3], err);
    if (!status)
        status = place_storages(file, all, at, err);
    return status ? status : pickle_view(file, values[3], find_storage, all, err);
}

kiln_status torch_legacy_read(tensor_file *file, kiln_error *err)
{
    uint64_t limit = file->source.size < PICKLE_BYTES_MAX ? file->source.size : PICKLE_BYTES_MAX;
    uint64_t window = limit < FIRST_WINDOW ? limit : FIRST_WINDOW;
    file->format = "torch (legacy)";
    for (;;) {
        uint8_t *bytes = malloc((size_t)window);
        if (!bytes)
            return no_memory(file, err);
        legacy all = {0};
        bool short_of_bytes = false;
        kiln_status status = byte_source_read(&file->source, 0, bytes, (size_t)window, err);
        if (!status)
            status = read_pickles(file, &all, bytes, (size_t)window, &short_of_bytes, err);
        name_index_fini(&all.by_key);
        arena_fini(&all.memory);
        free(bytes);
        if (!status || !short_of_bytes || window == limit)
            return status;
        window = window * 8 < limit ? window * 8 : limit;
    }
}
