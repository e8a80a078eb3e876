/* pickle.c - the machine: instructions, stack, marks and memo; see pickle.h. What calls give is in
 * pickle_build.c. */
#include "formats/pickle.h"

#include "formats/byte_source.h"
#include "formats/pickle_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_MAX = 1 << 22, VALUES_MAX = 1 << 22 };

typedef struct machine {
    pickle_builder build;
    const uint8_t *bytes;
    size_t size, at;
    bool ended_early;
    pickle_value **stack;
    size_t depth, stack_room;
    size_t *marks, mark_count, mark_room;
    pickle_value **memo;
    size_t memo_room, memo_count;
} machine;

bool pickle_text_is(pickle_text text, const char *expected)
{
    return text.length == strlen(expected) && memcmp(text.bytes, expected, text.length) == 0;
}

pickle_value *pickle_get(const pickle_value *dict, const char *key)
{
    if (!dict || dict->kind != PICKLE_DICT)
        return NULL;
    for (size_t i = dict->list.count; i >= 2; i -= 2) {
        const pickle_value *name = dict->list.items[i - 2];
        if (name->kind == PICKLE_TEXT && pickle_text_is(name->text, key))
            return dict->list.items[i - 1];
    }
    return NULL;
}

pickle_value *pickle_new(pickle_builder *builder, pickle_kind kind)
{
    if (++builder->values > VALUES_MAX) {
        fail(builder->err, KILN_BAD_FORMAT, "%s: holds more than %d values", builder->what, VALUES_MAX);
        return NULL;
    }
    pickle_value *value = arena_alloc(builder->memory, sizeof *value);
    if (!value) {
        fail(builder->err, KILN_NO_MEMORY, "%s: not enough memory", builder->what);
        return NULL;
    }
    value->kind = kind;
    return value;
}

kiln_status pickle_append(pickle_builder *builder, pickle_value *list, pickle_value *item)
{
    if (list->list.count == list->list.capacity) {
        size_t wanted = list->list.capacity ? list->list.capacity * 2 : 4;
        pickle_value **bigger = arena_alloc(builder->memory, wanted * sizeof *bigger);
        if (!bigger)
            return fail(builder->err, KILN_NO_MEMORY, "%s: not enough memory", builder->what);
        if (list->list.count)
            memcpy(bigger, list->list.items, list->list.count * sizeof *bigger);
        list->list.items = bigger;
        list->list.capacity = wanted;
    }
    list->list.items[list->list.count++] = item;
    return KILN_OK;
}

static kiln_status failure(const machine *m)
{
    return m->build.err && m->build.err->status ? m->build.err->status : KILN_NO_MEMORY;
}

static kiln_status malformed(machine *m, const char *why)
{
    return fail(m->build.err, KILN_BAD_FORMAT, "%s: malformed pickle at byte %zu: %s", m->build.what, m->at,
                why);
}

static kiln_status push(machine *m, pickle_value *value)
{
    if (!value)
        return failure(m);
    if (m->depth == m->stack_room) {
        size_t wanted = m->stack_room ? m->stack_room * 2 : 256;
        pickle_value **bigger = wanted <= STACK_MAX ? realloc(m->stack, wanted * sizeof *bigger) : NULL;
        if (!bigger)
            return malformed(m, "its stack grows too large");
        m->stack = bigger;
        m->stack_room = wanted;
    }
    m->stack[m->depth++] = value;
    return KILN_OK;
}

