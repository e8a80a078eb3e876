/* pickle_steps.c - the instructions of the pickle machine, protocols 0 to 5; see pickle_machine.h. Each has the
 * form (machine, argument): one function serves the widths and kinds of an instruction. */
#include "formats/byte_source.h"
#include "formats/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

static kiln_status push_int(machine *m, int64_t number)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_INT);
    if (value)
        value->integer = number;
    return machine_push(m, value);
}

static kiln_status push_bool(machine *m, int truth)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_BOOL);
    if (value)
        value->truth = truth != 0;
    return machine_push(m, value);
}

static kiln_status push_float(machine *m, double number)
{
    pickle_value *value = pickle_new(&m->build, PICKLE_FLOAT);
    if (value)
        value->number = number;
    return machine_push(m, value);
}

static kiln_status push_text(machine *m, pickle_kind kind, uint64_t length)
{
    const uint8_t *p = machine_take(m, length);
    if (!p)
        return machine_failure(m);
    pickle_value *value = pickle_new(&m->build, kind);
    if (value)
        value->text = (pickle_text){(const char *)p, (size_t)length};
    return machine_push(m, value);
}

/* A little-endian number of `width` bytes, then that many bytes of text. */
static kiln_status push_counted(machine *m, pickle_kind kind, int width)
{
    const uint8_t *p = machine_take(m, (uint64_t)width);
    if (!p)
        return machine_failure(m);
    uint64_t length = width == 1 ? p[0] : width == 4 ? little_u32(p) : little_u64(p);
    return push_text(m, kind, length);
}

/* LONG1, LONG4: two's complement. Larger than 64 bits: kept as bytes (torch's magic number is one). */
static kiln_status push_long(machine *m, int width)
{
    const uint8_t *p = machine_take(m, (uint64_t)width);
    if (!p)
        return machine_failure(m);
    uint64_t length = width == 1 ? p[0] : little_u32(p);
    if (length > 8)
        return push_text(m, PICKLE_BYTES, length);
    p = machine_take(m, length);
    if (!p)
        return machine_failure(m);
    uint64_t bits = length && p[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = length; i-- > 0;)
        bits = bits << 8 | p[i];
    return push_int(m, (int64_t)bits);
}

/* INT, LONG and FLOAT of protocol 0: a number in decimal; "00" and "01" are False and True. */
static kiln_status push_decimal(machine *m, int is_float)
{
    size_t length;
    char text[64];
    const char *line = machine_take_line(m, &length);
    if (!line)
        return machine_failure(m);
    if (length >= sizeof text)
        return machine_malformed(m, "a number is too long");
    memcpy(text, line, length);
    text[length] = '\0';
    char *end;
    if (is_float) {
        double number = strtod(text, &end);
        return *end || end == text ? machine_malformed(m, "not a number") : push_float(m, number);
    }
    if (strcmp(text, "00") == 0 || strcmp(text, "01") == 0)
        return push_bool(m, text[1] == '1');
    int64_t number = strtoll(text, &end, 10);
    if (end == text || (*end && strcmp(end, "L") != 0))
        return machine_malformed(m, "not a number");
    return push_int(m, number);
}

/* STRING and UNICODE of protocol 0, without undoing their escapes: such names are shown as they stand. */
static kiln_status push_line(machine *m, int quoted)
{
    size_t length;
    const char *line = machine_take_line(m, &length);
    if (!line)
        return machine_failure(m);
    if (quoted) {
        if (length < 2 || (*line != '\'' && *line != '"') || line[length - 1] != *line)
            return machine_malformed(m, "a text without its quotes");
        line++;
        length -= 2;
    }
    pickle_value *value = pickle_new(&m->build, PICKLE_TEXT);
    if (value)
        value->text = (pickle_text){line, length};
    return machine_push(m, value);
}

static kiln_status push_binary_float(machine *m, int unused)
{
    (void)unused;
    const uint8_t *p = machine_take(m, 8);
    if (!p)
        return machine_failure(m);
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
    return machine_push(m, value);
}

static kiln_status global_of_lines(machine *m, int unused)
{
    (void)unused;
    pickle_text module, name;
    module.bytes = machine_take_line(m, &module.length);
    if (!module.bytes)
        return machine_failure(m);
    name.bytes = machine_take_line(m, &name.length);
    if (!name.bytes)
        return machine_failure(m);
    return push_global(m, module, name);
}

static kiln_status global_of_stack(machine *m, int unused)
{
    (void)unused;
    pickle_value *name = machine_pop(m), *module = name ? machine_pop(m) : NULL;
    if (!module)
        return machine_failure(m);
    if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
        return machine_malformed(m, "a global's name is no text");
    return push_global(m, module->text, name->text);
}

