/* pickle_view.c - see pickle_view.h.
 *
 * The walk has to survive what a pickle can express: a container inside itself (refused), and a container shared
 * so often that its expansion never ends (a limit on visits). */
#include "formats/pickle_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 48, VISITS_MAX = 1 << 22, NAME_MAX_BYTES = 1024, VALUES_SHOWN_MAX = 1 << 14 };
enum { TEXT_SHOWN_MAX = 64 << 10, VALUE_BYTES_MAX = 16 << 20 };

/* Where checkpoints keep their weights, the likelier first. */
static const char *const wrappers[] = {
    "state_dict", "model_state_dict", "params_ema", "params-ema", "params", "model",
    "net",        "module",           "generator",  "weights"};

typedef struct walk {
    tensor_file *file;
    storage_finder find;
    void *self;
    kiln_error *err;
    const pickle_value *shown; /* the wrapper whose tensors get entries */
    bool inside;
    char name[NAME_MAX_BYTES]; /* the path of the value, dots between */
    size_t length;
    size_t visits, name_bytes, value_bytes;
    pickle_text stranger; /* the first class that would be needed to make something of the file */
} walk;

static int clip(size_t length)
{
    return (int)(length < 200 ? length : 200);
}

static kiln_status describe_tensor(walk *w, const pickle_tensor *tensor, tensor_entry *entry)
{
    if (!tensor->known) {
        pickle_text type = tensor->storage ? tensor->storage->class_name : (pickle_text){"numpy object", 12};
        return fail(w->err, KILN_UNSUPPORTED, "%s: tensor '%s' has elements of an unsupported type (%.*s)",
                    w->file->path, entry->name, clip(type.length), type.bytes);
    }
    entry->type = tensor->type;
    entry->shape = tensor->shape;
    entry->strided = !tensor->contiguous;
    memcpy(entry->stride, tensor->stride, sizeof entry->stride);
    uint64_t bytes = dtype_size(tensor->type);
    if (!tensor->storage) {
        uint8_t *copy = arena_alloc(&w->file->memory, tensor->bytes.length + 1);
        if (!copy)
            return no_memory(w->file, w->err);
        memcpy(copy, tensor->bytes.bytes, tensor->bytes.length);
        entry->bytes = copy;
        return KILN_OK;
    }
    kiln_status status = w->find(w->self, w->file, tensor->storage, entry, w->err);
    if (status)
        return fail_within(w->err, status, "tensor '%s'", entry->name);
    uint64_t stored = tensor->storage->untyped ? bytes : dtype_size(tensor->storage->type);
    entry->offset += (uint64_t)tensor->offset * bytes + (uint64_t)tensor->storage->first * stored;
    return KILN_OK;
}

static kiln_status add_tensor(walk *w, const pickle_tensor *tensor)
{
    if (!w->inside) {
        w->file->outside++;
        return KILN_OK;
    }
    /* An array that could not be read (of texts, say) is no weight. */
    if (!tensor->known && !tensor->storage)
        return KILN_OK;
    w->name_bytes += w->length;
    if (w->name_bytes > VALUE_BYTES_MAX * 4u)
        return fail(w->err, KILN_BAD_FORMAT, "%s: the names of its tensors take too much room",
                    w->file->path);
    tensor_entry *entry = tensor_file_add(w->file, w->length ? w->name : "tensor");
    return entry ? describe_tensor(w, tensor, entry) : no_memory(w->file, w->err);
}

static kiln_status add_value(walk *w, const char *text)
{
    w->value_bytes += w->length + strlen(text);
    if (w->file->values.count >= VALUES_SHOWN_MAX || w->value_bytes > VALUE_BYTES_MAX)
        return KILN_OK;
    return tensor_file_add_text(w->file, &w->file->values, w->name, text) ? KILN_OK
                                                                          : no_memory(w->file, w->err);
}

static kiln_status add_text_value(walk *w, pickle_text from)
{
    if (from.length > TEXT_SHOWN_MAX || memchr(from.bytes, 0, from.length))
        return KILN_OK;
    char *text = malloc(from.length + 1);
    if (!text)
        return no_memory(w->file, w->err);
    memcpy(text, from.bytes, from.length);
    text[from.length] = '\0';
    kiln_status status = add_value(w, text);
    free(text);
    return status;
}

static kiln_status add_float_value(walk *w, double number)
{
    char text[40];
    /* The shortest form that reads back as the same number. */
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return add_value(w, text);
}

static kiln_status visit(walk *w, pickle_value *value, int depth);

/* Visit a child under the path plus ".key". */
static kiln_status visit_child(walk *w, pickle_text key, pickle_value *value, int depth)
{
    size_t before = w->length;
    bool fits = w->length + key.length + 2 <= sizeof w->name && !memchr(key.bytes, 0, key.length);
    if (!fits) {
        bool matters = value->kind == PICKLE_TENSOR && w->inside;
        return matters ? fail(w->err, KILN_BAD_FORMAT, "%s: a tensor's name is too long or holds a zero byte",
                              w->file->path)
                       : KILN_OK;
    }
    if (before)
        w->name[w->length++] = '.';
    memcpy(w->name + w->length, key.bytes, key.length);
    w->length += key.length;
    w->name[w->length] = '\0';
    kiln_status status = visit(w, value, depth + 1);
    w->length = before;
    w->name[before] = '\0';
    return status;
}