/* The stack may not be popped below the last mark. */
static size_t floor_of(const machine *m)
{
    return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

static pickle_value *pop(machine *m)
{
    if (m->depth <= floor_of(m)) {
        malformed(m, "an instruction finds too little on the stack");
        return NULL;
    }
    return m->stack[--m->depth];
}

static pickle_value *top(machine *m)
{
    if (m->depth <= floor_of(m)) {
        malformed(m, "an instruction finds too little on the stack");
        return NULL;
    }
    return m->stack[m->depth - 1];
}

static kiln_status push_mark(machine *m)
{
    if (m->mark_count == m->mark_room) {
        size_t wanted = m->mark_room ? m->mark_room * 2 : 64;
        size_t *bigger = wanted <= STACK_MAX ? realloc(m->marks, wanted * sizeof *bigger) : NULL;
        if (!bigger)
            return malformed(m, "too many marks");
        m->marks = bigger;
        m->mark_room = wanted;
    }
    m->marks[m->mark_count++] = m->depth;
    return KILN_OK;
}

/* Take what lies above the last mark: its first item's place, and the number of items. */
static kiln_status pop_mark(machine *m, pickle_value ***items, size_t *count)
{
    *items = NULL;
    *count = 0;
    if (m->mark_count == 0)
        return malformed(m, "an instruction finds no mark");
    size_t from = m->marks[--m->mark_count];
    *items = m->stack ? m->stack + from : NULL;
    *count = m->depth - from;
    m->depth = from;
    return KILN_OK;
}

/* The next `count` bytes of the program, or NULL at its end. */
static const uint8_t *take(machine *m, uint64_t count)
{
    if (count > m->size - m->at) {
        m->ended_early = true;
        malformed(m, "it ends within an instruction");
        return NULL;
    }
    const uint8_t *p = m->bytes + m->at;
    m->at += (size_t)count;
    return p;
}

/* A line without its end; NULL at the end of the program. */
static const char *take_line(machine *m, size_t *length)
{
    const uint8_t *from = m->bytes + m->at;
    const uint8_t *end = m->at < m->size ? memchr(from, '\n', m->size - m->at) : NULL;
    if (!end) {
        m->ended_early = true;
        malformed(m, "it ends within a line");
        return NULL;
    }
    *length = (size_t)(end - from);
    m->at += *length + 1;
    return (const char *)from;
}

static kiln_status push_int(machine *m, int64_t number)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_INT);
    if (value)
        value->integer = number;
    return push(m, value);
}

static kiln_status push_bool(machine *m, bool truth)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_BOOL);
    if (value)
        value->truth = truth;
    return push(m, value);
}

static kiln_status push_float(machine *m, double number)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_FLOAT);
    if (value)
        value->number = number;
    return push(m, value);
}

static kiln_status push_text(machine *m, pickle_kind kind, uint64_t length)
{
    const uint8_t *p = take(m, length);
    if (!p)
        return failure(m);
    pickle_value *value = pickle_new(&m->build, kind);
    if (value)
        value->text = (pickle_text){(const char *)p, (size_t)length};
    return push(m, value);
}

/* A little-endian number of `width` bytes, then that many bytes of text. */
static kiln_status push_counted(machine *m, pickle_kind kind, int width)
{
    const uint8_t *p = take(m, (uint64_t)width);
    if (!p)
        return failure(m);
    uint64_t length = width == 1 ? p[0] : width == 4 ? little_u32(p) : little_u64(p);
    return push_text(m, kind, length);
}

/* LONG1, LONG4: two's complement. Larger than 64 bits: kept as bytes (torch's magic number is one). */
static kiln_status push_long(machine *m, int width)
{
    const uint8_t *p = take(m, (uint64_t)width);
    if (!p)
        return failure(m);
    uint64_t length = width == 1 ? p[0] : little_u32(p);
    if (length > 8)
        return push_text(m, PICKLE_BYTES, length);
    p = take(m, length);
    if (!p)
        return failure(m);
    uint64_t bits = length && p[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = length; i-- > 0;)
        bits = bits << 8 | p[i];
    return push_int(m, (int64_t)bits);
}

