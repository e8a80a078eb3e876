/* pickle_build.c - the few names that a pickle may "call", and the inert values they give; see pickle_build.h.
 *
 * Nothing is ever executed: a name that is not in the table gives a record of the call (PICKLE_OBJECT). */
#include "formats/pickle_build.h"

#include "formats/byte_source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct call {
    pickle_builder *build;
    pickle_text name;
    pickle_value **arguments;
    size_t count;
    pickle_value **out;
} call;

static kiln_status wrong_arguments(const call *c)
{
    return fail(c->build->err, KILN_BAD_FORMAT, "%s: malformed pickle: wrong arguments for %.*s",
                c->build->what, (int)(c->name.length < 200 ? c->name.length : 200), c->name.bytes);
}

/* pickle_new filled the error when it gives NULL. */
static kiln_status made(const call *c)
{
    return *c->out ? KILN_OK : c->build->err->status;
}

static bool is_sequence(const pickle_value *value)
{
    return value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE || value->kind == PICKLE_SET;
}

/* The part of a global's name after its last dot. */
static pickle_text last_part(pickle_text name)
{
    size_t from = name.length;
    while (from > 0 && name.bytes[from - 1] != '.')
        from--;
    return (pickle_text){name.bytes + from, name.length - from};
}

/* ------------------------------------------------------------------------------------- torch */

static const struct {
    const char *name;
    dtype type;
} torch_types[] = {
    {"FloatStorage", DTYPE_F32},
    {"HalfStorage", DTYPE_F16},
    {"BFloat16Storage", DTYPE_BF16},
    {"DoubleStorage", DTYPE_F64},
    {"LongStorage", DTYPE_I64},
    {"IntStorage", DTYPE_I32},
    {"ShortStorage", DTYPE_I16},
    {"CharStorage", DTYPE_I8},
    {"ByteStorage", DTYPE_U8},
    {"BoolStorage", DTYPE_BOOL},
    {"UntypedStorage", DTYPE_U8},
    {"_UntypedStorage", DTYPE_U8},
    {"float32", DTYPE_F32},
    {"float", DTYPE_F32},
    {"float16", DTYPE_F16},
    {"half", DTYPE_F16},
    {"bfloat16", DTYPE_BF16},
    {"float64", DTYPE_F64},
    {"double", DTYPE_F64},
    {"float8_e4m3fn", DTYPE_F8_E4M3},
    {"float8_e5m2", DTYPE_F8_E5M2},
    {"int64", DTYPE_I64},
    {"long", DTYPE_I64},
    {"int32", DTYPE_I32},
    {"int", DTYPE_I32},
    {"int16", DTYPE_I16},
    {"short", DTYPE_I16},
    {"int8", DTYPE_I8},
    {"uint64", DTYPE_U64},
    {"uint32", DTYPE_U32},
    {"uint16", DTYPE_U16},
    {"uint8", DTYPE_U8},
    {"bool", DTYPE_BOOL},
};

static bool torch_type(const pickle_value *global, dtype *out)
{
    if (global->kind != PICKLE_GLOBAL || global->text.length < 6 ||
        memcmp(global->text.bytes, "torch.", 6) != 0)
        return false;
    pickle_text name = last_part(global->text);
    for (size_t i = 0; i < sizeof torch_types / sizeof *torch_types; i++)
        if (pickle_text_is(name, torch_types[i].name)) {
            *out = torch_types[i].type;
            return true;
        }
    return false;
}

