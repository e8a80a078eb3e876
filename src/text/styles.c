/* styles.c - see styles.h. */
#include "text/styles.h"

#include "formats/csv.h"
#include "text/clean.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for styles");
}

/* ------------------------------------------------------------------------------------ reading */

typedef struct columns {
    int name, prompt, negative; /* -1: none */
    int count;
} columns;

static kiln_status read_header(const csv *table, const char *path, columns *out, kiln_error *err)
{
    *out = (columns){-1, -1, -1, table->count ? table->rows[0].count : 0};
    int text = -1;
    for (int i = 0; i < out->count; i++) {
        const char *field = table->rows[0].fields[i];
        if (strcmp(field, "name") == 0)
            out->name = i;
        else if (strcmp(field, "prompt") == 0)
            out->prompt = i;
        else if (strcmp(field, "text") == 0)
            text = i;
        else if (strcmp(field, "negative_prompt") == 0)
            out->negative = i;
    }
    out->prompt = out->prompt < 0 ? text : out->prompt;
    if (out->name >= 0 && out->prompt >= 0)
        return KILN_OK;
    return fail(
        err, KILN_BAD_FORMAT,
        "%s: is no file of styles: its first line names the columns, and '%s' and '%s' are not both there",
        path, "name", "prompt");
}

static const char *field_of(const csv_row *row, int column)
{
    return column >= 0 && column < row->count ? row->fields[column] : "";
}

/* A comma that was not quoted would cut a prompt short. */
static kiln_status check_row(const csv_row *row, const columns *c, const char *path, kiln_error *err)
{
    for (int i = c->count; i < row->count; i++)
        if (row->fields[i][0])
            return fail(err, KILN_BAD_FORMAT,
                        "%s: line %d has more fields than the first line names: a text with commas stands in "
                        "quotes",
                        path, row->line);
    for (int i = 0; i < row->count; i++)
        if (clean_check_utf8(row->fields[i], strlen(row->fields[i]), NULL) != KILN_OK)
            return fail(err, KILN_BAD_FORMAT, "%s: line %d is not UTF-8", path, row->line);
    return KILN_OK;
}

static kiln_status add_style(styles *all, const csv_row *row, const columns *c, kiln_error *err)
{
    int64_t found = name_index_find(&all->names, field_of(row, c->name));
    if (found == NAME_MISSING && all->count == all->capacity) {
        int capacity = all->capacity ? 2 * all->capacity : 16;
        style *list = realloc(all->list, (size_t)capacity * sizeof *list);
        if (!list)
            return no_memory(err);
        all->list = list;
        all->capacity = capacity;
    }
    style s = {arena_text(&all->memory, field_of(row, c->name)),
               arena_text(&all->memory, field_of(row, c->prompt)),
               arena_text(&all->memory, field_of(row, c->negative))};
    if (!s.name || !s.prompt || !s.negative)
        return no_memory(err);
    if (found == NAME_MISSING && !name_index_put(&all->names, s.name, (uint32_t)all->count))
        return no_memory(err);
    all->list[found == NAME_MISSING ? all->count++ : found] = s;
    return KILN_OK;
}

kiln_status styles_add(styles *all, const char *text, size_t size, const char *path, kiln_error *err)
{
    csv table = {0};
    columns c = {0};
    kiln_status status = csv_parse(text, size, path, &table, err);
    if (status == KILN_OK)
        status = read_header(&table, path, &c, err);
    for (int i = 1; status == KILN_OK && i < table.count; i++) {
        const csv_row *row = &table.rows[i];
        const char *name = field_of(row, c.name);
        if (!*name || *name == '#')
            continue;
        status = check_row(row, &c, path, err);
        if (status == KILN_OK)
            status = add_style(all, row, &c, err);
    }
    csv_free(&table);
    return status;
}

void styles_free(styles *all)
{
    arena_fini(&all->memory);
    name_index_fini(&all->names);
    free(all->list);
    *all = (styles){0};
}

/* ------------------------------------------------------------------------------------ names */

const style *styles_find(const styles *all, const char *name)
{
    int64_t found = name_index_find(&all->names, name);
    return found == NAME_MISSING ? NULL : &all->list[found];
}

enum { LONGEST_NAME = 64 };

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* How many bytes have to be put in, left out or changed, in any case; a long name is compared by its beginning. */
static int distance(const char *a, const char *b)
{
    int row[LONGEST_NAME + 1];
    size_t m = strnlen(a, LONGEST_NAME), n = strnlen(b, LONGEST_NAME);
    for (size_t k = 0; k <= n; k++)
        row[k] = (int)k;
    for (size_t i = 1; i <= m; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t k = 1; k <= n; k++) {
            int same = corner + (lower(a[i - 1]) != lower(b[k - 1])), other = row[k] + 1;
            corner = row[k];
            other = row[k - 1] + 1 < other ? row[k - 1] + 1 : other;
            row[k] = same < other ? same : other;
        }
    }
    return row[n];
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; length && *text; text++) {
        size_t i = 0;
        while (i < length && lower(text[i]) == lower(part[i]))
            i++;
        if (i == length)
            return true;
    }
    return false;
}

void styles_like(const styles *all, const char *name, char *out, size_t size)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < all->count; i++) {
        const char *own = all->list[i].name;
        size_t shorter = strlen(own) < strlen(name) ? strlen(own) : strlen(name);
        bool near =
            distance(own, name) <= (shorter < 3 ? 1 : 2) || contains(own, name) || contains(name, own);
        size_t needed = strlen(own) + 5;
        if (!near || used + needed > size)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s'%s'", used ? ", " : "", own);
    }
}

/* ------------------------------------------------------------------------------------ merging */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without blanks at its ends. */
static const char *trimmed(const char *text, size_t *length)
{
    while (is_space(*text))
        text++;
    *length = strlen(text);
    while (*length && is_space(text[*length - 1]))
        (*length)--;
    return text;
}

/* The prompt in every place that the style has for it. */
static char *put_in(const char *own, const char *prompt, const char *place, size_t room)
{
    size_t length = strlen(prompt);
    char *made = malloc(room), *to = made;
    for (const char *next; made && (next = strstr(own, place)); own = next + strlen(place)) {
        memcpy(to, own, (size_t)(next - own));
        memcpy(to + (next - own), prompt, length);
        to += (size_t)(next - own) + length;
    }
    if (made)
        strcpy(to, own);
    return made;
}

/* The style behind the prompt; one of them alone where the other is empty. */
static char *append(const char *own, const char *prompt, size_t room)
{
    size_t first, second;
    prompt = trimmed(prompt, &first);
    own = trimmed(own, &second);
    char *made = malloc(room);
    if (made)
        snprintf(made, room, "%.*s%s%.*s", (int)first, prompt, first && second ? ", " : "", (int)second, own);
    return made;
}

kiln_status style_merge(const char *own, const char *prompt, char **out, kiln_error *err)
{
    static const char place[] = "{prompt}";
    size_t places = 0;
    *out = NULL;
    for (const char *at = own; (at = strstr(at, place)); at += sizeof place - 1)
        places++;
    size_t room = strlen(own) + (places ? places : 1) * strlen(prompt) + 3;
    if (room > TOKENIZER_MAX_TEXT)
        return fail(err, KILN_BAD_ARGUMENT,
                    "the prompt has %zu bytes with its style; at most %d can be encoded", room,
                    TOKENIZER_MAX_TEXT);
    *out = places ? put_in(own, prompt, place, room) : append(own, prompt, room);
    return *out ? KILN_OK : no_memory(err);
}
