/* pickle.c - the machine itself: stack, marks, and the loop; see pickle.h. The instructions are in
 * pickle_steps.c, what calls give is in pickle_build.c. */
#include "formats/pickle.h"

#include "formats/byte_source.h"
#include "formats/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

enum { STACK_MAX = 1 << 22, VALUES_MAX = 1 << 22 };

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

kiln_status machine_failure(const machine *m)
{
    return m->build.err && m->build.err->status ? m->build.err->status : KILN_NO_MEMORY;
}

kiln_status machine_malformed(machine *m, const char *why)
{
    return fail(m->build.err, KILN_BAD_FORMAT, "%s: malformed pickle at byte %zu: %s", m->build.what, m->at,
                why);
}

kiln_status machine_push(machine *m, pickle_value *value)
{
    if (!value)
        return machine_failure(m);
    if (m->depth == m->stack_room) {
        size_t wanted = m->stack_room ? m->stack_room * 2 : 256;
        pickle_value **bigger = wanted <= STACK_MAX ? realloc(m->stack, wanted * sizeof *bigger) : NULL;
        if (!bigger)
            return machine_malformed(m, "its stack grows too large");
        m->stack = bigger;
        m->stack_room = wanted;
    }
    m->stack[m->depth++] = value;
    return KILN_OK;
}

size_t machine_floor(const machine *m)
{
    return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

pickle_value *machine_pop(machine *m)
{
    if (m->depth <= machine_floor(m)) {
        machine_malformed(m, "an instruction finds too little on the stack");
        return NULL;
    }
    return m->stack[--m->depth];
}

pickle_value *machine_top(machine *m)
{
    if (m->depth <= machine_floor(m)) {
        machine_malformed(m, "an instruction finds too little on the stack");
        return NULL;
    }
    return m->stack[m->depth - 1];
}

kiln_status machine_push_mark(machine *m)
{
    if (m->mark_count == m->mark_room) {
        size_t wanted = m->mark_room ? m->mark_room * 2 : 64;
        size_t *bigger = wanted <= STACK_MAX ? realloc(m->marks, wanted * sizeof *bigger) : NULL;
        if (!bigger)
            return machine_malformed(m, "too many marks");
        m->marks = bigger;
        m->mark_room = wanted;
    }
    m->marks[m->mark_count++] = m->depth;
    return KILN_OK;
}

kiln_status machine_pop_mark(machine *m, pickle_value ***items, size_t *count)
{
    *items = NULL;
    *count = 0;
    if (m->mark_count == 0)
        return machine_malformed(m, "an instruction finds no mark");
    size_t from = m->marks[--m->mark_count];
    *items = m->stack ? m->stack + from : NULL;
    *count = m->depth - from;
    m->depth = from;
    return KILN_OK;
}

const uint8_t *machine_take(machine *m, uint64_t count)
{
    if (count > m->size - m->at) {
        m->ended_early = true;
        machine_malformed(m, "it ends within an instruction");
        return NULL;
    }
    const uint8_t *p = m->bytes + m->at;
    m->at += (size_t)count;
    return p;
}

const char *machine_take_line(machine *m, size_t *length)
{
    const uint8_t *from = m->bytes + m->at;
    const uint8_t *end = m->at < m->size ? memchr(from, '\n', m->size - m->at) : NULL;
    if (!end) {
        m->ended_early = true;
        machine_malformed(m, "it ends within a line");
        return NULL;
    }
    *length = (size_t)(end - from);
    m->at += *length + 1;
    return (const char *)from;
}

static kiln_status run(machine *m, pickle_value **out)
{
    for (;;) {
        const uint8_t *code = machine_take(m, 1);
        if (!code)
            return machine_failure(m);
        if (*code == '.') {
            *out = machine_pop(m);
            return *out ? KILN_OK : machine_failure(m);
        }
        kiln_status status = machine_step(m, *code);
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