kiln_status pickle_persistent(pickle_builder *build, pickle_value *id, pickle_value **out)
{
    pickle_value **item = id->list.items;
    bool torch_id = id->kind == PICKLE_TUPLE && id->list.count >= 2 && item[0]->kind == PICKLE_TEXT;
    /* ("module", class, source file, source): a class of the old format, nothing more than its name. */
    if (torch_id && pickle_text_is(item[0]->text, "module")) {
        *out = item[1];
        return KILN_OK;
    }
    if (!torch_id || id->list.count < 5 || !pickle_text_is(item[0]->text, "storage") ||
        item[1]->kind != PICKLE_GLOBAL || item[2]->kind != PICKLE_TEXT || item[4]->kind != PICKLE_INT ||
        item[4]->integer < 0)
        return fail(build->err, KILN_BAD_FORMAT,
                    "%s: malformed pickle: a persistent id that is no torch storage", build->what);
    *out = pickle_new(build, PICKLE_STORAGE);
    pickle_storage *storage = *out ? arena_alloc(build->memory, sizeof *storage) : NULL;
    if (!storage)
        return fail(build->err, KILN_NO_MEMORY, "%s: not enough memory", build->what);
    pickle_text name = last_part(item[1]->text);
    *storage = (pickle_storage){.key = item[2]->text, .class_name = item[1]->text, .count = item[4]->integer};
    storage->known = torch_type(item[1], &storage->type);
    storage->untyped = pickle_text_is(name, "UntypedStorage") || pickle_text_is(name, "_UntypedStorage");
    (*out)->storage = storage;
    if (id->list.count < 6 || item[5]->kind != PICKLE_TUPLE)
        return KILN_OK;
    /* (view key, first element, elements): a part of the storage (torch before 0.4). */
    pickle_value **view = item[5]->list.items;
    if (item[5]->list.count != 3 || view[1]->kind != PICKLE_INT || view[2]->kind != PICKLE_INT ||
        view[1]->integer < 0 || view[2]->integer < 0 || view[1]->integer > storage->count ||
        view[2]->integer > storage->count - view[1]->integer)
        return fail(build->err, KILN_BAD_FORMAT, "%s: malformed pickle: a storage view outside its storage",
                    build->what);
    storage->first = view[1]->integer;
    storage->count = view[2]->integer;
    return KILN_OK;
}

/* Numbers of a tuple into out[], at most SHAPE_MAX_RANK; -1 when it holds anything else. */
static int numbers_of(const pickle_value *tuple, int64_t out[SHAPE_MAX_RANK])
{
    if (!is_sequence(tuple) || tuple->list.count > SHAPE_MAX_RANK)
        return -1;
    for (size_t i = 0; i < tuple->list.count; i++) {
        if (tuple->list.items[i]->kind != PICKLE_INT || tuple->list.items[i]->integer < 0)
            return -1;
        out[i] = tuple->list.items[i]->integer;
    }
    return (int)tuple->list.count;
}

/* Whether every element lies inside `count` elements; fills `contiguous`. An axis of stride 0 repeats elements,
 * so that a small file could claim any size: the repeated tensor may hold a million elements, or four times its
 * storage. */
static bool tensor_fits(pickle_tensor *tensor, int64_t count)
{
    if (!shape_is_valid(tensor->shape) || tensor->offset < 0 || tensor->offset > count)
        return false;
    int64_t last = tensor->offset, packed = 1, all = shape_count(tensor->shape);
    tensor->contiguous = true;
    for (int i = tensor->shape.rank - 1; i >= 0; i--) {
        int64_t dim = tensor->shape.dim[i], stride = tensor->stride[i];
        if (dim > 1 && stride != packed)
            tensor->contiguous = false;
        packed *= dim;
        if (all == 0 || dim <= 1)
            continue;
        if (stride > 0 && dim - 1 > (count - last) / stride)
            return false;
        last += (dim - 1) * stride;
    }
    if (all == 0) {
        tensor->contiguous = true;
        return true;
    }
    return last < count && (all <= 1 << 20 || all / 4 <= count);
}

/* _rebuild_tensor(storage, offset, size, stride), _v2 with more that does not matter, _v3 with a dtype. */
static kiln_status make_tensor(const call *c, bool typed)
{
    pickle_value **a = c->arguments;
    if (c->count < (typed ? 7u : 4u) || a[0]->kind != PICKLE_STORAGE || a[1]->kind != PICKLE_INT)
        return wrong_arguments(c);
    *c->out = pickle_new(c->build, PICKLE_TENSOR);
    pickle_tensor *tensor = *c->out ? arena_alloc(c->build->memory, sizeof *tensor) : NULL;
    if (!tensor)
        return fail(c->build->err, KILN_NO_MEMORY, "%s: not enough memory", c->build->what);
    (*c->out)->tensor = tensor;
    const pickle_storage *storage = a[0]->storage;
    *tensor = (pickle_tensor){
        .storage = storage, .known = storage->known, .type = storage->type, .offset = a[1]->integer};
    int64_t count = storage->count;
    if (typed) {
        tensor->known = torch_type(a[6], &tensor->type);
        if (tensor->known && storage->untyped)
            count /= (int64_t)dtype_size(tensor->type);
    }
    if (is_sequence(a[2]) && a[2]->list.count > SHAPE_MAX_RANK)
        return fail(c->build->err, KILN_UNSUPPORTED,
                    "%s: a tensor has %zu dimensions, at most %d are supported", c->build->what,
                    a[2]->list.count, SHAPE_MAX_RANK);
    tensor->shape.rank = numbers_of(a[2], tensor->shape.dim);
    if (tensor->shape.rank < 0 || numbers_of(a[3], tensor->stride) != tensor->shape.rank)
        return wrong_arguments(c);
    if (!tensor_fits(tensor, count)) {
        char text[SHAPE_TEXT];
        return fail(c->build->err, KILN_BAD_FORMAT,
                    "%s: a tensor %s at %" PRId64 " does not fit into its storage '%.*s' of %" PRId64
                    " elements",
                    c->build->what, shape_text(tensor->shape, text), tensor->offset,
                    (int)(storage->key.length < 100 ? storage->key.length : 100), storage->key.bytes, count);
    }
    return KILN_OK;
}

