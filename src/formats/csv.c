/* csv.c - see csv.h. */
#include "formats/csv.h"

#include <stdlib.h>
#include <string.h>

typedef struct reading {
    const char *text, *name;
    size_t size, at;
    int line;
    csv *out;
} reading;

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for a table");
}

static bool ends_field(const reading *r)
{
    return r->at == r->size || strchr(",\r\n", r->text[r->at]) != NULL;
}

/* Behind CR LF, LF or CR, if one is there. */
static bool take_new_line(reading *r)
{
    size_t before = r->at;
    r->at += r->at < r->size && r->text[r->at] == '\r';
    r->at += r->at < r->size && r->text[r->at] == '\n';
    r->line += r->at > before;
    return r->at > before;
}

/* What stands between quotes, the first of which is passed. It never is longer than the rest of the text. */
static kiln_status read_quoted(reading *r, char **field, kiln_error *err)
{
    int first = r->line;
    const char *end = memchr(r->text + r->at, '"', r->size - r->at);
    size_t room = 0, length = 0;
    /* The closing quote is the first that is not one of two. */
    while (end && end + 1 < r->text + r->size && end[1] == '"')
        end = memchr(end + 2, '"', (size_t)(r->text + r->size - (end + 2)));
    if (!end)
        return fail(err, KILN_BAD_FORMAT, "%s: the quote in line %d is never closed", r->name, first);
    room = (size_t)(end - (r->text + r->at));
    char *to = *field = arena_alloc(&r->out->memory, room + 1);
    if (!to)
        return no_memory(err);
    for (; r->text + r->at < end; r->at++) {
        char c = r->text[r->at];
        to[length++] = c;
        r->at += c == '"';
        r->line += c == '\n' || (c == '\r' && r->text[r->at + 1] != '\n');
    }
    r->at++;
    if (!ends_field(r))
        return fail(err, KILN_BAD_FORMAT, "%s: text follows a closing quote in line %d", r->name, r->line);
    return KILN_OK;
}

static kiln_status read_field(reading *r, char **field, kiln_error *err)
{
    while (r->at < r->size && r->text[r->at] == ' ')
        r->at++;
    if (r->at < r->size && r->text[r->at] == '"') {
        r->at++;
        return read_quoted(r, field, err);
    }
    size_t begin = r->at;
    while (!ends_field(r))
        r->at++;
    *field = arena_text_part(&r->out->memory, r->text + begin, r->at - begin);
    return *field ? KILN_OK : no_memory(err);
}

static kiln_status add_row(reading *r, char *const *fields, int count, int line, kiln_error *err)
{
    csv *t = r->out;
    if (t->count == CSV_MAX_ROWS)
        return fail(err, KILN_BAD_FORMAT, "%s has more than %d rows", r->name, CSV_MAX_ROWS);
    if (t->count == t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 16;
        csv_row *rows = realloc(t->rows, (size_t)capacity * sizeof *rows);
        if (!rows)
            return no_memory(err);
        t->rows = rows;
        t->capacity = capacity;
    }
    const char **own = arena_alloc(&t->memory, (size_t)count * sizeof *own);
    if (!own)
        return no_memory(err);
    memcpy(own, fields, (size_t)count * sizeof *own);
    t->rows[t->count++] = (csv_row){own, count, line};
    return KILN_OK;
}

static kiln_status read_row(reading *r, kiln_error *err)
{
    char *fields[CSV_MAX_FIELDS];
    int count = 0, line = r->line;
    for (bool more = true; more;) {
        if (count == CSV_MAX_FIELDS)
            return fail(err, KILN_BAD_FORMAT, "%s: line %d has more than %d fields", r->name, line,
                        CSV_MAX_FIELDS);
        kiln_status status = read_field(r, &fields[count], err);
        if (status != KILN_OK)
            return status;
        count++;
        more = r->at < r->size && r->text[r->at] == ',';
        r->at += more;
    }
    (void)take_new_line(r);
    return add_row(r, fields, count, line, err);
}

kiln_status csv_parse(const char *text, size_t size, const char *name, csv *out, kiln_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    reading r = {.text = text, .size = size, .name = name, .line = 1, .out = out};
    if (memchr(text, '\0', size))
        return fail(err, KILN_BAD_FORMAT, "%s: is no table of texts: it holds a zero byte", name);
    if (size >= 3 && memcmp(text, mark, 3) == 0)
        r.at = 3;
    kiln_status status = KILN_OK;
    while (status == KILN_OK && r.at < size)
        if (!take_new_line(&r))
            status = read_row(&r, err);
    return status;
}

void csv_free(csv *t)
{
    arena_fini(&t->memory);
    free(t->rows);
    *t = (csv){0};
}
