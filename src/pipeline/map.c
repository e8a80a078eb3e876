/* map.c - semantic maps: named f32 tensors with a kind, in memory and as safetensors files, whose metadata holds
 * "kiln.kind". */
#include "pipeline/map.h"

#include "formats/safetensors.h"
#include "formats/tensor_file.h"

#include <stdlib.h>
#include <string.h>

typedef struct map_entry {
    char *name;
    shape shape;
    float *data;
} map_entry;

struct kiln_map {
    char *kind;
    map_entry *entries;
    int count;
};

static const char kind_key[] = "kiln.kind";
/* More than any text or picture needs: a file that asks for more is not a map. */
enum { MAP_MAX_TENSORS = 64 };
static const int64_t map_max_elements = (int64_t)1 << 30;

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for a semantic map");
}

kiln_status map_new(const char *kind, kiln_map **out, kiln_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out)
        (*out)->kind = strdup(kind);
    if (*out && (*out)->kind)
        return KILN_OK;
    free(*out);
    *out = NULL;
    return no_memory(err);
}

/* An entry with room for its data; NULL when memory is short. */
static map_entry *append(kiln_map *m, const char *name, shape size)
{
    map_entry *larger = realloc(m->entries, (size_t)(m->count + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    m->entries = larger;
    map_entry e = {strdup(name), size, malloc((size_t)shape_count(size) * sizeof(float) + 1)};
    if (!e.name || !e.data) {
        free(e.name);
        free(e.data);
        return NULL;
    }
    m->entries[m->count] = e;
    return &m->entries[m->count++];
}

kiln_status map_add(kiln_map *m, const char *name, shape size, const float *data, kiln_error *err)
{
    map_entry *e = append(m, name, size);
    if (!e)
        return no_memory(err);
    memcpy(e->data, data, (size_t)shape_count(size) * sizeof *data);
    return KILN_OK;
}

const float *map_find(const kiln_map *m, const char *name, shape *size)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].name, name) == 0) {
            if (size)
                *size = m->entries[i].shape;
            return m->entries[i].data;
        }
    return NULL;
}

void kiln_map_free(kiln_map *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->count; i++) {
        free(m->entries[i].name);
        free(m->entries[i].data);
    }
    free(m->entries);
    free(m->kind);
    free(m);
}

const char *kiln_map_kind(const kiln_map *m)
{
    return m->kind;
}

int kiln_map_count(const kiln_map *m)
{
    return m->count;
}

const float *kiln_map_tensor(const kiln_map *m, int i, const char **name, int *rank, const int64_t **size)
{
    if (i < 0 || i >= m->count)
        return NULL;
    if (name)
        *name = m->entries[i].name;
    if (rank)
        *rank = m->entries[i].shape.rank;
    if (size)
        *size = m->entries[i].shape.dim;
    return m->entries[i].data;
}

kiln_status kiln_map_save(const kiln_map *m, const char *path, kiln_error *err)
{
    safetensors_writer *w = NULL;
    kiln_status status = safetensors_writer_open(path, &w, err);
    if (status != KILN_OK)
        return status;
    status = safetensors_writer_metadata(w, kind_key, m->kind, err);
    for (int i = 0; status == KILN_OK && i < m->count; i++)
        status = safetensors_writer_declare(w, m->entries[i].name, DTYPE_F32, m->entries[i].shape, err);
    for (int i = 0; status == KILN_OK && i < m->count; i++)
        status = safetensors_writer_write(w, m->entries[i].name, m->entries[i].data,
                                          (size_t)shape_count(m->entries[i].shape) * sizeof(float), err);
    if (status == KILN_OK)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}

static kiln_status load(const tensor_file *f, const char *path, kiln_map **out, kiln_error *err)
{
    const char *kind = tensor_file_metadata(f, kind_key);
    size_t count = tensor_file_count(f);
    if (!kind)
        return fail(err, KILN_BAD_FORMAT, "%s is not a semantic map: its metadata has no '%s'", path,
                    kind_key);
    if (count < 1 || count > MAP_MAX_TENSORS)
        return fail(err, KILN_BAD_FORMAT, "%s is not a semantic map: it has %zu tensors, expected 1 to %d",
                    path, count, MAP_MAX_TENSORS);
    kiln_status status = map_new(kind, out, err);
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        const tensor_entry *e = tensor_file_entry(f, i);
        int64_t n = shape_count(e->shape);
        if (!dtype_is_floating(e->type) || n < 1 || n > map_max_elements)
            return fail(err, KILN_BAD_FORMAT, "%s: the tensor '%s' is not one of a semantic map", path,
                        e->name);
        map_entry *made = append(*out, e->name, e->shape);
        status = made ? tensor_file_read_f32(f, e, 0, n, made->data, err) : no_memory(err);
    }
    return status;
}

kiln_status kiln_map_load(const char *path, kiln_map **out, kiln_error *err)
{
    *out = NULL;
    tensor_file *f = NULL;
    kiln_status status = tensor_file_open(path, &f, err);
    if (status == KILN_OK)
        status = load(f, path, out, err);
    tensor_file_close(f);
    if (status != KILN_OK) {
        kiln_map_free(*out);
        *out = NULL;
    }
    return status;
}
