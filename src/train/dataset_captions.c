/* dataset_captions.c - where the words of pictures come from: metadata.jsonl, a text file beside the picture,
 * the prompt of the options, the name of its folder. */
#include "train/dataset_parts.h"

#include "image/picture_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kiln_status no_memory(const char *path, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: no memory for captions", path);
}

/* ------------------------------------------------------------------------------------ metadata.jsonl */

static kiln_status add_line(folder_scan *scan, const metadata_line *line, const char *path, kiln_error *err)
{
    if (scan->line_count == scan->line_capacity) {
        size_t capacity = scan->line_capacity ? scan->line_capacity * 2 : 256;
        metadata_line *grown = realloc(scan->lines, capacity * sizeof *grown);
        if (!grown)
            return no_memory(path, err);
        scan->lines = grown;
        scan->line_capacity = capacity;
    }
    scan->lines[scan->line_count++] = *line;
    return KILN_OK;
}

/* "text" or "caption": a string, or a list of strings. */
static kiln_status take_texts(folder_scan *scan, const json_t *object, metadata_line *to, const char *path,
                              kiln_error *err)
{
    const json_t *text = json_object_get(object, "text");
    if (!text)
        text = json_object_get(object, "caption");
    if (!text || json_is_null(text))
        return KILN_OK;
    size_t count = json_is_array(text) ? json_array_size(text) : 1;
    to->texts = arena_alloc(scan->memory, (count ? count : 1) * sizeof *to->texts);
    if (!to->texts)
        return no_memory(path, err);
    for (size_t i = 0; i < count; i++) {
        const char *words = json_string_value(json_is_array(text) ? json_array_get(text, i) : text);
        if (!words)
            return fail(err, KILN_BAD_FORMAT, "%s: line %d: \"text\" is not a string", path, to->line);
        if (!*words)
            continue;
        to->texts[to->texts_count] = arena_text(scan->memory, words);
        if (!to->texts[to->texts_count++])
            return no_memory(path, err);
    }
    return KILN_OK;
}

static kiln_status read_line(folder_scan *scan, const char *path, const char *prefix, const char *text,
                             size_t size, int number, kiln_error *err)
{
    json_error_t problem;
    json_t *object = json_loadb(text, size, 0, &problem);
    if (!object)
        return fail(err, KILN_BAD_FORMAT, "%s: line %d is not JSON: %s", path, number, problem.text);
    const char *name = json_string_value(json_object_get(object, "file_name"));
    kiln_status status = KILN_OK;
    metadata_line line = {.line = number};
    if (!name || !*name) {
        status = fail(err, KILN_BAD_FORMAT, "%s: line %d has no \"file_name\"", path, number);
    } else {
        while (name[0] == '.' && name[1] == '/')
            name += 2;
        line.name = arena_format(scan->memory, "%s%s", prefix, name);
        status = line.name ? take_texts(scan, object, &line, path, err) : no_memory(path, err);
    }
    json_decref(object);
    return status == KILN_OK ? add_line(scan, &line, path, err) : status;
}

kiln_status folder_scan_metadata(folder_scan *scan, const char *path, const char *prefix, kiln_error *err)
{
    char *text;
    size_t size;
    kiln_status status = read_small_file(path, METADATA_FILE_MAX, &text, &size, err);
    const char *at = text, *end = text ? text + size : NULL;
    for (int number = 1; status == KILN_OK && at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        size_t blank = strspn(at, " \t\r");
        if (at + blank < stop)
            status = read_line(scan, path, prefix, at, (size_t)(stop - at), number, err);
        at = stop + 1;
    }
    free(text);
    return status;
}