static kiln_status visit_items(walk *w, const pickle_value *value, int depth)
{
    bool dict = value->kind == PICKLE_DICT;
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < value->list.count && !status; i += dict ? 2 : 1) {
        char number[32];
        pickle_text key = {number, 0};
        const pickle_value *name = value->list.items[i];
        if (dict && name->kind == PICKLE_TEXT)
            key = name->text;
        else if (dict && name->kind != PICKLE_INT)
            continue;
        else
            key.length =
                (size_t)snprintf(number, sizeof number, "%" PRId64, dict ? name->integer : (int64_t)i);
        status = visit_child(w, key, value->list.items[i + (dict ? 1 : 0)], depth);
    }
    return status;
}

static kiln_status visit_container(walk *w, pickle_value *value, int depth)
{
    if (value->on_path)
        return fail(w->err, KILN_BAD_FORMAT,
                    "%s: the pickle holds a container that contains itself (at '%s')", w->file->path,
                    w->name);
    if (depth > DEPTH_MAX)
        return fail(w->err, KILN_BAD_FORMAT, "%s: the pickle is nested more than %d deep", w->file->path,
                    DEPTH_MAX);
    bool was_inside = w->inside;
    size_t length = w->length;
    char saved[NAME_MAX_BYTES];
    bool root = value == w->shown;
    if (root) {
        /* Names of tensors begin anew inside the wrapper. */
        memcpy(saved, w->name, length + 1);
        w->inside = true;
        w->length = 0;
        w->name[0] = '\0';
    }
    value->on_path = true;
    kiln_status status = visit_items(w, value, depth);
    value->on_path = false;
    if (root) {
        memcpy(w->name, saved, length + 1);
        w->length = length;
    }
    w->inside = was_inside;
    return status;
}

/* The dict inside a torch.nn.ParameterDict or ParameterList, which is a module with `_parameters`. */
static pickle_value *parameters_of(const pickle_value *object)
{
    pickle_text name = object->object.class_name;
    static const char *const classes[] = {"torch.nn.modules.container.ParameterDict",
                                          "torch.nn.modules.container.ParameterList"};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (pickle_text_is(name, classes[i]))
            return pickle_get(object->object.state, "_parameters");
    return NULL;
}

static kiln_status visit_object(walk *w, const pickle_value *object, int depth)
{
    pickle_value *parameters = parameters_of(object);
    if (parameters)
        return visit(w, parameters, depth + 1);
    pickle_text name = object->object.class_name;
    if (!w->stranger.bytes)
        w->stranger = name;
    /* In the place of a weight, a tensor of a kind that only torch could rebuild. */
    if (w->inside && name.length > 21 && memcmp(name.bytes, "torch._utils._rebuild", 21) == 0)
        return fail(w->err, KILN_UNSUPPORTED, "%s: tensor '%s' needs %.*s, which is not supported",
                    w->file->path, w->name, clip(name.length), name.bytes);
    return KILN_OK;
}

static kiln_status visit(walk *w, pickle_value *value, int depth)
{
    char number[32];
    if (++w->visits > VISITS_MAX)
        return fail(w->err, KILN_BAD_FORMAT, "%s: the pickle expands to more than %d values", w->file->path,
                    VISITS_MAX);
    switch (value->kind) {
    case PICKLE_BOOL:
        return add_value(w, value->truth ? "true" : "false");
    case PICKLE_INT:
        snprintf(number, sizeof number, "%" PRId64, value->integer);
        return add_value(w, number);
    case PICKLE_FLOAT:
        return add_float_value(w, value->number);
    case PICKLE_TEXT:
        return add_text_value(w, value->text);
    case PICKLE_LIST:
    case PICKLE_TUPLE:
    case PICKLE_SET:
    case PICKLE_DICT:
        return visit_container(w, value, depth);
    case PICKLE_OBJECT:
        return visit_object(w, value, depth);
    case PICKLE_TENSOR:
    case PICKLE_ARRAY:
        return add_tensor(w, value->tensor);
    default:
        return KILN_OK;
    }
}

/* Whether a dict holds a tensor directly or a few levels below. */
static bool has_tensor(const pickle_value *value, int levels)
{
    if (value->kind == PICKLE_TENSOR || value->kind == PICKLE_ARRAY)
        return true;
    if (value->kind != PICKLE_DICT || levels == 0)
        return false;
    for (size_t i = 0; i + 1 < value->list.count; i += 2)
        if (has_tensor(value->list.items[i + 1], levels - 1))
            return true;
    return false;
}

static pickle_value *inner_wrapper(const pickle_value *root, const char **name)
{
    bool direct = has_tensor(root, 1);
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        pickle_value *inner = pickle_get(root, wrappers[i]);
        if (inner && inner->kind == PICKLE_DICT && (i == 0 || (!direct && has_tensor(inner, 2)))) {
            *name = wrappers[i];
            return inner;
        }
    }
    return NULL;
}

kiln_status pickle_view(tensor_file *file, pickle_value *root, storage_finder find, void *self,
                        kiln_error *err)
{
    walk w = {.file = file, .find = find, .self = self, .err = err, .shown = root};
    const char *name = NULL;
    for (int level = 0; level < 3; level++) {
        pickle_value *inner = inner_wrapper(w.shown, &name);
        if (!inner)
            break;
        w.shown = inner;
        file->wrapper = name;
    }
    w.inside = root->kind == PICKLE_TENSOR || root->kind == PICKLE_ARRAY;
    kiln_status status = visit(&w, root, 0);
    if (status)
        return status;
    if (file->count == 0 && w.stranger.bytes)
        return fail(
            err, KILN_UNSUPPORTED,
            "%s: holds no tensors, only objects whose code is never run (%.*s): save its state_dict instead",
            file->path, clip(w.stranger.length), w.stranger.bytes);
    if (file->count == 0 && root->kind != PICKLE_DICT)
        return fail(err, KILN_BAD_FORMAT, "%s: a pickle without tensors", file->path);
    return KILN_OK;
}