/* INT, LONG and FLOAT of protocol 0: a number in decimal; "00" and "01" are False and True. */
static kiln_status push_decimal(machine *m, bool is_float)
{
    size_t length;
    char text[64];
    const char *line = take_line(m, &length);
    if (!line)
        return failure(m);
    if (length >= sizeof text)
        return malformed(m, "a number is too long");
    memcpy(text, line, length);
    text[length] = '\0';
    char *end;
    if (is_float) {
        double number = strtod(text, &end);
        return *end || end == text ? malformed(m, "not a number") : push_float(m, number);
    }
    if (strcmp(text, "00") == 0 || strcmp(text, "01") == 0)
        return push_bool(m, text[1] == '1');
    int64_t number = strtoll(text, &end, 10);
    if (end == text || (*end && strcmp(end, "L") != 0))
        return malformed(m, "not a number");
    return push_int(m, number);
}

/* STRING and UNICODE of protocol 0, without undoing their escapes: such names are shown as they stand. */
static kiln_status push_line(machine *m, bool quoted)
{
    size_t length;
    const char *line = take_line(m, &length);
    if (!line)
        return failure(m);
    if (quoted) {
        if (length < 2 || (*line != '\'' && *line != '"') || line[length - 1] != *line)
            return malformed(m, "a text without its quotes");
        line++;
        length -= 2;
    }
    pickle_value *value = pickle_new(&m->build, PICKLE_TEXT);
    if (value)
        value->text = (pickle_text){line, length};
    return push(m, value);
}

static kiln_status push_binary_float(machine *m)
{
    const uint8_t *p = take(m, 8);
    if (!p)
        return failure(m);
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    double number;
    memcpy(&number, &bits, sizeof number);
    return push_float(m, number);
}

static kiln_status push_global(machine *m, pickle_text module, pickle_text name)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_GLOBAL);
    char *text = value ? arena_alloc(m->build.memory, module.length + name.length + 2) : NULL;
    if (!text)
        return fail(m->build.err, KILN_NO_MEMORY, "%s: not enough memory", m->build.what);
    memcpy(text, module.bytes, module.length);
    text[module.length] = '.';
    memcpy(text + module.length + 1, name.bytes, name.length);
    value->text = (pickle_text){text, module.length + 1 + name.length};
    return push(m, value);
}

static kiln_status global_of_lines(machine *m)
{
    pickle_text module, name;
    module.bytes = take_line(m, &module.length);
    if (!module.bytes)
        return failure(m);
    name.bytes = take_line(m, &name.length);
    if (!name.bytes)
        return failure(m);
    return push_global(m, module, name);
}

static kiln_status global_of_stack(machine *m)
{
    pickle_value *name = pop(m), *module = name ? pop(m) : NULL;
    if (!module)
        return failure(m);
    if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
        return malformed(m, "a global's name is no text");
    return push_global(m, module->text, name->text);
}

static kiln_status push_sequence(machine *m, pickle_kind kind, pickle_value **items, size_t count)
{
    pickle_value *value = pickle_new(&m->build, kind);
    if (!value)
        return failure(m);
    if (kind == PICKLE_DICT && count % 2)
        return malformed(m, "a dict has a key without a value");
    if (count) {
        value->list.items = arena_alloc(m->build.memory, count * sizeof *items);
        if (!value->list.items)
            return fail(m->build.err, KILN_NO_MEMORY, "%s: not enough memory", m->build.what);
        memcpy(value->list.items, items, count * sizeof *items);
        value->list.count = value->list.capacity = count;
    }
    return push(m, value);
}

static kiln_status push_marked(machine *m, pickle_kind kind)
{
    pickle_value **items;
    size_t count;
    kiln_status status = pop_mark(m, &items, &count);
    return status ? status : push_sequence(m, kind, items, count);
}

static kiln_status push_tuple(machine *m, size_t count)
{
    if (m->depth - floor_of(m) < count)
        return malformed(m, "an instruction finds too little on the stack");
    m->depth -= count;
    return push_sequence(m, PICKLE_TUPLE, m->stack + m->depth, count);
}

