/* lora_find.c - see lora_find.h. */
#include "pipeline/lora_find.h"

#include "formats/tensor_file.h"
#include "pipeline/beside.h"
#include "weights/small_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDERS_DEEP = 6, PATH_SIZE = 4096 };

/* A kind of extra network. */
typedef struct kind {
    const char *word, *places;
    const char *const folders[3];
    bool by_metadata; /* files may tell the name that they were written under */
} kind;

static const kind lora_kind = {"LoRA", "Lora, loras or lora", {"Lora", "loras", "lora"}, true};
static const kind hypernetwork_kind = {
    "hypernetwork", "hypernetworks or hypernetwork", {"hypernetworks", "hypernetwork"}, false};

typedef struct search {
    const char *name; /* its last part */
    bool by_metadata;
    char *path;
    size_t size;
} search;

static const char *extension_of(const char *file)
{
    static const char *const known[] = {".safetensors", ".pt", ".ckpt", ".bin"};
    size_t length = strlen(file);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if (length > n && strcmp(file + length - n, known[i]) == 0)
            return file + length - n;
    }
    return NULL;
}

static bool was_written_as(const char *path, const char *name)
{
    tensor_file *file = NULL;
    if (tensor_file_open(path, &file, NULL) != KILN_OK)
        return false;
    const char *own = tensor_file_metadata(file, "ss_output_name");
    bool same = own && strcmp(own, name) == 0;
    tensor_file_close(file);
    return same;
}

static bool is_meant(const search *s, const char *path, const char *file)
{
    const char *extension = extension_of(file);
    if (!extension || !path_is_file(path))
        return false;
    if (s->by_metadata)
        return was_written_as(path, s->name);
    size_t stem = (size_t)(extension - file);
    return strlen(s->name) == stem && memcmp(file, s->name, stem) == 0;
}

/* Files before folders, each in the order of their names: the first that fits, whatever the file system's order is. */
static bool look_in(const search *s, const char *folder, int depth)
{
    struct dirent **entries = NULL;
    int count = depth < FOLDERS_DEEP ? scandir(folder, &entries, NULL, alphasort) : -1;
    bool found = false;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < count && !found; i++) {
            char path[PATH_SIZE];
            int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            if (entries[i]->d_name[0] == '.' || length >= (int)sizeof path)
                continue;
            if (round == 1)
                found = path_is_folder(path) && look_in(s, path, depth + 1);
            else if (is_meant(s, path, entries[i]->d_name))
                found = snprintf(s->path, s->size, "%s", path) < (int)s->size;
        }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return found;
}

static bool find_in(const kind *k, const char *folder, const char *name, char *path, size_t size)
{
    char below[PATH_SIZE];
    const char *slash = strrchr(name, '/');
    int length = snprintf(below, sizeof below, "%s%s%.*s", folder, slash ? "/" : "",
                          slash ? (int)(slash - name) : 0, name);
    search s = {.name = slash ? slash + 1 : name, .path = path, .size = size};
    if (length >= (int)sizeof below)
        return false;
    if (look_in(&s, below, 0))
        return true;
    s.by_metadata = true;
    return k->by_metadata && look_in(&s, below, 0);
}

static bool find_beside(const kind *k, const char *model, const char *name, char *path, size_t size)
{
    for (int up = 1; up <= BESIDE_UP; up++)
        for (int i = 0; i < 3 && k->folders[i]; i++) {
            char above[BESIDE_PATH], folder[PATH_SIZE + 16];
            folder_above(model, up, above);
            snprintf(folder, sizeof folder, "%s/%s", above, k->folders[i]);
            if (find_in(k, folder, name, path, size))
                return true;
        }
    return false;
}

static kiln_status find(const kind *k, const char *folder, const char *model, const char *name, char *path,
                        size_t size, kiln_error *err)
{
    if (name_leaves_folder(name))
        return fail(err, KILN_BAD_ARGUMENT, "'%s' in the prompt is no name of a %s", name, k->word);
    if (folder && !path_is_folder(folder))
        return fail(err, KILN_NOT_FOUND, "%s: there is no such folder with %ss", folder, k->word);
    if (folder ? find_in(k, folder, name, path, size) : find_beside(k, model, name, path, size))
        return KILN_OK;
    if (folder)
        return fail(err, KILN_NOT_FOUND, "%s: there is no %s '%s'", folder, k->word, name);
    return fail(err, KILN_NOT_FOUND, "there is no %s '%s' in the folders %s beside the model %s", k->word,
                name, k->places, model);
}

kiln_status lora_find(const char *folder, const char *model, const char *name, char *path, size_t size,
                      kiln_error *err)
{
    return find(&lora_kind, folder, model, name, path, size, err);
}

kiln_status hypernetwork_find(const char *folder, const char *model, const char *name, char *path,
                              size_t size, kiln_error *err)
{
    return find(&hypernetwork_kind, folder, model, name, path, size, err);
}
