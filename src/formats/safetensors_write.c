/* safetensors_write.c - writing; see safetensors.h. */
#include "formats/safetensors.h"

#include "base/arena.h"
#include "formats/name_index.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct planned {
    const char *name;
    dtype type;
    shape shape;
    uint64_t offset, bytes, written;
} planned;

typedef struct note {
    const char *key, *text;
} note;

struct safetensors_writer {
    arena memory;
    const char *path, *temporary;
    int fd;
    bool header_written;
    planned *tensors;
    note *notes;
    size_t count, capacity, note_count, note_capacity;
    name_index names;
};

static kiln_status short_of_memory(const safetensors_writer *writer, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", writer->path);
}

static void writer_free(safetensors_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    name_index_fini(&writer->names);
    free(writer->tensors);
    free(writer->notes);
    arena_fini(&writer->memory);
    free(writer);
}

void safetensors_writer_abort(safetensors_writer *writer)
{
    if (!writer)
        return;
    if (writer->fd >= 0)
        unlink(writer->temporary);
    writer_free(writer);
}

kiln_status safetensors_writer_open(const char *path, safetensors_writer **out, kiln_error *err)
{
    *out = NULL;
    safetensors_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    writer->fd = -1;
    writer->path = arena_text(&writer->memory, path);
    char *temporary = arena_format(&writer->memory, "%s.XXXXXX", path);
    if (!writer->path || !temporary) {
        writer_free(writer);
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    }
    writer->fd = mkstemp(temporary);
    writer->temporary = temporary;
    if (writer->fd < 0) {
        kiln_status status = fail_system(err, "%s: cannot be written", path);
        writer_free(writer);
        return status;
    }
    *out = writer;
    return KILN_OK;
}

static bool is_text(const char *text)
{
    json_t *value = json_string(text);
    json_decref(value);
    return value != NULL;
}

kiln_status safetensors_writer_metadata(safetensors_writer *writer, const char *key, const char *text,
                                        kiln_error *err)
{
    if (writer->header_written)
        return fail(err, KILN_BAD_ARGUMENT, "%s: metadata '%s' comes after the data", writer->path, key);
    if (!is_text(key) || !is_text(text))
        return fail(err, KILN_BAD_ARGUMENT, "%s: metadata '%s' is not valid UTF-8", writer->path, key);
    if (writer->note_count == writer->note_capacity) {
        size_t wanted = writer->note_capacity ? writer->note_capacity * 2 : 16;
        note *bigger = realloc(writer->notes, wanted * sizeof *bigger);
        if (!bigger)
            return short_of_memory(writer, err);
        writer->notes = bigger;
        writer->note_capacity = wanted;
    }
    note added = {arena_text(&writer->memory, key), arena_text(&writer->memory, text)};
    if (!added.key || !added.text)
        return short_of_memory(writer, err);
    writer->notes[writer->note_count++] = added;
    return KILN_OK;
}

kiln_status safetensors_writer_declare(safetensors_writer *writer, const char *name, dtype type, shape dims,
                                       kiln_error *err)
{
    if (writer->header_written)
        return fail(err, KILN_BAD_ARGUMENT, "%s: tensor '%s' comes after the data", writer->path, name);
    if (!is_text(name) || strcmp(name, "__metadata__") == 0)
        return fail(err, KILN_BAD_ARGUMENT, "%s: '%s' cannot be the name of a tensor", writer->path, name);
    if ((unsigned)type >= DTYPE_COUNT || !shape_is_valid(dims))
        return fail(err, KILN_BAD_ARGUMENT, "%s: tensor '%s' has no valid type or shape", writer->path, name);
    if (name_index_find(&writer->names, name) != NAME_MISSING)
        return fail(err, KILN_BAD_ARGUMENT, "%s: tensor '%s' is declared twice", writer->path, name);
    if (writer->count == writer->capacity) {
        size_t wanted = writer->capacity ? writer->capacity * 2 : 64;
        planned *bigger = realloc(writer->tensors, wanted * sizeof *bigger);
        if (!bigger)
            return short_of_memory(writer, err);
        writer->tensors = bigger;
        writer->capacity = wanted;
    }
    planned added = {.name = arena_text(&writer->memory, name), .type = type, .shape = dims};
    added.bytes = (uint64_t)shape_count(dims) * dtype_size(type);
    if (!added.name || !name_index_put(&writer->names, added.name, (uint32_t)writer->count))
        return short_of_memory(writer, err);
    writer->tensors[writer->count++] = added;
    return KILN_OK;
}

static int by_width_then_name(const void *left, const void *right)
{
    const planned *a = left, *b = right;
    size_t a_size = dtype_size(a->type), b_size = dtype_size(b->type);
    return a_size != b_size ? (a_size > b_size ? -1 : 1) : strcmp(a->name, b->name);
}

static int by_key(const void *left, const void *right)
{
    return strcmp(((const note *)left)->key, ((const note *)right)->key);
}