static kiln_status build_tensor(const call *c)
{
    return make_tensor(c, false);
}

static kiln_status build_tensor_with_type(const call *c)
{
    return make_tensor(c, true);
}

/* The value itself: Parameter(data, ...), torch.Size(tuple), a numpy array as a tensor. */
static kiln_status build_first(const call *c)
{
    if (c->count < 1)
        return wrong_arguments(c);
    *c->out = c->arguments[0];
    return KILN_OK;
}

/* _rebuild_from_type_v2(function, type, arguments, state) */
static kiln_status build_from_type(const call *c)
{
    if (c->count < 3)
        return wrong_arguments(c);
    /* The function may not be this one again: an argument tuple that holds itself would never end. */
    if (c->arguments[0]->kind == PICKLE_GLOBAL &&
        pickle_text_is(c->arguments[0]->text, "torch._tensor._rebuild_from_type_v2"))
        return wrong_arguments(c);
    return pickle_call(c->build, c->arguments[0], c->arguments[2], c->out);
}

/* -------------------------------------------------------------------------------- containers */

static kiln_status build_dict(const call *c)
{
    *c->out = pickle_new(c->build, PICKLE_DICT);
    /* OrderedDict(pairs), defaultdict(factory, dict), dict(dict) */
    const pickle_value *from = c->count ? c->arguments[c->count - 1] : NULL;
    if (!*c->out || !from || (from->kind != PICKLE_DICT && !is_sequence(from)))
        return made(c);
    for (size_t i = 0; i < from->list.count; i++) {
        pickle_value *item = from->list.items[i];
        if (from->kind == PICKLE_DICT) {
            kiln_status status = pickle_append(c->build, *c->out, item);
            if (status)
                return status;
            continue;
        }
        if (!is_sequence(item) || item->list.count != 2)
            return wrong_arguments(c);
        for (size_t k = 0; k < 2; k++) {
            kiln_status status = pickle_append(c->build, *c->out, item->list.items[k]);
            if (status)
                return status;
        }
    }
    return KILN_OK;
}

