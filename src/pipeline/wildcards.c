/* wildcards.c - see wildcards.h. */
#include "pipeline/wildcards.h"

#include "pipeline/beside.h"
#include "text/clean.h"
#include "text/tokenizer.h"
#include "weights/small_file.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDERS_DEEP = 8, MAX_FILES = 10000, MAX_LINES = 10000000 };

static const char extension[] = ".txt";

typedef struct wildcard_entry {
    const char *name;
    wildcard_lines lines;
} wildcard_entry;

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for wildcards");
}

/* ------------------------------------------------------------------------------------ lines */

typedef struct line_list {
    wildcard_line *list;
    uint32_t count, capacity;
} line_list;

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static kiln_status add_line(wildcard_folder *w, line_list *lines, const char *text, size_t length,
                            const char *path, kiln_error *err)
{
    while (length && is_space(*text)) {
        text++;
        length--;
    }
    while (length && is_space(text[length - 1]))
        length--;
    if (!length || *text == '#')
        return KILN_OK;
    if (length > TOKENIZER_MAX_TEXT || lines->count == MAX_LINES)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: too long for a list of texts: at most %d lines of at most %d bytes", path, MAX_LINES,
                    TOKENIZER_MAX_TEXT);
    if (lines->count == lines->capacity) {
        uint32_t capacity = lines->capacity ? 2 * lines->capacity : 64;
        wildcard_line *list = realloc(lines->list, capacity * sizeof *list);
        if (!list)
            return no_memory(err);
        lines->list = list;
        lines->capacity = capacity;
    }
    char *own = arena_text_part(&w->memory, text, length);
    lines->list[lines->count++] = (wildcard_line){own, path};
    return own ? KILN_OK : no_memory(err);
}

static kiln_status add_file(wildcard_folder *w, line_list *lines, const char *path, kiln_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    arena file = {0};
    const char *text = NULL, *own = arena_text(&w->memory, path);
    size_t size = 0;
    kiln_status status = own ? small_file_read(path, &file, &text, &size, err) : no_memory(err);
    if (status == KILN_OK && (clean_check_utf8(text, size, NULL) != KILN_OK || memchr(text, '\0', size)))
        status = fail(err, KILN_BAD_FORMAT, "%s: is no list of texts: it is not UTF-8", path);
    if (status == KILN_OK && size >= 3 && memcmp(text, mark, 3) == 0)
        text += 3;
    for (const char *at = text; status == KILN_OK && *at;) {
        size_t length = strcspn(at, "\n");
        status = add_line(w, lines, at, length, own, err);
        at += length + (at[length] == '\n');
    }
    arena_fini(&file);
    return status;
}

/* ------------------------------------------------------------------------------------ patterns */

typedef struct name_list {
    char *names[MAX_FILES]; /* below the folder, without the extension */
    int count;
    const char *pattern;
} name_list;

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `below` is a path below the folder, that of a file with its extension. */
static void take_name(name_list *all, const char *below)
{
    size_t length = strlen(below), tail = sizeof extension - 1;
    int flags = strstr(all->pattern, "**") ? 0 : FNM_PATHNAME;
    if (length <= tail || strcmp(below + length - tail, extension) != 0 || all->count == MAX_FILES)
        return;
    char *name = strndup(below, length - tail);
    if (name && fnmatch(all->pattern, name, flags) == 0)
        all->names[all->count++] = name;
    else
        free(name);
}

static void walk(const char *folder, const char *below, int depth, name_list *all)
{
    char path[BESIDE_PATH];
    struct dirent **entries = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, below) >= (int)sizeof path)
        return;
    int count = depth < FOLDERS_DEEP ? scandir(path, &entries, NULL, by_bytes) : -1;
    for (int i = 0; i < count; i++) {
        char inner[BESIDE_PATH], whole[2 * BESIDE_PATH];
        const char *name = entries[i]->d_name;
        int length = snprintf(inner, sizeof inner, "%s%s%s", below, *below ? "/" : "", name);
        if (*name != '.' && length < (int)sizeof inner) {
            snprintf(whole, sizeof whole, "%s/%s", folder, inner);
            if (path_is_file(whole))
                take_name(all, inner);
            else if (path_is_folder(whole))
                walk(folder, inner, depth + 1, all);
        }
        free(entries[i]);
    }
    free(entries);
}