static kiln_status write_at(safetensors_writer *writer, uint64_t at, const void *bytes, size_t size,
                            kiln_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(writer->fd, (const char *)bytes + done, size - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_system(err, "%s: cannot be written", writer->path);
        done += (size_t)put;
    }
    return KILN_OK;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [...]} */
static json_t *describe(const planned *tensor)
{
    json_t *dims = json_array();
    for (int i = 0; i < tensor->shape.rank; i++)
        json_array_append_new(dims, json_integer(tensor->shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_name(tensor->type), "shape", dims, "data_offsets",
                     (json_int_t)tensor->offset, (json_int_t)tensor->offset + (json_int_t)tensor->bytes);
}

/* The header as text, from tensors that are sorted and whose offsets count from 0. NULL when memory is short. */
static char *header_text(const safetensors_writer *writer)
{
    json_t *header = json_object(), *notes = writer->note_count ? json_object() : NULL;
    int bad = 0;
    for (size_t i = 0; i < writer->note_count; i++)
        bad |= json_object_set_new(notes, writer->notes[i].key, json_string(writer->notes[i].text));
    if (notes)
        bad |= json_object_set_new(header, "__metadata__", notes);
    for (size_t i = 0; i < writer->count; i++)
        bad |= json_object_set_new(header, writer->tensors[i].name, describe(&writer->tensors[i]));
    char *text = bad ? NULL : json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

/* Sort, place, and write the header. */
static kiln_status begin_data(safetensors_writer *writer, kiln_error *err)
{
    if (writer->count)
        qsort(writer->tensors, writer->count, sizeof *writer->tensors, by_width_then_name);
    if (writer->note_count)
        qsort(writer->notes, writer->note_count, sizeof *writer->notes, by_key);
    uint64_t at = 0;
    for (size_t i = 0; i < writer->count; i++) {
        writer->tensors[i].offset = at;
        at += writer->tensors[i].bytes;
        if (!name_index_put(&writer->names, writer->tensors[i].name, (uint32_t)i))
            return short_of_memory(writer, err);
    }
    char *text = header_text(writer);
    if (!text)
        return short_of_memory(writer, err);
    size_t length = strlen(text), padded = (length + 7) & ~(size_t)7;
    if (padded > SAFETENSORS_HEADER_MAX) {
        free(text);
        return fail(err, KILN_BAD_ARGUMENT, "%s: its header of %zu bytes is too large for the format",
                    writer->path, padded);
    }
    uint8_t size_bytes[8];
    for (int i = 0; i < 8; i++)
        size_bytes[i] = (uint8_t)(padded >> (8 * i));
    kiln_status status = write_at(writer, 0, size_bytes, 8, err);
    if (!status)
        status = write_at(writer, 8, text, length, err);
    if (!status)
        status = write_at(writer, 8 + length, "        ", padded - length, err);
    free(text);
    for (size_t i = 0; i < writer->count; i++)
        writer->tensors[i].offset += 8 + padded;
    writer->header_written = true;
    return status;
}

kiln_status safetensors_writer_write(safetensors_writer *writer, const char *name, const void *bytes,
                                     size_t size, kiln_error *err)
{
    kiln_status status = writer->header_written ? KILN_OK : begin_data(writer, err);
    if (status)
        return status;
    int64_t number = name_index_find(&writer->names, name);
    if (number == NAME_MISSING)
        return fail(err, KILN_BAD_ARGUMENT, "%s: tensor '%s' was not declared", writer->path, name);
    planned *tensor = &writer->tensors[number];
    if (size > tensor->bytes - tensor->written)
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s: tensor '%s' has %" PRIu64 " bytes, %" PRIu64 " would be written", writer->path, name,
                    tensor->bytes, tensor->written + size);
    status = write_at(writer, tensor->offset + tensor->written, bytes, size, err);
    if (!status)
        tensor->written += size;
    return status;
}

/* mkstemp makes files private; give the rights that a plain open would give. */
static void set_usual_rights(int fd, const char *path)
{
    struct stat before;
    mode_t mask = 0022;
    if (stat(path, &before) == 0)
        (void)fchmod(fd, before.st_mode & 0777);
    else
        (void)fchmod(fd, 0666 & ~mask);
}

kiln_status safetensors_writer_finish(safetensors_writer *writer, kiln_error *err)
{
    kiln_status status = writer->header_written ? KILN_OK : begin_data(writer, err);
    for (size_t i = 0; i < writer->count && !status; i++)
        if (writer->tensors[i].written != writer->tensors[i].bytes)
            status = fail(err, KILN_BAD_ARGUMENT,
                          "%s: tensor '%s' was given %" PRIu64 " of its %" PRIu64 " bytes", writer->path,
                          writer->tensors[i].name, writer->tensors[i].written, writer->tensors[i].bytes);
    if (!status) {
        set_usual_rights(writer->fd, writer->path);
        if (fsync(writer->fd) != 0)
            status = fail_system(err, "%s: cannot be written", writer->path);
    }
    if (!status && rename(writer->temporary, writer->path) != 0)
        status = fail_system(err, "%s: cannot be written", writer->path);
    if (status)
        unlink(writer->temporary);
    writer_free(writer);
    return status;
}