static kiln_status push_sequence(machine *m, pickle_kind kind, pickle_value **items, size_t count)
{
    pickle_value *value = pickle_new(&m->build, kind);
    if (!value)
        return machine_failure(m);
    if (kind == PICKLE_DICT && count % 2)
        return machine_malformed(m, "a dict has a key without a value");
    if (count) {
        value->list.items = arena_alloc(m->build.memory, count * sizeof *items);
        if (!value->list.items)
            return fail(m->build.err, KILN_NO_MEMORY, "%s: not enough memory", m->build.what);
        memcpy(value->list.items, items, count * sizeof *items);
        value->list.count = value->list.capacity = count;
    }
    return machine_push(m, value);
}

static kiln_status push_marked(machine *m, int kind)
{
    pickle_value **items;
    size_t count;
    kiln_status status = machine_pop_mark(m, &items, &count);
    return status ? status : push_sequence(m, (pickle_kind)kind, items, count);
}

static kiln_status push_tuple(machine *m, int wanted)
{
    size_t count = (size_t)wanted;
    if (m->depth - machine_floor(m) < count)
        return machine_malformed(m, "an instruction finds too little on the stack");
    m->depth -= count;
    return push_sequence(m, PICKLE_TUPLE, m->stack + m->depth, count);
}

/* APPEND(S), ADDITEMS, SETITEM(S): `count` items onto the container below them. An object (a subclass of list
 * or dict that is not known) drops them. */
static kiln_status add_items(machine *m, bool pairs, pickle_value **items, size_t count)
{
    pickle_value *target = machine_top(m);
    if (!target)
        return machine_failure(m);
    if (target->kind == PICKLE_OBJECT)
        return KILN_OK;
    bool fits =
        pairs ? target->kind == PICKLE_DICT : target->kind == PICKLE_LIST || target->kind == PICKLE_SET;
    if (!fits)
        return machine_malformed(m, "items are added to what is no container");
    if (pairs && count % 2)
        return machine_malformed(m, "a dict has a key without a value");
    for (size_t i = 0; i < count; i++) {
        kiln_status status = pickle_append(&m->build, target, items[i]);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status add_marked(machine *m, int pairs)
{
    pickle_value **items;
    size_t count;
    kiln_status status = machine_pop_mark(m, &items, &count);
    return status ? status : add_items(m, pairs != 0, items, count);
}

static kiln_status add_top(machine *m, int pair)
{
    size_t count = pair ? 2 : 1;
    if (m->depth - machine_floor(m) < count)
        return machine_malformed(m, "an instruction finds too little on the stack");
    m->depth -= count;
    return add_items(m, pair != 0, m->stack + m->depth, count);
}

static kiln_status memo_put(machine *m, uint64_t index)
{
    pickle_value *value = machine_top(m);
    if (!value)
        return machine_failure(m);
    /* Numbers are given in sequence, and each costs an instruction: a larger one is nonsense. */
    if (index > m->size)
        return machine_malformed(m, "a memo number is too large");
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
        return machine_malformed(m, "it refers to a memo number that was not set");
    return machine_push(m, m->memo[index]);
}

/* The number after an instruction: `width` bytes, or a decimal line when it is 0. */
static kiln_status memo_number(machine *m, int width, uint64_t *number)
{
    if (width) {
        const uint8_t *p = machine_take(m, (uint64_t)width);
        if (!p)
            return machine_failure(m);
        *number = width == 1 ? p[0] : little_u32(p);
        return KILN_OK;
    }
    size_t length;
    const char *line = machine_take_line(m, &length);
    if (!line)
        return machine_failure(m);
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] < '0' || line[i] > '9' || i > 9)
            return machine_malformed(m, "a memo number is no number");
        *number = *number * 10 + (uint64_t)(line[i] - '0');
    }
    return KILN_OK;
}

static kiln_status memo_instruction(machine *m, bool put, int width)
{
    uint64_t number = 0;
    kiln_status status = memo_number(m, width, &number);
    return status ? status : put ? memo_put(m, number) : memo_get(m, number);
}

/* REDUCE, NEWOBJ: the arguments lie above what is called. */
static kiln_status call_top(machine *m, int unused)
{
    (void)unused;
    pickle_value *arguments = machine_pop(m), *callable = arguments ? machine_pop(m) : NULL, *result = NULL;
    if (!callable)
        return machine_failure(m);
    kiln_status status = pickle_call(&m->build, callable, arguments, &result);
    return status ? status : machine_push(m, result);
}