/* APPEND(S), ADDITEMS, SETITEM(S): `count` items onto the container below them. An object (a subclass of list
 * or dict that is not known) drops them. */
static kiln_status add_items(machine *m, bool pairs, pickle_value **items, size_t count)
{
    pickle_value *target = top(m);
    if (!target)
        return failure(m);
    if (target->kind == PICKLE_OBJECT)
        return KILN_OK;
    bool fits =
        pairs ? target->kind == PICKLE_DICT : target->kind == PICKLE_LIST || target->kind == PICKLE_SET;
    if (!fits)
        return malformed(m, "items are added to what is no container");
    if (pairs && count % 2)
        return malformed(m, "a dict has a key without a value");
    for (size_t i = 0; i < count; i++) {
        kiln_status status = pickle_append(&m->build, target, items[i]);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status add_marked(machine *m, bool pairs)
{
    pickle_value **items;
    size_t count;
    kiln_status status = pop_mark(m, &items, &count);
    return status ? status : add_items(m, pairs, items, count);
}

static kiln_status add_top(machine *m, bool pair)
{
    size_t count = pair ? 2 : 1;
    if (m->depth - floor_of(m) < count)
        return malformed(m, "an instruction finds too little on the stack");
    m->depth -= count;
    return add_items(m, pair, m->stack + m->depth, count);
}

static kiln_status memo_put(machine *m, uint64_t index)
{
    pickle_value *value = top(m);
    if (!value)
        return failure(m);
    /* Numbers are given in sequence, and each costs an instruction: a larger one is nonsense. */
    if (index > m->size)
        return malformed(m, "a memo number is too large");
    if (index >= m->memo_room) {
        size_t wanted = m->memo_room ? m->memo_room : 256;
        while (wanted <= index)
            wanted *= 2;
        pickle_value **bigger = realloc(m->memo, wanted * sizeof *bigger);
        if (!bigger)
            return fail(m->build.err, KILN_NO_MEMORY, "%s: not enough memory", m->build.what);
        memset(bigger + m->memo_room, 0, (wanted - m->memo_room) * sizeof *bigger);
        m->memo = bigger;
        m->memo_room = wanted;
    }
    m->memo_count += m->memo[index] == NULL;
    m->memo[index] = value;
    return KILN_OK;
}

static kiln_status memo_get(machine *m, uint64_t index)
{
    if (index >= m->memo_room || !m->memo[index])
        return malformed(m, "it refers to a memo number that was not set");
    return push(m, m->memo[index]);
}

/* The number after an instruction: `width` bytes, or a decimal line when it is 0. */
static kiln_status memo_number(machine *m, int width, uint64_t *number)
{
    if (width) {
        const uint8_t *p = take(m, (uint64_t)width);
        if (!p)
            return failure(m);
        *number = width == 1 ? p[0] : little_u32(p);
        return KILN_OK;
    }
    size_t length;
    const char *line = take_line(m, &length);
    if (!line)
        return failure(m);
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] < '0' || line[i] > '9' || i > 9)
            return malformed(m, "a memo number is no number");
        *number = *number * 10 + (uint64_t)(line[i] - '0');
    }
    return KILN_OK;
}

static kiln_status memo_instruction(machine *m, bool put, int width)
{
    uint64_t number;
    kiln_status status = memo_number(m, width, &number);
    return status ? status : put ? memo_put(m, number) : memo_get(m, number);
}

/* REDUCE, NEWOBJ: the arguments lie above what is called. */
static kiln_status call_top(machine *m)
{
    pickle_value *arguments = pop(m), *callable = arguments ? pop(m) : NULL, *result = NULL;
    if (!callable)
        return failure(m);
    kiln_status status = pickle_call(&m->build, callable, arguments, &result);
    return status ? status : push(m, result);
}

static kiln_status call_with_keywords(machine *m)
{
    return pop(m) ? call_top(m) : failure(m);
}

