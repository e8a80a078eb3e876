/* convert_names.c - any weights file to safetensors under the same names: nothing is understood, only copied. */
#include "pipeline/convert.h"

#include <math.h>
#include <stdlib.h>

enum { COPY_BYTES = 4 << 20 };

/* Buffers of training and schedules keep their type: they are no weights, and half precision would harm them. */
static dtype copy_type(const conversion *c, const tensor_entry *e)
{
    bool keep = c->keep_types || !dtype_is_floating(e->type) || weights_is_harmless(e->name);
    return keep ? e->type : c->type;
}

static kiln_status declare_all(safetensors_writer *writer, const tensor_file *file, conversion *c,
                               kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < tensor_file_metadata_count(file) && !status; i++) {
        const char *text, *key = tensor_file_metadata_at(file, i, &text);
        status = safetensors_writer_metadata(writer, key, text, err);
    }
    for (size_t i = 0; i < tensor_file_count(file) && !status; i++) {
        const tensor_entry *e = tensor_file_entry(file, i);
        dtype type = copy_type(c, e);
        c->total += shape_count(e->shape) * (int64_t)dtype_size(type);
        status = safetensors_writer_declare(writer, e->name, type, e->shape, err);
    }
    return status;
}

/* `count` elements from `first`: as they are, or through f32. */
static kiln_status copy_part(safetensors_writer *writer, const tensor_file *file, const tensor_entry *e,
                             dtype type, int64_t first, int64_t count, void *stored, float *values,
                             kiln_error *err)
{
    /* Masks and schedules may hold infinity. */
    bool checked = dtype_is_floating(e->type) && !weights_is_harmless(e->name);
    kiln_status status = KILN_OK;
    if (type == e->type) {
        status = tensor_file_read_part(file, e, first, count, stored, err);
        if (!status && checked)
            convert_to_f32(stored, type, values, (size_t)count);
    } else {
        status = tensor_file_read_f32(file, e, first, count, values, err);
    }
    if (!status && checked && !weights_all_finite(values, count))
        status = fail(err, KILN_BAD_FORMAT, "the tensor '%s' holds NaN or infinity: it is damaged", e->name);
    if (!status && type != e->type) {
        status = weights_check_range(e->name, type, values, count, err);
        convert_from_f32(values, stored, type, (size_t)count);
    }
    return status ? status
                  : safetensors_writer_write(writer, e->name, stored, (size_t)count * dtype_size(type), err);
}

static kiln_status copy_tensor(safetensors_writer *writer, const tensor_file *file, const tensor_entry *e,
                               conversion *c, kiln_error *err)
{
    dtype type = copy_type(c, e);
    int64_t all = shape_count(e->shape), step = COPY_BYTES / 8;
    if (step > all || e->strided) /* a strided tensor is gathered anew by each read */
        step = all > 0 ? all : 1;
    void *stored = malloc((size_t)step * 8);
    float *values = malloc((size_t)step * sizeof *values);
    kiln_status status = KILN_OK;
    if (!stored || !values)
        status = fail(err, KILN_NO_MEMORY, "not enough memory to copy '%s'", e->name);
    for (int64_t first = 0; first < all && !status; first += step) {
        int64_t count = all - first < step ? all - first : step;
        status = copy_part(writer, file, e, type, first, count, stored, values, err);
        if (!status && !conversion_step(c, count * (int64_t)dtype_size(type)))
            status = fail(err, KILN_CANCELLED, "the conversion was cancelled at '%s'", e->name);
    }
    free(stored);
    free(values);
    return status;
}

kiln_status convert_names_kept(const char *from, const char *to, conversion *c, kiln_error *err)
{
    tensor_file *file;
    safetensors_writer *writer = NULL;
    kiln_status status = tensor_file_open(from, &file, err);
    if (status)
        return status;
    if (tensor_file_count(file) == 0)
        status = fail(err, KILN_BAD_FORMAT, "%s: the file holds no tensors", from);
    if (!status)
        status = safetensors_writer_open(to, &writer, err);
    if (!status)
        status = declare_all(writer, file, c, err);
    for (size_t i = 0; !status && i < tensor_file_count(file); i++)
        status = copy_tensor(writer, file, tensor_file_entry(file, i), c, err);
    if (!status) {
        status = safetensors_writer_finish(writer, err);
    } else if (writer) {
        safetensors_writer_abort(writer);
        status = fail_within(err, status, "%s", from);
    }
    tensor_file_close(file);
    return status;
}