static kiln_status build_sequence(const call *c, pickle_kind kind)
{
    *c->out = pickle_new(c->build, kind);
    if (!*c->out || c->count == 0)
        return made(c);
    const pickle_value *from = c->arguments[0];
    if (!is_sequence(from))
        return wrong_arguments(c);
    for (size_t i = 0, count = from->list.count; i < count; i++) {
        kiln_status status = pickle_append(c->build, *c->out, from->list.items[i]);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status build_set(const call *c)
{
    return build_sequence(c, PICKLE_SET);
}

static kiln_status build_list(const call *c)
{
    return build_sequence(c, PICKLE_LIST);
}

static kiln_status build_tuple(const call *c)
{
    return build_sequence(c, PICKLE_TUPLE);
}

/* _codecs.encode(text, "latin1"): how protocol 2 writes bytes. Each code point is a byte. */
static kiln_status build_bytes(const call *c)
{
    if (c->count < 1 || c->arguments[0]->kind != PICKLE_TEXT)
        return wrong_arguments(c);
    pickle_text from = c->arguments[0]->text;
    *c->out = pickle_new(c->build, PICKLE_BYTES);
    char *bytes = *c->out ? arena_alloc(c->build->memory, from.length + 1) : NULL;
    if (!bytes)
        return fail(c->build->err, KILN_NO_MEMORY, "%s: not enough memory", c->build->what);
    size_t used = 0;
    for (size_t i = 0; i < from.length; i++) {
        unsigned char byte = (unsigned char)from.bytes[i];
        if (byte >= 0x80) {
            unsigned char next = i + 1 < from.length ? (unsigned char)from.bytes[i + 1] : 0;
            if ((byte != 0xC2 && byte != 0xC3) || (next & 0xC0) != 0x80)
                return wrong_arguments(c);
            byte = (unsigned char)((byte & 3) << 6 | (next & 0x3F));
            i++;
        }
        bytes[used++] = (char)byte;
    }
    (*c->out)->text = (pickle_text){bytes, used};
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------- numpy */

static bool numpy_type(pickle_text name, dtype *out)
{
    static const struct {
        const char *name;
        dtype type;
    } types[] = {{"f4", DTYPE_F32}, {"f2", DTYPE_F16}, {"f8", DTYPE_F64}, {"i8", DTYPE_I64},
                 {"i4", DTYPE_I32}, {"i2", DTYPE_I16}, {"i1", DTYPE_I8},  {"u8", DTYPE_U64},
                 {"u4", DTYPE_U32}, {"u2", DTYPE_U16}, {"u1", DTYPE_U8},  {"b1", DTYPE_BOOL},
                 {"?", DTYPE_BOOL}};
    if (name.length && memchr("<|=", name.bytes[0], 3))
        name = (pickle_text){name.bytes + 1, name.length - 1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (pickle_text_is(name, types[i].name)) {
            *out = types[i].type;
            return true;
        }
    return false;
}

static kiln_status build_dtype(const call *c)
{
    if (c->count < 1)
        return wrong_arguments(c);
    *c->out = pickle_new(c->build, PICKLE_DTYPE);
    if (*c->out && c->arguments[0]->kind == PICKLE_TEXT)
        (*c->out)->element.known = numpy_type(c->arguments[0]->text, &(*c->out)->element.type);
    return made(c);
}

/* _reconstruct(ndarray, (0,), b"b"): an empty array, which BUILD fills. */
static kiln_status build_array(const call *c)
{
    *c->out = pickle_new(c->build, PICKLE_ARRAY);
    if (*c->out && !((*c->out)->tensor = arena_alloc(c->build->memory, sizeof *(*c->out)->tensor)))
        return fail(c->build->err, KILN_NO_MEMORY, "%s: not enough memory", c->build->what);
    if (*c->out)
        (*c->out)->tensor->shape.rank = 1;
    return made(c);
}

/* numpy scalar(dtype, bytes): a number */
static kiln_status build_scalar(const call *c)
{
    if (c->count < 2)
        return wrong_arguments(c);
    const pickle_value *type = c->arguments[0], *bytes = c->arguments[1];
    if (type->kind != PICKLE_DTYPE || !type->element.known || bytes->kind != PICKLE_BYTES ||
        bytes->text.length != dtype_size(type->element.type)) {
        *c->out = pickle_new(c->build, PICKLE_NONE);
        return made(c);
    }
    dtype element = type->element.type;
    uint8_t raw[8] = {0};
    memcpy(raw, bytes->text.bytes, bytes->text.length);
    *c->out = pickle_new(c->build, dtype_is_floating(element) ? PICKLE_FLOAT : PICKLE_INT);
    if (!*c->out)
        return made(c);
    uint64_t bits = little_u64(raw);
    if (element == DTYPE_F64)
        memcpy(&(*c->out)->number, raw, 8);
    else if (dtype_is_floating(element)) {
        float number;
        uint64_t aligned;
        memcpy(&aligned, raw, sizeof aligned);
        convert_to_f32(&aligned, element, &number, 1);
        (*c->out)->number = (double)number;
    } else {
        unsigned unused = 64 - 8 * (unsigned)bytes->text.length;
        bool is_signed = element >= DTYPE_I64 && element <= DTYPE_I8;
        (*c->out)->integer = is_signed && unused ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
    }
    return KILN_OK;
}

/* BUILD of an array: (version, shape, dtype, is_fortran, bytes) */
static kiln_status fill_array(pickle_builder *build, pickle_tensor *array, const pickle_value *state)
{
    pickle_value **item = state->list.items;
    if (state->kind != PICKLE_TUPLE || state->list.count != 5 || item[2]->kind != PICKLE_DTYPE ||
        item[3]->kind != PICKLE_BOOL)
        return fail(build->err, KILN_BAD_FORMAT, "%s: malformed pickle: wrong state of a numpy array",
                    build->what);
    /* Texts and objects in arrays are of no use here: the array stays empty and unknown. */
    if (!item[2]->element.known || item[4]->kind != PICKLE_BYTES)
        return KILN_OK;
    pickle_tensor filled = {.known = true, .type = item[2]->element.type, .bytes = item[4]->text};
    filled.shape.rank = numbers_of(item[1], filled.shape.dim);
    if (filled.shape.rank < 0 || !shape_is_valid(filled.shape) ||
        (uint64_t)shape_count(filled.shape) * dtype_size(filled.type) != filled.bytes.length)
        return fail(build->err, KILN_BAD_FORMAT,
                    "%s: malformed pickle: a numpy array of %zu bytes does not fit its "
                    "shape",
                    build->what, filled.bytes.length);
    int64_t stride = 1;
    for (int i = 0; i < filled.shape.rank; i++) {
        int axis = item[3]->truth ? i : filled.shape.rank - 1 - i;
        filled.stride[axis] = stride;
        stride *= filled.shape.dim[axis];
    }
    if (!tensor_fits(&filled, shape_count(filled.shape)))
        return fail(build->err, KILN_BAD_FORMAT, "%s: malformed pickle: wrong state of a numpy array",
                    build->what);
    *array = filled;
    return KILN_OK;
}

kiln_status pickle_set_state(pickle_builder *build, pickle_value *object, pickle_value *state)
{
    if (object->kind == PICKLE_ARRAY)
        return fill_array(build, object->tensor, state);
    if (object->kind == PICKLE_OBJECT)
        object->object.state = state;
    /* dtype's (version, byte order, ...): only little-endian numbers are read. */
    if (object->kind == PICKLE_DTYPE && state->kind == PICKLE_TUPLE && state->list.count >= 2 &&
        state->list.items[1]->kind == PICKLE_TEXT && pickle_text_is(state->list.items[1]->text, ">"))
        object->element.known = false;
    return KILN_OK;
}

/* -------------------------------------------------------------------------------------- calls */

static const struct {
    const char *name;
    kiln_status (*build)(const call *);
} known_calls[] = {
    {"torch._utils._rebuild_tensor_v2", build_tensor},
    {"torch._utils._rebuild_tensor", build_tensor},
    {"torch._utils._rebuild_tensor_v3", build_tensor_with_type},
    {"torch._utils._rebuild_parameter", build_first},
    {"torch._utils._rebuild_parameter_with_state", build_first},
    {"torch._utils._rebuild_device_tensor_from_numpy", build_first},
    {"torch._tensor._rebuild_from_type_v2", build_from_type},
    {"torch._tensor._rebuild_from_type", build_from_type},
    {"torch.nn.parameter.Parameter", build_first},
    {"torch.nn.Parameter", build_first},
    {"torch.Size", build_first},
    {"collections.OrderedDict", build_dict},
    {"collections.defaultdict", build_dict},
    {"collections.Counter", build_dict},
    {"builtins.dict", build_dict},
    {"__builtin__.dict", build_dict},
    {"builtins.set", build_set},
    {"__builtin__.set", build_set},
    {"builtins.frozenset", build_set},
    {"__builtin__.frozenset", build_set},
    {"builtins.list", build_list},
    {"__builtin__.list", build_list},
    {"builtins.tuple", build_tuple},
    {"__builtin__.tuple", build_tuple},
    {"_codecs.encode", build_bytes},
    {"numpy.dtype", build_dtype},
    {"numpy.core.multiarray._reconstruct", build_array},
    {"numpy._core.multiarray._reconstruct", build_array},
    {"numpy.core.multiarray.scalar", build_scalar},
    {"numpy._core.multiarray.scalar", build_scalar},
};

kiln_status pickle_call(pickle_builder *build, pickle_value *callable, pickle_value *arguments,
                        pickle_value **out)
{
    call c = {.build = build, .out = out};
    *out = NULL;
    if (arguments->kind == PICKLE_TUPLE) {
        c.arguments = arguments->list.items;
        c.count = arguments->list.count;
    }
    if (callable->kind == PICKLE_GLOBAL) {
        c.name = callable->text;
        for (size_t i = 0; i < sizeof known_calls / sizeof *known_calls; i++)
            if (pickle_text_is(c.name, known_calls[i].name))
                return known_calls[i].build(&c);
    }
    *out = pickle_new(build, PICKLE_OBJECT);
    if (*out) {
        (*out)->object.class_name = callable->kind == PICKLE_GLOBAL ? callable->text : (pickle_text){"?", 1};
        (*out)->object.arguments = arguments;
    }
    return made(&c);
}
