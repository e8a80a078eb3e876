/* dataset_sizes.c - the sizes of all pictures, kept in a text file between runs so that a large folder opens
 * fast.
 *
 *     kiln picture sizes 1
 *     128 96 4711 1700000000000000000 dog/1.png        width, height, bytes, time of the last change in ns,
 * name
 *
 * A line counts as long as bytes and time are those of the file; lines are in the order of names. A file that
 * is damaged or missing only costs time. */
#include "train/dataset_parts.h"
#include "train/picture_size.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_LINE "kiln picture sizes 1\n"
enum { SIZE_CACHE_MAX = 1 << 30 };

/* Fill the sizes of pictures from lines that fit them. Both are sorted by name. */
static void use_cached(folder_scan *scan, char *text)
{
    size_t picture = 0;
    for (char *at = text; *at && picture < scan->count;) {
        char *end = strchr(at, '\n');
        if (!end)
            return;
        *end = 0;
        char *name = at;
        long width = strtol(name, &name, 10), height = strtol(name, &name, 10);
        uint64_t bytes = strtoull(name, &name, 10);
        int64_t changed = strtoll(name, &name, 10);
        if (*name++ != ' ')
            return;
        while (picture < scan->count && strcmp(scan->pictures[picture].name, name) < 0)
            picture++;
        found_picture *found = picture < scan->count ? &scan->pictures[picture] : NULL;
        if (found && !strcmp(found->name, name) && found->file_bytes == bytes &&
            found->changed_ns == changed && width > 0 && width <= INT_MAX && height > 0 &&
            height <= INT_MAX) {
            found->width_px = (int)width;
            found->height_px = (int)height;
        }
        at = end + 1;
    }
}

static void load_cache(folder_scan *scan, const char *path)
{
    char *text;
    size_t size;
    if (!path || read_small_file(path, SIZE_CACHE_MAX, &text, &size, NULL) != KILN_OK)
        return;
    if (strlen(text) == size && !strncmp(text, FIRST_LINE, strlen(FIRST_LINE)))
        use_cached(scan, text + strlen(FIRST_LINE));
    free(text);
}

/* Best effort: without it the next opening is slower, nothing else. */
static void store_cache(const folder_scan *scan, const char *path)
{
    char *temporary = malloc(strlen(path) + 8);
    if (!temporary)
        return;
    snprintf(temporary, strlen(path) + 8, "%s.tmp", path);
    FILE *file = fopen(temporary, "w");
    if (file) {
        bool good = fputs(FIRST_LINE, file) >= 0;
        for (size_t i = 0; i < scan->count; i++) {
            const found_picture *p = &scan->pictures[i];
            if (p->width_px > 0 && !strchr(p->name, '\n'))
                good = fprintf(file, "%d %d %" PRIu64 " %" PRId64 " %s\n", p->width_px, p->height_px,
                               p->file_bytes, p->changed_ns, p->name) > 0 &&
                       good;
        }
        good = fclose(file) == 0 && good;
        if (!good || rename(temporary, path))
            unlink(temporary);
    }
    free(temporary);
}

kiln_status folder_scan_sizes(folder_scan *scan, const char *size_cache, kiln_error *err)
{
    load_cache(scan, size_cache);
    size_t kept = 0, read = 0;
    kiln_error problem = {KILN_OK, ""};
    for (size_t i = 0; i < scan->count; i++) {
        found_picture picture = scan->pictures[i];
        if (picture.width_px == 0) {
            read++;
            if (picture_size(picture.path, &picture.width_px, &picture.height_px, &problem) != KILN_OK) {
                dataset_options_tell(scan->options, "%s: %s; left out", picture.path, problem.text);
                continue;
            }
        }
        scan->pictures[kept++] = picture;
    }
    size_t all = scan->count;
    scan->count = kept;
    if (kept == 0)
        return fail(err, KILN_BAD_FORMAT, "%s: none of its %zu pictures can be read: %s", scan->folder, all,
                    problem.text);
    if (size_cache && read)
        store_cache(scan, size_cache);
    return KILN_OK;
}