static kiln_status call_with_keywords(machine *m, int unused)
{
    (void)unused;
    return machine_pop(m) ? call_top(m, 0) : machine_failure(m);
}

/* OBJ: the class and its arguments above a mark. INST: the class in two lines, the arguments above a mark. */
static kiln_status call_marked(machine *m, int in_lines)
{
    kiln_status status = KILN_OK;
    pickle_value *callable = NULL;
    if (in_lines) {
        status = global_of_lines(m, 0);
        if (!status && !(callable = machine_pop(m)))
            status = machine_failure(m);
    }
    pickle_value **items, *result = NULL;
    size_t count;
    if (!status)
        status = machine_pop_mark(m, &items, &count);
    if (status)
        return status;
    if (!in_lines && count == 0)
        return machine_malformed(m, "an object without a class");
    if (!in_lines)
        callable = items[0];
    size_t skip = in_lines ? 0 : 1;
    status = push_sequence(m, PICKLE_TUPLE, items + skip, count - skip);
    if (!status)
        status = pickle_call(&m->build, callable, m->stack[--m->depth], &result);
    return status ? status : machine_push(m, result);
}

static kiln_status build_top(machine *m, int unused)
{
    (void)unused;
    pickle_value *state = machine_pop(m), *object = state ? machine_top(m) : NULL;
    return object ? pickle_set_state(&m->build, object, state) : machine_failure(m);
}

static kiln_status persistent_top(machine *m, int unused)
{
    (void)unused;
    pickle_value *id = machine_pop(m), *result = NULL;
    if (!id)
        return machine_failure(m);
    kiln_status status = pickle_persistent(&m->build, id, &result);
    return status ? status : machine_push(m, result);
}

static kiln_status push_small_int(machine *m, int width)
{
    const uint8_t *p = machine_take(m, (uint64_t)width);
    if (!p)
        return machine_failure(m);
    return push_int(m, width == 1 ? p[0] : width == 2 ? little_u16(p) : (int32_t)little_u32(p));
}

static kiln_status pop_one(machine *m, int unused)
{
    (void)unused;
    if (m->depth > machine_floor(m)) {
        m->depth--;
        return KILN_OK;
    }
    if (m->mark_count == 0)
        return machine_malformed(m, "an instruction finds too little on the stack");
    m->mark_count--;
    return KILN_OK;
}

static kiln_status skip_bytes(machine *m, int count)
{
    return machine_take(m, (uint64_t)count) ? KILN_OK : machine_failure(m);
}

static kiln_status check_protocol(machine *m, int unused)
{
    (void)unused;
    const uint8_t *p = machine_take(m, 1);
    if (!p)
        return machine_failure(m);
    return *p <= 5
               ? KILN_OK
               : fail(m->build.err, KILN_UNSUPPORTED, "%s: pickle protocol %d is unknown", m->build.what, *p);
}

static kiln_status push_none(machine *m, int unused)
{
    (void)unused;
    return machine_push(m, pickle_new(&m->build, PICKLE_NONE));
}

static kiln_status push_empty(machine *m, int kind)
{
    return push_sequence(m, (pickle_kind)kind, NULL, 0);
}

static kiln_status push_text_of(machine *m, int width)
{
    return push_counted(m, PICKLE_TEXT, width);
}

static kiln_status push_bytes_of(machine *m, int width)
{
    return push_counted(m, PICKLE_BYTES, width);
}

static kiln_status mark(machine *m, int unused)
{
    (void)unused;
    return machine_push_mark(m);
}

static kiln_status drop_marked(machine *m, int unused)
{
    (void)unused;
    pickle_value **items;
    size_t count;
    return machine_pop_mark(m, &items, &count);
}

static kiln_status duplicate(machine *m, int unused)
{
    (void)unused;
    pickle_value *value = machine_top(m);
    return value ? machine_push(m, value) : machine_failure(m);
}

static kiln_status put(machine *m, int width)
{
    return memo_instruction(m, true, width);
}

static kiln_status get(machine *m, int width)
{
    return memo_instruction(m, false, width);
}

static kiln_status memoize(machine *m, int unused)
{
    (void)unused;
    return memo_put(m, m->memo_count);
}