/* OBJ: the class and its arguments above a mark. INST: the class in two lines, the arguments above a mark. */
static kiln_status call_marked(machine *m, bool in_lines)
{
    kiln_status status = KILN_OK;
    pickle_value *callable = NULL;
    if (in_lines) {
        status = global_of_lines(m);
        if (!status && !(callable = pop(m)))
            status = failure(m);
    }
    pickle_value **items, *result = NULL;
    size_t count;
    if (!status)
        status = pop_mark(m, &items, &count);
    if (status)
        return status;
    if (!in_lines && count == 0)
        return malformed(m, "an object without a class");
    if (!in_lines)
        callable = items[0];
    size_t skip = in_lines ? 0 : 1;
    status = push_sequence(m, PICKLE_TUPLE, items + skip, count - skip);
    if (!status)
        status = pickle_call(&m->build, callable, m->stack[--m->depth], &result);
    return status ? status : push(m, result);
}

static kiln_status build_top(machine *m)
{
    pickle_value *state = pop(m), *object = state ? top(m) : NULL;
    return object ? pickle_set_state(&m->build, object, state) : failure(m);
}

static kiln_status persistent_top(machine *m)
{
    pickle_value *id = pop(m), *result = NULL;
    if (!id)
        return failure(m);
    kiln_status status = pickle_persistent(&m->build, id, &result);
    return status ? status : push(m, result);
}

static kiln_status push_small_int(machine *m, int width)
{
    const uint8_t *p = take(m, (uint64_t)width);
    if (!p)
        return failure(m);
    return push_int(m, width == 1 ? p[0] : width == 2 ? little_u16(p) : (int32_t)little_u32(p));
}

static kiln_status pop_one(machine *m)
{
    if (m->depth > floor_of(m)) {
        m->depth--;
        return KILN_OK;
    }
    if (m->mark_count == 0)
        return malformed(m, "an instruction finds too little on the stack");
    m->mark_count--;
    return KILN_OK;
}

static kiln_status skip_bytes(machine *m, uint64_t count)
{
    return take(m, count) ? KILN_OK : failure(m);
}

static kiln_status check_protocol(machine *m)
{
    const uint8_t *p = take(m, 1);
    if (!p)
        return failure(m);
    return *p <= 5
               ? KILN_OK
               : fail(m->build.err, KILN_UNSUPPORTED, "%s: pickle protocol %d is unknown", m->build.what, *p);
}

/* Instructions that make a value out of the program's own bytes. */
static kiln_status step_literal(machine *m, uint8_t code, bool *known)
{
    *known = true;
    switch (code) {
    case 'N':
        return push(m, pickle_new(&m->build, PICKLE_NONE));
    case 0x88:
        return push_bool(m, true);
    case 0x89:
        return push_bool(m, false);
    case 'K':
        return push_small_int(m, 1);
    case 'M':
        return push_small_int(m, 2);
    case 'J':
        return push_small_int(m, 4);
    case 0x8A:
        return push_long(m, 1);
    case 0x8B:
        return push_long(m, 4);
    case 'I':
    case 'L':
        return push_decimal(m, false);
    case 'F':
        return push_decimal(m, true);
    case 'G':
        return push_binary_float(m);
    case 'X':
        return push_counted(m, PICKLE_TEXT, 4);
    case 0x8C:
        return push_counted(m, PICKLE_TEXT, 1);
    case 0x8D:
        return push_counted(m, PICKLE_TEXT, 8);
    case 'U':
        return push_counted(m, PICKLE_TEXT, 1);
    case 'T':
        return push_counted(m, PICKLE_TEXT, 4);
    case 'S':
        return push_line(m, true);
    case 'V':
        return push_line(m, false);
    case 'B':
        return push_counted(m, PICKLE_BYTES, 4);
    case 'C':
        return push_counted(m, PICKLE_BYTES, 1);
    case 0x8E:
    case 0x96:
        return push_counted(m, PICKLE_BYTES, 8);
    case 'c':
        return global_of_lines(m);
    case 0x93:
        return global_of_stack(m);
    case 0x80:
        return check_protocol(m);
    case 0x95:
        return skip_bytes(m, 8);
    case 0x98:
        return KILN_OK;
    default:
        *known = false;
        return KILN_OK;
    }
}

