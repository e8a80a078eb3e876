/* safetensors.c - reading the header of a safetensors file; see tensor_file.h, and safetensors.h for the format.
 *
 * Everything that the format demands is checked before a byte of data is believed: the header's size, the JSON
 * type in every place, known element types, offsets that are ordered, lie in the file, agree with the shape, and
 * cover the data without overlap or hole. */
#include "formats/safetensors.h"
#include "formats/tensor_file_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static kiln_status read_shape(const tensor_file *file, const char *name, const json_t *value, shape *out,
                              kiln_error *err)
{
    if (!json_is_array(value))
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': 'shape' is missing or no list", file->path, name);
    if (json_array_size(value) > SHAPE_MAX_RANK)
        return fail(err, KILN_UNSUPPORTED, "%s: tensor '%s' has %zu dimensions, at most %d are supported",
                    file->path, name, json_array_size(value), SHAPE_MAX_RANK);
    *out = (shape){.rank = (int)json_array_size(value)};
    for (int i = 0; i < out->rank; i++) {
        const json_t *dim = json_array_get(value, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': 'shape' must hold numbers of 0 or more",
                        file->path, name);
        out->dim[i] = json_integer_value(dim);
    }
    if (!shape_is_valid(*out))
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': its shape is too large for any file", file->path,
                    name);
    return KILN_OK;
}

static kiln_status read_offsets(const tensor_file *file, const char *name, const json_t *value,
                                uint64_t data_size, uint64_t *begin, uint64_t *end, kiln_error *err)
{
    const json_t *first = json_array_get(value, 0), *second = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(first) ||
        !json_is_integer(second))
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': 'data_offsets' must be two whole numbers",
                    file->path, name);
    json_int_t a = json_integer_value(first), b = json_integer_value(second);
    if (a < 0 || b < a)
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': its data goes from byte %lld to byte %lld",
                    file->path, name, (long long)a, (long long)b);
    if ((uint64_t)b > data_size)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: tensor '%s' ends at byte %lld of the data, the file has %" PRIu64 " (truncated?)",
                    file->path, name, (long long)b, data_size);
    *begin = (uint64_t)a;
    *end = (uint64_t)b;
    return KILN_OK;
}

static kiln_status read_tensor(tensor_file *file, const char *name, const json_t *value, uint64_t data_at,
                               kiln_error *err)
{
    if (!json_is_object(value))
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s' is not described by an object", file->path, name);
    const char *type_name = json_string_value(json_object_get(value, "dtype"));
    dtype type;
    if (!type_name)
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s': 'dtype' is missing or no text", file->path, name);
    if (!dtype_from_name(type_name, &type))
        return fail(err, KILN_UNSUPPORTED, "%s: tensor '%s' has the unknown type '%s'", file->path, name,
                    type_name);
    shape dims = {0};
    uint64_t begin = 0, end = 0;
    kiln_status status = read_shape(file, name, json_object_get(value, "shape"), &dims, err);
    if (!status)
        status = read_offsets(file, name, json_object_get(value, "data_offsets"), file->source.size - data_at,
                              &begin, &end, err);
    if (status)
        return status;
    uint64_t bytes = (uint64_t)shape_count(dims) * dtype_size(type);
    char text[SHAPE_TEXT];
    if (bytes != end - begin)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: tensor '%s' %s %s takes %" PRIu64 " bytes, its offsets hold %" PRIu64, file->path,
                    name, type_name, shape_text(dims, text), bytes, end - begin);
    tensor_entry *entry = tensor_file_add(file, name);
    if (!entry)
        return no_memory(file, err);
    entry->type = type;
    entry->shape = dims;
    entry->offset = data_at + begin;
    return KILN_OK;
}

static kiln_status read_metadata(tensor_file *file, const json_t *metadata, kiln_error *err)
{
    const char *key;
    json_t *text;
    if (!json_is_object(metadata))
        return fail(err, KILN_BAD_FORMAT, "%s: '__metadata__' is not an object", file->path);
    json_object_foreach((json_t *)metadata, key, text)
    {
        if (!json_is_string(text))
            return fail(err, KILN_BAD_FORMAT, "%s: '__metadata__': the value of '%s' is not a text",
                        file->path, key);
        if (!tensor_file_add_text(file, &file->metadata, key, json_string_value(text)))
            return no_memory(file, err);
    }
    return KILN_OK;
}

static int by_place(const void *left, const void *right)
{
    const tensor_entry *a = *(const tensor_entry *const *)left, *b = *(const tensor_entry *const *)right;
    uint64_t a_size = tensor_entry_bytes(a), b_size = tensor_entry_bytes(b);
    return a->offset != b->offset ? (a->offset < b->offset ? -1 : 1)
           : a_size != b_size     ? (a_size < b_size ? -1 : 1)
                                  : strcmp(a->name, b->name);
}

/* In the order of their places, every tensor begins where the one before it ends. */
static kiln_status check_cover(const tensor_file *file, uint64_t data_at, kiln_error *err)
{
    const tensor_entry **order = malloc((file->count + 1) * sizeof *order);
    if (!order)
        return no_memory(file, err);
    for (size_t i = 0; i < file->count; i++)
        order[i] = &file->entries[i];
    qsort(order, file->count, sizeof *order, by_place);
    uint64_t at = data_at;
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < file->count && !status; i++) {
        if (order[i]->offset < at)
            status = fail(err, KILN_BAD_FORMAT, "%s: the data of tensors '%s' and '%s' overlap", file->path,
                          order[i - 1]->name, order[i]->name);
        else if (order[i]->offset > at)
            status =
                fail(err, KILN_BAD_FORMAT, "%s: %" PRIu64 " bytes before tensor '%s' belong to no tensor",
                     file->path, order[i]->offset - at, order[i]->name);
        at = order[i]->offset + tensor_entry_bytes(order[i]);
    }
    free(order);
    if (!status && at != file->source.size)
        status = fail(err, KILN_BAD_FORMAT, "%s: the last %" PRIu64 " bytes of the file belong to no tensor",
                      file->path, file->source.size - at);
    return status;
}

static kiln_status read_document(tensor_file *file, json_t *document, uint64_t data_at, kiln_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(document))
        return fail(err, KILN_BAD_FORMAT, "%s: the safetensors header is not an object", file->path);
    json_object_foreach(document, name, value)
    {
        kiln_status status = strcmp(name, "__metadata__") == 0 ? read_metadata(file, value, err)
                                                               : read_tensor(file, name, value, data_at, err);
        if (status)
            return status;
    }
    return check_cover(file, data_at, err);
}

kiln_status safetensors_read_header(tensor_file *file, kiln_error *err)
{
    uint8_t length_bytes[8];
    kiln_status status = byte_source_read(&file->source, 0, length_bytes, sizeof length_bytes, err);
    if (status)
        return status;
    uint64_t length = little_u64(length_bytes);
    file->format = "safetensors";
    if (length > SAFETENSORS_HEADER_MAX)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: the safetensors header claims %" PRIu64 " bytes, at most %d are read", file->path,
                    length, SAFETENSORS_HEADER_MAX);
    char *text = malloc((size_t)length + 1);
    if (!text)
        return no_memory(file, err);
    json_t *document = NULL;
    json_error_t where;
    status = byte_source_read(&file->source, 8, text, (size_t)length, err);
    if (!status) {
        document = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &where);
        status = document
                     ? read_document(file, document, 8 + length, err)
                     : fail(err, KILN_BAD_FORMAT, "%s: the safetensors header is not valid JSON: byte %d: %s",
                            file->path, where.position, where.text);
    }
    json_decref(document);
    free(text);
    return status;
}
