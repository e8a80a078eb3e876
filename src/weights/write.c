/* write.c - see write.h. */
#include "weights/write.h"

#include "formats/name_index.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_NAME = 2 * PATH_TEXT + 128 };

/* How parameter i is stored under the output's dialect. */
static storage_marks marks_of(const weights_output *o, int i)
{
    const parameter *p = &o->graph->parameters[i];
    if (o->dialect == DIALECT_ORIGINAL)
        return storage_marks_of(p->original);
    return (storage_marks){.name_length = (int)strlen(p->canonical), .parts = 1};
}

static void name_of(const weights_output *o, int i, const storage_marks *marks, char name[FULL_NAME])
{
    const parameter *p = &o->graph->parameters[i];
    snprintf(name, FULL_NAME, "%s%.*s", o->prefix, marks->name_length,
             o->dialect == DIALECT_ORIGINAL ? p->original : p->canonical);
}

static dtype type_of(const weights_output *o, int i)
{
    dtype type = o->as ? weights_type(o->as, i) : o->type;
    return type == DTYPE_F64 ? DTYPE_F32 : type;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The one irregularity of rank: CompVis' VAE keeps its attention's matrices as 1x1 convolutions, diffusers' as
 * matrices. */
static shape rank_of_dialect(const weights_output *o, const char *name, shape s)
{
    static const char *const original[] = {".attn_1.q.weight", ".attn_1.k.weight", ".attn_1.v.weight",
                                           ".attn_1.proj_out.weight"};
    static const char *const canonical[] = {".to_q.weight", ".to_k.weight", ".to_v.weight",
                                            ".to_out.0.weight"};
    for (int i = 0; i < 4; i++) {
        if (o->dialect == DIALECT_ORIGINAL && s.rank == 2 && ends_with(name, original[i]))
            return SHAPE4(s.dim[0], s.dim[1], 1, 1);
        if (o->dialect == DIALECT_CANONICAL && s.rank == 4 && ends_with(name, canonical[i]))
            return SHAPE2(s.dim[0], s.dim[1]);
    }
    return s;
}

static shape stored_shape(const weights_output *o, int i, const storage_marks *marks, const char *name)
{
    shape s = o->graph->parameters[i].shape;
    if (marks->transposed && s.rank == 2)
        return SHAPE2(s.dim[1], s.dim[0]);
    if (s.rank > 0)
        s.dim[0] *= marks->parts;
    return rank_of_dialect(o, name, s);
}

bool weights_all_finite(const float *values, int64_t count)
{
    float bad = 0; /* NaN or infinity times 0 is NaN, all else 0 */
    for (int64_t i = 0; i < count; i++)
        bad += values[i] * 0.0f;
    return bad == 0;
}

kiln_status weights_check_range(const char *name, dtype type, const float *values, int64_t count,
                                kiln_error *err)
{
    /* The largest that does not round to infinity. */
    float largest = type == DTYPE_F16       ? 65519.99f
                    : type == DTYPE_F8_E4M3 ? 464.0f
                    : type == DTYPE_F8_E5M2 ? 61439.99f
                                            : INFINITY;
    for (int64_t i = 0; i < count; i++)
        if (fabsf(values[i]) > largest && isfinite(values[i]))
            return fail(err, KILN_MISMATCH, "tensor '%s' holds %g, which is too large for %s", name,
                        (double)values[i], dtype_name(type));
    return KILN_OK;
}

kiln_status weights_declare(safetensors_writer *writer, const weights_output *o, kiln_error *err)
{
    char name[FULL_NAME];
    kiln_status status = KILN_OK;
    for (int i = 0; i < o->graph->parameter_count && !status; i++) {
        storage_marks marks = marks_of(o, i);
        name_of(o, i, &marks, name);
        if (marks.part == 0)
            status = safetensors_writer_declare(writer, name, type_of(o, i), stored_shape(o, i, &marks, name),
                                                err);
    }
    return status;
}

int64_t weights_output_bytes(const weights_output *o)
{
    int64_t bytes = 0;
    for (int i = 0; i < o->graph->parameter_count; i++)
        bytes += shape_count(o->graph->parameters[i].shape) * (int64_t)dtype_size(type_of(o, i));
    return bytes;
}

static void transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

static kiln_status refuse_not_finite(const weights_output *o, int i, const char *name, kiln_error *err)
{
    const parameter *p = &o->graph->parameters[i];
    char place[FULL_NAME + 64] = "";
    if (o->source.describe)
        o->source.describe(o->source.self, p, i, place, sizeof place);
    else
        snprintf(place, sizeof place, "tensor '%s'", name);
    return fail(err, KILN_BAD_FORMAT, "%s holds NaN or infinity: it is damaged", place);
}

/* One parameter's values in stored order and type, appended to the tensor `name`. */
static kiln_status write_one(safetensors_writer *writer, const weights_output *o, int i, dtype type,
                             const char *name, bool transposed, kiln_error *err)
{
    const parameter *p = &o->graph->parameters[i];
    size_t count = (size_t)shape_count(p->shape), bytes = count * dtype_size(type);
    float *values = malloc(count * sizeof *values), *turned = NULL;
    void *stored = malloc(bytes);
    kiln_status status = KILN_OK;
    if (transposed)
        turned = malloc(count * sizeof *turned);
    if (!values || !stored || (transposed && !turned))
        status = fail(err, KILN_NO_MEMORY, "not enough memory to write '%s' (%zu bytes)", name, bytes);
    if (!status)
        status = o->source.read(o->source.self, p, i, values, err);
    if (!status && !weights_all_finite(values, (int64_t)count))
        status = refuse_not_finite(o, i, name, err);
    if (!status)
        status = weights_check_range(name, type, values, (int64_t)count, err);
    if (!status && transposed)
        transpose(values, p->shape.dim[0], p->shape.dim[1], turned);
    if (!status) {
        convert_from_f32(transposed ? turned : values, stored, type, count);
        status = safetensors_writer_write(writer, name, stored, bytes, err);
    }
    free(values);
    free(turned);
    free(stored);
    return status;
}

/* The parts of a joined tensor may be declared in any order and apart: found by their full names, marks included. */
static bool index_originals(const weights_output *o, name_index *index)
{
    for (int i = 0; i < o->graph->parameter_count; i++)
        if (!name_index_put(index, o->graph->parameters[i].original, (uint32_t)i))
            return false;
    return true;
}

static kiln_status write_parts(safetensors_writer *writer, const weights_output *o, int first,
                               const storage_marks *marks, const name_index *index,
                               const weights_progress *progress, kiln_error *err)
{
    char name[FULL_NAME], key[FULL_NAME];
    kiln_status status = KILN_OK;
    name_of(o, first, marks, name);
    for (int k = 0; k < marks->parts && !status; k++) {
        int64_t i = first;
        if (k > 0) {
            snprintf(key, sizeof key, "%.*s[%d/%d]", marks->name_length, o->graph->parameters[first].original,
                     k, marks->parts);
            i = name_index_find(index, key);
        }
        if (i < 0)
            return fail(err, KILN_INTERNAL, "the model declares no parameter '%s'", key);
        /* All parts have the type that was announced: that of the first. */
        status = write_one(writer, o, (int)i, type_of(o, first), name, marks->transposed, err);
        int64_t bytes = shape_count(o->graph->parameters[i].shape) * (int64_t)dtype_size(type_of(o, first));
        if (!status && progress && progress->step && !progress->step(progress->user, bytes))
            status = fail(err, KILN_CANCELLED, "writing was cancelled at '%s'", name);
    }
    return status;
}

kiln_status weights_write(safetensors_writer *writer, const weights_output *o,
                          const weights_progress *progress, kiln_error *err)
{
    name_index index = {0};
    kiln_status status = KILN_OK;
    if (o->dialect == DIALECT_ORIGINAL && !index_originals(o, &index))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the names of %d parameters",
                      o->graph->parameter_count);
    for (int i = 0; i < o->graph->parameter_count && !status; i++) {
        storage_marks marks = marks_of(o, i);
        if (marks.part == 0)
            status = write_parts(writer, o, i, &marks, &index, progress, err);
    }
    name_index_fini(&index);
    return status;
}