/* Instructions that work on the stack. */
static kiln_status step_stack(machine *m, uint8_t code)
{
    pickle_value **items;
    size_t count;
    switch (code) {
    case '(':
        return push_mark(m);
    case '0':
        return pop_one(m);
    case '1':
        return pop_mark(m, &items, &count);
    case '2': {
        pickle_value *value = top(m);
        return value ? push(m, value) : failure(m);
    }
    case ']':
        return push_sequence(m, PICKLE_LIST, NULL, 0);
    case ')':
        return push_sequence(m, PICKLE_TUPLE, NULL, 0);
    case '}':
        return push_sequence(m, PICKLE_DICT, NULL, 0);
    case 0x8F:
        return push_sequence(m, PICKLE_SET, NULL, 0);
    case 'l':
        return push_marked(m, PICKLE_LIST);
    case 't':
        return push_marked(m, PICKLE_TUPLE);
    case 'd':
        return push_marked(m, PICKLE_DICT);
    case 0x91:
        return push_marked(m, PICKLE_SET);
    case 0x85:
        return push_tuple(m, 1);
    case 0x86:
        return push_tuple(m, 2);
    case 0x87:
        return push_tuple(m, 3);
    case 'a':
        return add_top(m, false);
    case 's':
        return add_top(m, true);
    case 'e':
    case 0x90:
        return add_marked(m, false);
    case 'u':
        return add_marked(m, true);
    case 'p':
        return memo_instruction(m, true, 0);
    case 'q':
        return memo_instruction(m, true, 1);
    case 'r':
        return memo_instruction(m, true, 4);
    case 'g':
        return memo_instruction(m, false, 0);
    case 'h':
        return memo_instruction(m, false, 1);
    case 'j':
        return memo_instruction(m, false, 4);
    case 0x94:
        return memo_put(m, m->memo_count);
    case 'R':
    case 0x81:
        return call_top(m);
    case 0x92:
        return call_with_keywords(m);
    case 'i':
        return call_marked(m, true);
    case 'o':
        return call_marked(m, false);
    case 'b':
        return build_top(m);
    case 'Q':
        return persistent_top(m);
    default:
        return fail(m->build.err, KILN_BAD_FORMAT, "%s: unknown pickle instruction 0x%02X at byte %zu",
                    m->build.what, code, m->at - 1);
    }
}

static kiln_status run(machine *m, pickle_value **out)
{
    for (;;) {
        const uint8_t *code = take(m, 1);
        if (!code)
            return failure(m);
        if (*code == '.') {
            *out = pop(m);
            return *out ? KILN_OK : failure(m);
        }
        bool known;
        kiln_status status = step_literal(m, *code, &known);
        if (!known)
            status = step_stack(m, *code);
        if (status)
            return status;
    }
}

kiln_status pickle_run(const uint8_t *bytes, size_t size, const char *what, arena *memory, pickle_value **out,
                       size_t *used, kiln_error *err)
{
    /* The machine reads the status of a failure back: without a caller's error, it needs one of its own. */
    kiln_error own = {0};
    machine m = {
        .build = {.memory = memory, .what = what, .err = err ? err : &own}, .bytes = bytes, .size = size};
    m.build.err->status = KILN_OK;
    *out = NULL;
    kiln_status status = run(&m, out);
    *used = status ? (m.ended_early ? size : m.at < size ? m.at : size - (size > 0)) : m.at;
    if (status)
        *out = NULL;
    free(m.stack);
    free(m.marks);
    free(m.memo);
    return status;
}
