/* dataset_folder.c - walking a folder of pictures. Names that begin with '.' are left alone; links to files
 * are followed, links to folders below the first are not (they may go round). */
#include "train/dataset_parts.h"

#include "image/picture_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the walk is: a folder, and what its name says about the pictures in it. */
typedef struct place {
    const char *path, *prefix; /* prefix: relative name, "" or ending in '/' */
    const char *class_name;
    int repeats, depth;
} place;

void dataset_options_tell(const dataset_options *options, const char *format, ...)
{
    if (!options->log)
        return;
    kiln_error sentence;
    va_list arguments;
    va_start(arguments, format);
    fail_with(&sentence, KILN_OK, format, arguments);
    va_end(arguments);
    options->log(options->log_self, sentence.text);
}

static kiln_status no_memory(const folder_scan *scan, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: no memory for the list of pictures", scan->folder);
}

kiln_status read_small_file(const char *path, size_t most, char **out, size_t *size, kiln_error *err)
{
    *out = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about)) {
        kiln_status status = fail_system(err, "%s: cannot be read", path);
        if (fd >= 0)
            close(fd);
        return status;
    }
    kiln_status status = KILN_OK;
    if (!S_ISREG(about.st_mode) || about.st_size < 0 || (uint64_t)about.st_size > most)
        status = fail(err, KILN_BAD_FORMAT, "%s: not a file of at most %zu bytes", path, most);
    size_t wanted = status == KILN_OK ? (size_t)about.st_size : 0, got = 0;
    char *bytes = status == KILN_OK ? malloc(wanted + 1) : NULL;
    if (status == KILN_OK && !bytes)
        status = fail(err, KILN_NO_MEMORY, "%s: no memory for %zu bytes", path, wanted);
    while (status == KILN_OK && got < wanted) {
        ssize_t part = read(fd, bytes + got, wanted - got);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            status = fail_system(err, "%s: cannot be read", path);
        if (part <= 0)
            break;
        got += (size_t)part;
    }
    close(fd);
    if (status != KILN_OK) {
        free(bytes);
        return status;
    }
    bytes[got] = 0;
    *out = bytes;
    *size = got;
    return KILN_OK;
}

void folder_scan_fini(folder_scan *scan)
{
    free(scan->pictures);
    free(scan->lines);
    scan->pictures = NULL;
    scan->lines = NULL;
}

static kiln_status add_picture(folder_scan *scan, const place *at, const char *path, const char *name,
                               const struct stat *about, kiln_error *err)
{
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity ? scan->capacity * 2 : 256;
        found_picture *grown = realloc(scan->pictures, capacity * sizeof *grown);
        if (!grown)
            return no_memory(scan, err);
        scan->pictures = grown;
        scan->capacity = capacity;
    }
    found_picture *picture = &scan->pictures[scan->count];
    *picture =
        (found_picture){.path = arena_text(scan->memory, path),
                        .name = arena_format(scan->memory, "%s%s", at->prefix, name),
                        .class_name = at->class_name,
                        .repeats = at->repeats,
                        .file_bytes = (uint64_t)about->st_size,
                        .changed_ns = (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec};
    if (!picture->path || !picture->name)
        return no_memory(scan, err);
    scan->count++;
    return KILN_OK;
}

/* "10_a dog" is 10 repeats of the class "a dog"; any other name says nothing. */
static kiln_status read_folder_name(folder_scan *scan, const char *name, place *inside, kiln_error *err)
{
    char *end;
    if (*name < '0' || *name > '9')
        return KILN_OK;
    errno = 0;
    long repeats = strtol(name, &end, 10);
    if (*end != '_')
        return KILN_OK;
    if (errno || repeats < 1 || repeats > REPEATS_MAX) /* a date, say */
        return KILN_OK;
    inside->repeats = (int)repeats;
    inside->class_name = end[1] ? arena_text(scan->memory, end + 1) : NULL;
    if (end[1] && !inside->class_name)
        return no_memory(scan, err);
    dataset_options_tell(scan->options, "%s/%s%s: each picture %ld times an epoch, class '%s'", scan->folder,
                         inside->prefix, name, repeats, end + 1);
    return KILN_OK;
}

static kiln_status walk(folder_scan *scan, const place *at, kiln_error *err);

static kiln_status enter(folder_scan *scan, const place *at, const char *path, const char *name,
                         kiln_error *err)
{
    if (at->depth >= FOLDER_DEPTH_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "%s: folders within folders, more than %d deep", path,
                    (int)FOLDER_DEPTH_MAX);
    place inside = *at;
    kiln_status status = read_folder_name(scan, name, &inside, err);
    if (status != KILN_OK)
        return status;
    inside.path = path;
    inside.prefix = arena_format(scan->memory, "%s%s/", at->prefix, name);
    inside.depth = at->depth + 1;
    return inside.prefix ? walk(scan, &inside, err) : no_memory(scan, err);
}

static kiln_status visit(folder_scan *scan, const place *at, const char *name, kiln_error *err)
{
    char *path = arena_format(scan->memory, "%s/%s", at->path, name);
    if (!path)
        return no_memory(scan, err);
    struct stat about;
    if (lstat(path, &about))
        return KILN_OK; /* gone since */
    if (S_ISDIR(about.st_mode))
        return enter(scan, at, path, name, err);
    if (S_ISLNK(about.st_mode) && (stat(path, &about) || S_ISDIR(about.st_mode))) {
        if (image_format_of_path(path) != IMAGE_FORMAT_NONE)
            dataset_options_tell(scan->options, "%s: a link to nothing, left out", path);
        return KILN_OK;
    }
    if (!strcmp(name, "metadata.jsonl"))
        return folder_scan_metadata(scan, path, at->prefix, err);
    if (image_format_of_path(path) != IMAGE_FORMAT_NONE && S_ISREG(about.st_mode))
        return add_picture(scan, at, path, name, &about, err);
    scan->other_files++;
    return KILN_OK;
}

static kiln_status walk(folder_scan *scan, const place *at, kiln_error *err)
{
    DIR *folder = opendir(at->path);
    if (!folder) {
        int reason = errno;
        kiln_status status = fail_system(err, "%s: cannot be opened as a folder", at->path);
        if (err && (reason == ENOENT || reason == ENOTDIR))
            err->status = KILN_NOT_FOUND;
        return reason == ENOENT || reason == ENOTDIR ? KILN_NOT_FOUND : status;
    }
    kiln_status status = KILN_OK;
    for (struct dirent *entry; status == KILN_OK && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            status = visit(scan, at, entry->d_name, err);
    closedir(folder);
    return status;
}

static int compare_pictures(const void *a, const void *b)
{
    return strcmp(((const found_picture *)a)->name, ((const found_picture *)b)->name);
}

kiln_status folder_scan_walk(folder_scan *scan, kiln_error *err)
{
    place at = {.path = scan->folder, .prefix = "", .repeats = 1};
    kiln_status status = walk(scan, &at, err);
    if (status != KILN_OK)
        return status;
    if (scan->count == 0 && scan->other_files == 0)
        return fail(
            err, KILN_NOT_FOUND,
            "%s: there is no picture in this folder, nor any other file (expected .png, .jpg, .jpeg or "
            ".webp)",
            scan->folder);
    if (scan->count == 0)
        return fail(err, KILN_NOT_FOUND,
                    "%s: there is no picture in this folder, only other files: %" PRId64
                    " (expected .png, .jpg, .jpeg or .webp)",
                    scan->folder, scan->other_files);
    qsort(scan->pictures, scan->count, sizeof *scan->pictures, compare_pictures);
    return KILN_OK;
}