static kiln_status add_pattern(wildcard_folder *w, line_list *lines, const char *pattern, kiln_error *err)
{
    name_list *all = calloc(1, sizeof *all);
    kiln_status status = all ? KILN_OK : no_memory(err);
    if (all) {
        all->pattern = pattern;
        walk(w->folder, "", 0, all);
        qsort(all->names, (size_t)all->count, sizeof *all->names, by_name);
    }
    if (all && !all->count)
        status = fail(err, KILN_NOT_FOUND, "no wildcard is like '%s': there is no such %s file in %s",
                      pattern, extension, w->folder);
    for (int i = 0; all && i < all->count; i++) {
        char path[2 * BESIDE_PATH];
        snprintf(path, sizeof path, "%s/%s%s", w->folder, all->names[i], extension);
        if (status == KILN_OK)
            status = add_file(w, lines, path, err);
        free(all->names[i]);
    }
    free(all);
    return status;
}

/* ------------------------------------------------------------------------------------ names */

static kiln_status add_named(wildcard_folder *w, line_list *lines, const char *name, kiln_error *err)
{
    char path[BESIDE_PATH];
    if (strchr(name, '*') || strchr(name, '?'))
        return add_pattern(w, lines, name, err);
    if (snprintf(path, sizeof path, "%s/%s%s", w->folder, name, extension) < (int)sizeof path &&
        path_is_file(path))
        return add_file(w, lines, path, err);
    return fail(err, KILN_NOT_FOUND,
                "there is no wildcard '%s': %s/%s%s is not there (\\__%s__ is the text itself)", name,
                w->folder, name, extension, name);
}

static kiln_status keep(wildcard_folder *w, const char *name, const line_list *lines, kiln_error *err)
{
    if (w->count == w->capacity) {
        int capacity = w->capacity ? 2 * w->capacity : 16;
        wildcard_entry *entries = realloc(w->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return no_memory(err);
        w->entries = entries;
        w->capacity = capacity;
    }
    wildcard_line *list = arena_alloc(&w->memory, lines->count * sizeof *list);
    char *own = arena_text(&w->memory, name);
    if (!list || !own)
        return no_memory(err);
    memcpy(list, lines->list, lines->count * sizeof *list);
    w->entries[w->count++] = (wildcard_entry){own, {list, lines->count}};
    return KILN_OK;
}

static kiln_status find(void *self, const char *name, wildcard_lines *out, kiln_error *err)
{
    wildcard_folder *w = self;
    line_list lines = {0};
    if (name_leaves_folder(name))
        return fail(err, KILN_BAD_ARGUMENT, "'__%s__' in the prompt is no name of a wildcard in %s", name,
                    w->folder);
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->entries[i].name, name) == 0) {
            *out = w->entries[i].lines;
            return KILN_OK;
        }
    kiln_status status = add_named(w, &lines, name, err);
    if (status == KILN_OK && !lines.count)
        status = fail(err, KILN_BAD_FORMAT, "the wildcard '%s' in %s has no line to choose", name, w->folder);
    if (status == KILN_OK)
        status = keep(w, name, &lines, err);
    if (status == KILN_OK)
        *out = w->entries[w->count - 1].lines;
    free(lines.list);
    return status;
}

kiln_status wildcard_folder_check(const wildcard_folder *w, kiln_error *err)
{
    return path_is_folder(w->folder)
               ? KILN_OK
               : fail(err, KILN_NOT_FOUND, "%s: there is no such folder with wildcards", w->folder);
}

wildcard_source wildcard_folder_source(wildcard_folder *w)
{
    return (wildcard_source){w, find};
}

void wildcard_folder_free(wildcard_folder *w)
{
    arena_fini(&w->memory);
    free(w->entries);
    *w = (wildcard_folder){0};
}
