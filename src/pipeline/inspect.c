/* inspect.c - kiln_inspect: what a file is, from its header alone; opening reads no tensor data, so a file of any size
 * takes milliseconds. */
#include "pipeline/inspect.h"

#include "formats/hash.h"
#include "formats/identify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool add_fact(kiln_inspection *found, const char *name, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!text[0] || found->fact_count == INSPECT_MAX_FACTS)
        return true;
    const char *copy = arena_text(&found->memory, text);
    if (!copy)
        return false;
    found->facts[found->fact_count].name = name;
    found->facts[found->fact_count++].text = copy;
    return true;
}

/* ------------------------------------------------------------------------------------ facts of one file */

static kiln_status inspect_file(kiln_inspection *found, const char *path, kiln_error *err)
{
    identity is;
    kiln_status status = tensor_file_open(path, &found->own_file, err);
    if (status)
        return status;
    const tensor_file *file = found->own_file;
    identify(file, &is);
    bool good = add_fact(found, "kind", "%s", weights_kind_text(is.kind)) &&
                add_fact(found, "family", "%s", is.family_text) &&
                add_fact(found, "prediction", "%s", is.prediction_text) &&
                add_fact(found, "dialect", "%s", is.dialect) && add_fact(found, "parts", "%s", is.parts) &&
                add_fact(found, "missing", "%s", is.missing) && add_fact(found, "detail", "%s", is.detail) &&
                add_fact(found, "supported", "%s", is.supported ? "" : "no") &&
                add_fact(found, "format", "%s", tensor_file_format(file)) &&
                add_fact(found, "wrapper", "%s", tensor_file_wrapper(file) ? tensor_file_wrapper(file) : "");
    if (good && tensor_file_outside_count(file))
        good = add_fact(found, "other tensors", "%zu outside the wrapper (of an optimizer, say)",
                        tensor_file_outside_count(file));
    /* The one hash that reads 64 KiB however large the file is. */
    char old[9];
    if (good && tensor_file_size(file) > 0x110000 && hash_file_old(path, old, NULL) == KILN_OK)
        good = add_fact(found, "old hash", "%s", old);
    found->files[found->file_count++] = (inspected_file){file, ""};
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: not enough memory to inspect it", path);
}

/* ------------------------------------------------------------------------------------ sums over all files */

static size_t all_tensors(const kiln_inspection *found)
{
    size_t count = 0;
    for (int i = 0; i < found->file_count; i++)
        count += tensor_file_count(found->files[i].file);
    return count;
}

/* "F16 1130, I64 1". */
static void count_types(const kiln_inspection *found, char *text, size_t size)
{
    size_t counts[DTYPE_COUNT] = {0};
    for (int i = 0; i < found->file_count; i++)
        for (size_t k = 0; k < tensor_file_count(found->files[i].file); k++)
            counts[tensor_file_entry(found->files[i].file, k)->type]++;
    text[0] = '\0';
    for (int t = 0; t < DTYPE_COUNT; t++) {
        size_t used = strlen(text);
        if (counts[t])
            snprintf(text + used, size - used, "%s%s %zu", used ? ", " : "", dtype_name((dtype)t), counts[t]);
    }
}

static bool add_sums(kiln_inspection *found)
{
    char types[256];
    uint64_t bytes = 0;
    int64_t parameters = 0;
    for (int i = 0; i < found->file_count; i++) {
        const tensor_file *file = found->files[i].file;
        bytes += tensor_file_size(file);
        /* A header may claim more tensors than any machine holds numbers of: the sum stays in range. */
        for (size_t k = 0; k < tensor_file_count(file); k++) {
            int64_t count = shape_count(tensor_file_entry(file, k)->shape);
            parameters = count > INT64_MAX - parameters ? INT64_MAX : parameters + count;
        }
    }
    count_types(found, types, sizeof types);
    return add_fact(found, "tensors", "%zu", all_tensors(found)) &&
           add_fact(found, "parameters", "%" PRId64, parameters) && add_fact(found, "types", "%s", types) &&
           add_fact(found, "bytes", "%" PRIu64, bytes);
}

/* Full names ("unet/conv_in.weight") where there is more than one file. */
static bool list_names(kiln_inspection *found)
{
    size_t n = 0;
    found->names = calloc(all_tensors(found) + 1, sizeof *found->names);
    if (!found->names)
        return false;
    for (int i = 0; i < found->file_count; i++)
        for (size_t k = 0; k < tensor_file_count(found->files[i].file); k++) {
            const char *place = found->files[i].place,
                       *name = tensor_file_entry(found->files[i].file, k)->name;
            found->names[n] = *place ? arena_format(&found->memory, "%s%s", place, name) : name;
            if (!found->names[n++])
                return false;
        }
    return true;
}

/* ------------------------------------------------------------------------------------ the interface */

static bool is_there(const char *folder, const char *name)
{
    char path[4096];
    struct stat about;
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && stat(path, &about) == 0;
}

kiln_status kiln_inspect(const char *path, kiln_inspection **out, kiln_error *err)
{
    *out = NULL;
    if (!path || !*path)
        return fail(err, KILN_BAD_ARGUMENT, "the name of a file or folder is needed");
    kiln_inspection *found = calloc(1, sizeof *found);
    if (!found)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to inspect it", path);
    bool model = is_there(path, "model_index.json") || is_there(path, "unet") || is_there(path, "vae") ||
                 is_there(path, "text_encoder");
    kiln_status status = model ? inspect_folder(found, path, err) : inspect_file(found, path, err);
    if (!status && (!add_sums(found) || !list_names(found)))
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to inspect it", path);
    if (status)
        kiln_inspection_free(found);
    else
        *out = found;
    return status;
}

void kiln_inspection_free(kiln_inspection *found)
{
    if (!found)
        return;
    tensor_file_close(found->own_file);
    inspect_folder_close(found);
    free(found->names);
    arena_fini(&found->memory);
    free(found);
}

const char *kiln_inspection_fact(const kiln_inspection *found, int i, const char **name)
{
    if (i < 0 || i >= found->fact_count)
        return NULL;
    if (name)
        *name = found->facts[i].name;
    return found->facts[i].text;
}

/* Metadata first, then the numbers and texts of a pickle; of all files in turn. */
const char *kiln_inspection_metadata(const kiln_inspection *found, int i, const char **key)
{
    const char *text = NULL, *name = NULL;
    size_t left = i < 0 ? SIZE_MAX : (size_t)i;
    for (int f = 0; f < found->file_count && !name; f++) {
        const tensor_file *file = found->files[f].file;
        size_t metadata = tensor_file_metadata_count(file), values = tensor_file_value_count(file);
        if (left < metadata)
            name = tensor_file_metadata_at(file, left, &text);
        else if (left - metadata < values)
            name = tensor_file_value_at(file, left - metadata, &text);
        left -= metadata + values;
    }
    if (key)
        *key = name;
    return name ? text : NULL;
}

const char *kiln_inspection_tensor(const kiln_inspection *found, int i, const char **type, int *rank,
                                   const int64_t **dims)
{
    size_t left = (size_t)i;
    for (int f = 0; f < found->file_count && i >= 0; f++) {
        const tensor_file *file = found->files[f].file;
        if (left < tensor_file_count(file)) {
            const tensor_entry *e = tensor_file_entry(file, left);
            if (type)
                *type = dtype_name(e->type);
            if (rank)
                *rank = e->shape.rank;
            if (dims)
                *dims = e->shape.dim;
            return found->names[i];
        }
        left -= tensor_file_count(file);
    }
    return NULL;
}