static int compare_lines(const void *a, const void *b)
{
    const metadata_line *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* The first line of that name, or line_count. */
static size_t first_line(const folder_scan *scan, const char *name)
{
    size_t low = 0, high = scan->line_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(scan->lines[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < scan->line_count && !strcmp(scan->lines[low].name, name) ? low : scan->line_count;
}

static kiln_status from_metadata(folder_scan *scan, found_picture *picture, kiln_error *err)
{
    size_t first = first_line(scan, picture->name), last = first;
    int count = 0;
    for (; last < scan->line_count && !strcmp(scan->lines[last].name, picture->name); last++) {
        count += scan->lines[last].texts_count;
        scan->lines[last].used = true;
    }
    if (count == 0)
        return KILN_OK;
    picture->captions = arena_alloc(scan->memory, (size_t)count * sizeof *picture->captions);
    if (!picture->captions)
        return no_memory(picture->path, err);
    for (size_t i = first; i < last; i++)
        for (int j = 0; j < scan->lines[i].texts_count; j++)
            picture->captions[picture->captions_count++] = scan->lines[i].texts[j];
    return KILN_OK;
}

static void tell_unused(const folder_scan *scan)
{
    int64_t unused = 0;
    for (size_t i = 0; i < scan->line_count; i++) {
        if (scan->lines[i].used)
            continue;
        if (unused++ < 3)
            dataset_options_tell(scan->options, "%s: metadata.jsonl, line %d: there is no picture '%s'",
                                 scan->folder, scan->lines[i].line, scan->lines[i].name);
    }
    if (unused > 3)
        dataset_options_tell(scan->options,
                             "%s: metadata.jsonl names %" PRId64 " more pictures that are missing",
                             scan->folder, unused - 3);
}

/* ------------------------------------------------------------------------------------ text beside the
 * picture */

static kiln_status take_lines(folder_scan *scan, found_picture *picture, char *text, kiln_error *err)
{
    if (!strncmp(text, "\xEF\xBB\xBF", 3))
        text += 3;
    int lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    picture->captions = arena_alloc(scan->memory, (size_t)lines * sizeof *picture->captions);
    if (!picture->captions)
        return no_memory(picture->path, err);
    for (char *at = text; at;) {
        char *next = strchr(at, '\n');
        if (next)
            *next++ = 0;
        at += strspn(at, " \t\r");
        size_t length = strlen(at);
        while (length && strchr(" \t\r", at[length - 1]))
            length--;
        if (length) {
            char *caption = arena_text_part(scan->memory, at, length);
            if (!caption)
                return no_memory(picture->path, err);
            picture->captions[picture->captions_count++] = caption;
        }
        at = next;
    }
    return KILN_OK;
}

/* Reads `path` with the extension changed; *found tells whether there was such a file. */
static kiln_status from_file(folder_scan *scan, found_picture *picture, const char *extension, bool *found,
                             kiln_error *err)
{
    *found = false;
    const char *dot = strrchr(picture->path, '.'), *point = *extension == '.' ? "" : ".";
    size_t size = (size_t)(dot - picture->path) + strlen(point) + strlen(extension) + 1;
    char *path = malloc(size), *text = NULL;
    if (!path)
        return no_memory(picture->path, err);
    snprintf(path, size, "%.*s%s%s", (int)(dot - picture->path), picture->path, point, extension);
    kiln_status status = KILN_OK;
    kiln_error problem;
    if (access(path, F_OK) == 0) {
        *found = true;
        status = read_small_file(path, CAPTION_FILE_MAX, &text, &size, &problem);
        if (status == KILN_NO_MEMORY) {
            fail(err, status, "%s", problem.text);
        } else if (status != KILN_OK) {
            dataset_options_tell(scan->options, "%s; the picture is shown without words", problem.text);
            status = KILN_OK;
        } else if (strlen(text) != size || !text_is_utf8(text, size)) {
            dataset_options_tell(scan->options, "%s: not text in UTF-8; the picture is shown without words",
                                 path);
        } else {
            status = take_lines(scan, picture, text, err);
        }
    }
    free(text);
    free(path);
    return status;
}

static kiln_status find_caption(folder_scan *scan, found_picture *picture, kiln_error *err)
{
    kiln_status status = from_metadata(scan, picture, err);
    const char *own = scan->options->caption_extension, *usual[] = {".txt", ".caption"};
    bool found = picture->captions_count > 0;
    for (int i = 0; status == KILN_OK && !found && i < (own ? 1 : 2); i++)
        status = from_file(scan, picture, own ? own : usual[i], &found, err);
    const char *words = scan->prompt ? scan->prompt : picture->class_name;
    if (status != KILN_OK || found || !words)
        return status;
    scan->prompted += words == scan->prompt;
    picture->captions = arena_alloc(scan->memory, sizeof *picture->captions);
    if (!picture->captions)
        return no_memory(picture->path, err);
    picture->captions[0] = words;
    picture->captions_count = 1;
    return KILN_OK;
}

kiln_status folder_scan_captions(folder_scan *scan, kiln_error *err)
{
    if (scan->line_count)
        qsort(scan->lines, scan->line_count, sizeof *scan->lines, compare_lines);
    for (size_t i = 0; i < scan->count; i++) {
        kiln_status status = find_caption(scan, &scan->pictures[i], err);
        if (status != KILN_OK)
            return status;
    }
    tell_unused(scan);
    return KILN_OK;
}