/* By their codes; the names of CPython's pickletools stand beside them. */
static const struct {
    kiln_status (*run)(machine *, int);
    int argument;
} instructions[256] = {
    ['N'] = {push_none, 0},              /* NONE */
    [0x88] = {push_bool, true},          /* NEWTRUE */
    [0x89] = {push_bool, false},         /* NEWFALSE */
    ['K'] = {push_small_int, 1},         /* BININT1 */
    ['M'] = {push_small_int, 2},         /* BININT2 */
    ['J'] = {push_small_int, 4},         /* BININT */
    [0x8A] = {push_long, 1},             /* LONG1 */
    [0x8B] = {push_long, 4},             /* LONG4 */
    ['I'] = {push_decimal, false},       /* INT */
    ['L'] = {push_decimal, false},       /* LONG */
    ['F'] = {push_decimal, true},        /* FLOAT */
    ['G'] = {push_binary_float, 0},      /* BINFLOAT */
    ['X'] = {push_text_of, 4},           /* BINUNICODE */
    [0x8C] = {push_text_of, 1},          /* SHORT_BINUNICODE */
    [0x8D] = {push_text_of, 8},          /* BINUNICODE8 */
    ['U'] = {push_text_of, 1},           /* SHORT_BINSTRING */
    ['T'] = {push_text_of, 4},           /* BINSTRING */
    ['S'] = {push_line, true},           /* STRING */
    ['V'] = {push_line, false},          /* UNICODE */
    ['B'] = {push_bytes_of, 4},          /* BINBYTES */
    ['C'] = {push_bytes_of, 1},          /* SHORT_BINBYTES */
    [0x8E] = {push_bytes_of, 8},         /* BINBYTES8 */
    [0x96] = {push_bytes_of, 8},         /* BYTEARRAY8 */
    ['c'] = {global_of_lines, 0},        /* GLOBAL */
    [0x93] = {global_of_stack, 0},       /* STACK_GLOBAL */
    [0x80] = {check_protocol, 0},        /* PROTO */
    [0x95] = {skip_bytes, 8},            /* FRAME */
    [0x98] = {skip_bytes, 0},            /* READONLY_BUFFER */
    ['('] = {mark, 0},                   /* MARK */
    ['0'] = {pop_one, 0},                /* POP */
    ['1'] = {drop_marked, 0},            /* POP_MARK */
    ['2'] = {duplicate, 0},              /* DUP */
    [']'] = {push_empty, PICKLE_LIST},   /* EMPTY_LIST */
    [')'] = {push_empty, PICKLE_TUPLE},  /* EMPTY_TUPLE */
    ['}'] = {push_empty, PICKLE_DICT},   /* EMPTY_DICT */
    [0x8F] = {push_empty, PICKLE_SET},   /* EMPTY_SET */
    ['l'] = {push_marked, PICKLE_LIST},  /* LIST */
    ['t'] = {push_marked, PICKLE_TUPLE}, /* TUPLE */
    ['d'] = {push_marked, PICKLE_DICT},  /* DICT */
    [0x91] = {push_marked, PICKLE_SET},  /* FROZENSET */
    [0x85] = {push_tuple, 1},            /* TUPLE1 */
    [0x86] = {push_tuple, 2},            /* TUPLE2 */
    [0x87] = {push_tuple, 3},            /* TUPLE3 */
    ['a'] = {add_top, false},            /* APPEND */
    ['s'] = {add_top, true},             /* SETITEM */
    ['e'] = {add_marked, false},         /* APPENDS */
    [0x90] = {add_marked, false},        /* ADDITEMS */
    ['u'] = {add_marked, true},          /* SETITEMS */
    ['p'] = {put, 0},                    /* PUT */
    ['q'] = {put, 1},                    /* BINPUT */
    ['r'] = {put, 4},                    /* LONG_BINPUT */
    ['g'] = {get, 0},                    /* GET */
    ['h'] = {get, 1},                    /* BINGET */
    ['j'] = {get, 4},                    /* LONG_BINGET */
    [0x94] = {memoize, 0},               /* MEMOIZE */
    ['R'] = {call_top, 0},               /* REDUCE */
    [0x81] = {call_top, 0},              /* NEWOBJ */
    [0x92] = {call_with_keywords, 0},    /* NEWOBJ_EX */
    ['i'] = {call_marked, true},         /* INST */
    ['o'] = {call_marked, false},        /* OBJ */
    ['b'] = {build_top, 0},              /* BUILD */
    ['Q'] = {persistent_top, 0},         /* BINPERSID */
};

kiln_status machine_step(machine *m, uint8_t code)
{
    if (!instructions[code].run)
        return fail(m->build.err, KILN_BAD_FORMAT, "%s: unknown pickle instruction 0x%02X at byte %zu",
                    m->build.what, code, m->at - 1);
    return instructions[code].run(m, instructions[code].argument);
}
