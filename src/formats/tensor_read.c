/* tensor_read.c - the bytes of a tensor: from the file, from an inflated storage, from memory, gathered when
 * strided, converted through a buffer that fits the cache. See tensor_file.h. */
#include "formats/tensor_file_parts.h"

#include <stdlib.h>
#include <string.h>

/* Fits the second-level cache together with the f32 that it becomes. */
enum { BUFFER_BYTES = 256 << 10 };

/* Bytes [at, at + size) of the inflated storage; the storage used last stays, so that reading one tensor in
 * parts inflates once. */
static kiln_status read_packed(const tensor_file *home, uint32_t storage, uint64_t at, void *to, size_t size,
                               kiln_error *err)
{
    /* The cache is no visible state: the one place where a const file is changed, under its lock. */
    tensor_file *file = (tensor_file *)home;
    const packed_storage *packed = &file->packed[storage - 1];
    if (at > packed->size || size > packed->size - at)
        return fail(err, KILN_BAD_FORMAT, "%s: a tensor reaches past the end of its storage", file->path);
    kiln_status status = KILN_OK;
    pthread_mutex_lock(file->lock);
    if (file->inflated_storage != storage) {
        free(file->inflated);
        file->inflated_storage = 0;
        file->inflated = malloc(packed->size ? (size_t)packed->size : 1);
        if (!file->inflated)
            status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to inflate %" PRIu64 " bytes",
                          file->path, packed->size);
        else
            status = zip_read(&file->source, &packed->member, file->inflated, (size_t)packed->size, err);
        if (!status)
            file->inflated_storage = storage;
    }
    if (!status && size)
        memcpy(to, file->inflated + at, size);
    pthread_mutex_unlock(file->lock);
    return status;
}

/* Bytes counted from element 0 of the tensor, in the order of its storage. */
static kiln_status read_stored(const tensor_entry *entry, uint64_t at, void *to, size_t size, kiln_error *err)
{
    const tensor_file *home = entry->home;
    if (entry->bytes) {
        if (size)
            memcpy(to, entry->bytes + at, size);
        return KILN_OK;
    }
    if (entry->storage)
        return read_packed(home, entry->storage, entry->offset + at, to, size, err);
    return byte_source_read(&home->source, entry->offset + at, to, size, err);
}

/* Elements [first, first + count) of a strided tensor out of `stored`, which begins with its element 0. */
static void gather(const tensor_entry *entry, const uint8_t *stored, int64_t first, int64_t count,
                   uint8_t *to)
{
    size_t bytes = dtype_size(entry->type);
    int rank = entry->shape.rank;
    int64_t index[SHAPE_MAX_RANK], rest = first;
    for (int i = rank - 1; i >= 0; i--) {
        index[i] = rest % entry->shape.dim[i];
        rest /= entry->shape.dim[i];
    }
    for (int64_t n = 0; n < count; n++) {
        int64_t at = 0;
        for (int i = 0; i < rank; i++)
            at += index[i] * entry->stride[i];
        memcpy(to + (size_t)n * bytes, stored + (size_t)at * bytes, bytes);
        for (int i = rank - 1; i >= 0 && ++index[i] == entry->shape.dim[i]; i--)
            index[i] = 0;
    }
}

static kiln_status read_strided(const tensor_entry *entry, int64_t first, int64_t count, void *to,
                                kiln_error *err)
{
    int64_t last = 0;
    for (int i = 0; i < entry->shape.rank; i++)
        last += (entry->shape.dim[i] - 1) * entry->stride[i];
    size_t span = (size_t)(last + 1) * dtype_size(entry->type);
    uint8_t *stored = malloc(span);
    if (!stored)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read '%s' (%zu bytes)", entry->home->path,
                    entry->name, span);
    kiln_status status = read_stored(entry, 0, stored, span, err);
    if (!status)
        gather(entry, stored, first, count, to);
    free(stored);
    return status;
}

kiln_status tensor_file_read_part(const tensor_file *file, const tensor_entry *entry, int64_t first,
                                  int64_t count, void *to, kiln_error *err)
{
    int64_t all = shape_count(entry->shape);
    if (first < 0 || count < 0 || first > all || count > all - first)
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s: tensor '%s' has %" PRId64 " elements; %" PRId64 " from %" PRId64 " were asked for",
                    file->path, entry->name, all, count, first);
    if (count == 0)
        return KILN_OK;
    size_t bytes = dtype_size(entry->type);
    kiln_status status;
    if (entry->strided)
        status = read_strided(entry, first, count, to, err);
    else
        status = read_stored(entry, (uint64_t)first * bytes, to, (size_t)count * bytes, err);
    return status ? fail_within(err, status, "tensor '%s'", entry->name) : KILN_OK;
}

kiln_status tensor_file_read(const tensor_file *file, const tensor_entry *entry, void *to, kiln_error *err)
{
    return tensor_file_read_part(file, entry, 0, shape_count(entry->shape), to, err);
}

kiln_status tensor_file_read_f32(const tensor_file *file, const tensor_entry *entry, int64_t first,
                                 int64_t count, float *to, kiln_error *err)
{
    if (entry->type == DTYPE_F32)
        return tensor_file_read_part(file, entry, first, count, to, err);
    size_t bytes = dtype_size(entry->type);
    /* Strided: in one piece, because each part would read the whole span again. */
    int64_t step = entry->strided && count > 0 ? count : (int64_t)(BUFFER_BYTES / bytes);
    if (count > 0 && step > count)
        step = count;
    void *buffer = malloc((size_t)(step < 0 ? 0 : step) * bytes + 1);
    if (!buffer)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read '%s'", file->path, entry->name);
    kiln_status status = KILN_OK;
    int64_t done = 0;
    do {
        int64_t n = count - done < step ? count - done : step;
        status = tensor_file_read_part(file, entry, first + done, n, buffer, err);
        if (!status && n > 0)
            convert_to_f32(buffer, entry->type, to + done, (size_t)n);
        done += n;
    } while (!status && done < count);
    free(buffer);
    return status;
}
