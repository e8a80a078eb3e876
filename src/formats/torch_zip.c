/* torch_zip.c - what torch.save writes since 1.6: <root>/data.pkl and, for each storage, <root>/data/<key>. */
#include "formats/pickle_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pickle of a 7 GB training checkpoint is a few MB. */
enum { PICKLE_BYTES_MAX = 256 << 20 };

typedef struct torch_zip {
    zip_archive archive;
    const char *root;  /* "archive/", or "" */
    name_index packed; /* storages that are compressed, by member name */
} torch_zip;

/* The member data.pkl that lies least deep, and the folder it is in. */
static const zip_member *find_pickle(tensor_file *file, torch_zip *zip)
{
    const zip_member *found = NULL;
    for (size_t i = 0; i < zip->archive.count; i++) {
        const char *name = zip->archive.members[i].name;
        size_t length = strlen(name);
        bool fits =
            strcmp(name, "data.pkl") == 0 || (length > 9 && strcmp(name + length - 9, "/data.pkl") == 0);
        if (fits && (!found || length < strlen(found->name)))
            found = &zip->archive.members[i];
    }
    if (found)
        zip->root = arena_text_part(&file->memory, found->name, strlen(found->name) - strlen("data.pkl"));
    return found && zip->root ? found : NULL;
}

static kiln_status find_storage(void *self, tensor_file *file, const pickle_storage *storage,
                                tensor_entry *entry, kiln_error *err)
{
    torch_zip *zip = self;
    char name[512];
    int length = snprintf(name, sizeof name, "%sdata/%.*s", zip->root,
                          (int)(storage->key.length < 200 ? storage->key.length : 200), storage->key.bytes);
    const zip_member *member =
        length > 0 && (size_t)length < sizeof name ? zip_find(&zip->archive, name) : NULL;
    if (!member)
        return fail(err, KILN_BAD_FORMAT, "%s: its storage '%s' is missing in the archive", file->path, name);
    uint64_t bytes = (uint64_t)storage->count, each = storage->untyped ? 1 : dtype_size(storage->type);
    if (bytes > UINT64_MAX / 8 || bytes * each > member->size)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: storage '%s' should hold %" PRIu64 " elements of %" PRIu64 " bytes, it has %" PRIu64
                    " bytes",
                    file->path, name, bytes, each, member->size);
    uint64_t at;
    kiln_status status = zip_locate(&file->source, member, &at, err);
    if (status)
        return status;
    if (member->method == 0) {
        entry->offset = at;
        return KILN_OK;
    }
    if (member->size > bytes * each)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: storage '%s' inflates to %" PRIu64 " bytes, its tensors need %" PRIu64, file->path,
                    name, member->size, bytes * each);
    int64_t known = name_index_find(&zip->packed, member->name);
    if (known == NAME_MISSING) {
        entry->storage = tensor_file_add_packed(file, *member, member->size);
        if (!entry->storage || !name_index_put(&zip->packed, member->name, entry->storage))
            return no_memory(file, err);
    } else {
        entry->storage = (uint32_t)known;
    }
    return KILN_OK;
}

/* The small member `name` under the root as text; "" when there is none. */
static void read_small(tensor_file *file, const torch_zip *zip, const char *name, char *text, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", zip->root, name);
    const zip_member *member = zip_find(&zip->archive, path);
    text[0] = '\0';
    if (!member || member->size >= size || zip_read(&file->source, member, text, (size_t)member->size, NULL))
        return;
    text[member->size] = '\0';
}

static kiln_status read_values(tensor_file *file, torch_zip *zip, const zip_member *member, kiln_error *err)
{
    char order[16];
    read_small(file, zip, "byteorder", order, sizeof order);
    if (strcmp(order, "big") == 0)
        return fail(err, KILN_UNSUPPORTED, "%s: was saved on a big-endian machine, which is not supported",
                    file->path);
    if (member->size > PICKLE_BYTES_MAX)
        return fail(err, KILN_BAD_FORMAT, "%s: its pickle claims %" PRIu64 " bytes, at most %d are read",
                    file->path, member->size, PICKLE_BYTES_MAX);
    /* Before the memory is asked for: is the claim possible at all? */
    uint64_t unused;
    kiln_status status = zip_locate(&file->source, member, &unused, err);
    if (status)
        return status;
    uint8_t *bytes = malloc((size_t)member->size + 1);
    if (!bytes)
        return no_memory(file, err);
    arena memory = {0};
    pickle_value *root;
    size_t used;
    status = zip_read(&file->source, member, bytes, (size_t)member->size, err);
    if (!status)
        status = pickle_run(bytes, (size_t)member->size, file->path, &memory, &root, &used, err);
    if (!status)
        status = pickle_view(file, root, find_storage, zip, err);
    arena_fini(&memory);
    free(bytes);
    return status;
}

kiln_status torch_zip_read(tensor_file *file, kiln_error *err)
{
    torch_zip zip = {.root = ""};
    char name[512];
    file->format = "torch (zip)";
    kiln_status status = zip_open(&file->source, &file->memory, &zip.archive, err);
    if (status)
        return status;
    const zip_member *member = find_pickle(file, &zip);
    snprintf(name, sizeof name, "%sconstants.pkl", member ? zip.root : "");
    if (!member)
        status =
            fail(err, KILN_BAD_FORMAT, "%s: a zip archive without data.pkl: not a torch file", file->path);
    else if (zip_find(&zip.archive, name))
        status = fail(err, KILN_UNSUPPORTED,
                      "%s: a TorchScript program, not a checkpoint: save its state_dict instead", file->path);
    else
        status = read_values(file, &zip, member, err);
    name_index_fini(&zip.packed);
    zip_fini(&zip.archive);
    return status;
}
