/* checkpoint_files.c - see checkpoint_files.h. */
#include "train/checkpoint_files.h"

#include "formats/hash.h"
#include "train/model_folder.h"
#include "weights/small_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char seal_name[] = "checksums.sha256";

void checkpoint_name(int64_t step, char name[CHECKPOINT_NAME])
{
    snprintf(name, CHECKPOINT_NAME, "step-%08lld", (long long)step);
}

/* ------------------------------------------------------------------------------------ which there are */

static bool step_of_name(const char *name, int64_t *step)
{
    size_t digits = strlen(name) >= 5 ? strspn(name + 5, "0123456789") : 0;
    if (strncmp(name, "step-", 5) != 0 || digits < 8 || digits > 18 || name[5 + digits])
        return false;
    *step = strtoll(name + 5, NULL, 10);
    return true;
}

static int later_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

kiln_status checkpoint_list_read(const char *parent, checkpoint_list *list, kiln_error *err)
{
    *list = (checkpoint_list){0};
    int capacity = 0;
    int64_t step;
    DIR *folder = opendir(parent);
    if (!folder)
        return errno == ENOENT ? KILN_OK : fail_system(err, "%s: cannot be read", parent);
    kiln_status status = KILN_OK;
    for (const struct dirent *e = readdir(folder); e && !status; e = readdir(folder)) {
        if (!step_of_name(e->d_name, &step))
            continue;
        if (list->count == capacity) {
            int64_t *larger = realloc(list->step, (size_t)(capacity = 2 * capacity + 16) * sizeof *larger);
            if (!larger)
                status = fail(err, KILN_NO_MEMORY, "out of memory for a list of checkpoints");
            else
                list->step = larger;
        }
        if (!status)
            list->step[list->count++] = step;
    }
    closedir(folder);
    if (status)
        checkpoint_list_fini(list);
    else if (list->count)
        qsort(list->step, (size_t)list->count, sizeof *list->step, later_first);
    return status;
}

void checkpoint_list_fini(checkpoint_list *list)
{
    free(list->step);
    *list = (checkpoint_list){0};
}

/* ------------------------------------------------------------------------------------ the seal */

typedef struct file_names {
    char **name; /* below the folder */
    int count, capacity;
} file_names;

static void file_names_fini(file_names *f)
{
    for (int i = 0; i < f->count; i++)
        free(f->name[i]);
    free(f->name);
}

static kiln_status add_name(file_names *f, const char *name, kiln_error *err)
{
    if (f->count == f->capacity) {
        char **larger = realloc(f->name, (size_t)(f->capacity = 2 * f->capacity + 32) * sizeof *larger);
        if (!larger)
            return fail(err, KILN_NO_MEMORY, "out of memory for a list of files");
        f->name = larger;
    }
    f->name[f->count] = strdup(name);
    return f->name[f->count++] ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a list of files");
}

/* All files below folder/below, depth first. */
static kiln_status collect(const char *folder, const char *below, int depth, file_names *files,
                           kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_status status = folder_path(path, folder, below, err);
    DIR *d = status ? NULL : opendir(path);
    if (!status && !d)
        return fail_system(err, "%s: cannot be read", path);
    for (const struct dirent *e = d ? readdir(d) : NULL; e && !status; e = readdir(d)) {
        char name[FOLDER_PATH];
        struct stat about;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            (!*below && strcmp(e->d_name, seal_name) == 0))
            continue;
        if (snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", e->d_name) >= (int)sizeof name)
            status = fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", folder);
        if (!status)
            status = folder_path(path, folder, name, err);
        if (!status && stat(path, &about) != 0)
            status = fail_system(err, "%s: cannot be read", path);
        if (!status)
            status = S_ISDIR(about.st_mode) && depth < 8 ? collect(folder, name, depth + 1, files, err)
                                                         : add_name(files, name, err);
    }
    if (d)
        closedir(d);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kiln_status checkpoint_seal(const char *folder, kiln_error *err)
{
    file_names files = {0};
    char *text = NULL, path[FOLDER_PATH];
    size_t size = 0;
    kiln_status status = collect(folder, "", 0, &files, err);
    if (!status)
        qsort(files.name, (size_t)files.count, sizeof *files.name, by_name);
    FILE *to = open_memstream(&text, &size);
    for (int i = 0; to && i < files.count && !status; i++) {
        file_hashes hashes;
        status = folder_path(path, folder, files.name[i], err);
        if (!status)
            status = hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, err);
        if (!status)
            fprintf(to, "%s  %s\n", hashes.sha256, files.name[i]);
    }
    bool whole = to && fclose(to) == 0;
    if (!status && !whole)
        status = fail(err, KILN_NO_MEMORY, "out of memory for checksums");
    if (!status)
        status = folder_path(path, folder, seal_name, err);
    if (!status)
        status = write_text_file(path, text, size, err);
    free(text);
    file_names_fini(&files);
    return status ? status : folder_sync(folder, err);
}

static kiln_status verify_line(const char *folder, const char *line, kiln_error *err)
{
    char path[FOLDER_PATH];
    file_hashes hashes;
    kiln_error why;
    if (strlen(line) < 67 || line[64] != ' ')
        return fail(err, KILN_BAD_FORMAT, "%s: damaged: %s has a line that is no checksum", folder,
                    seal_name);
    kiln_status status = folder_path(path, folder, line + 66, err);
    if (status)
        return status;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return fail(err, KILN_BAD_FORMAT, "%s: damaged: '%s' is missing", folder, line + 66);
    if (hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, &why) != KILN_OK)
        return fail(err, KILN_BAD_FORMAT, "%s: damaged: %s", folder, why.text);
    if (strncmp(hashes.sha256, line, 64) != 0)
        return fail(err, KILN_BAD_FORMAT, "%s: damaged: '%s' is not as it was written", folder, line + 66);
    return KILN_OK;
}

kiln_status checkpoint_verify(const char *folder, kiln_error *err)
{
    char path[FOLDER_PATH];
    arena memory = {0};
    const char *text;
    size_t length;
    kiln_error why;
    kiln_status status = folder_path(path, folder, seal_name, err);
    if (status)
        return status;
    if (!path_is_folder(folder))
        return fail(err, KILN_NOT_FOUND, "%s: there is no such checkpoint", folder);
    if (small_file_read(path, &memory, &text, &length, &why) != KILN_OK) {
        arena_fini(&memory);
        return why.status == KILN_NOT_FOUND
                   ? fail(err, KILN_NOT_FOUND, "%s: no whole checkpoint: '%s' is missing", folder, seal_name)
                   : fail(err, KILN_NOT_FOUND, "%s: no whole checkpoint: %s", folder, why.text);
    }
    char *copy = arena_text_part(&memory, text, length);
    if (!copy)
        status = fail(err, KILN_NO_MEMORY, "out of memory for checksums");
    int lines = 0;
    for (char *line = copy, *next; !status && line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        status = verify_line(folder, line, err);
        lines++;
    }
    if (!status && !lines)
        status = fail(err, KILN_BAD_FORMAT, "%s: damaged: %s is empty", folder, seal_name);
    arena_fini(&memory);
    return status;
}

/* ------------------------------------------------------------------------------------ links, pruning */

void checkpoint_link(const char *parent, const char *name, const char *target)
{
    char path[FOLDER_PATH], made[FOLDER_PATH];
    if (snprintf(path, sizeof path, "%s/%s", parent, name) >= (int)sizeof path ||
        snprintf(made, sizeof made, "%s/.%s", parent, name) >= (int)sizeof made)
        return;
    unlink(made);
    if (symlink(target, made) == 0 && rename(made, path) != 0)
        unlink(made);
}

void checkpoint_prune(const char *parent, int keep, int64_t best_step, int64_t opened_step)
{
    checkpoint_list list;
    kiln_error err;
    char path[FOLDER_PATH], doomed[FOLDER_PATH], name[CHECKPOINT_NAME];
    if (checkpoint_list_read(parent, &list, &err))
        return;
    for (int i = keep; i < list.count; i++) {
        if (list.step[i] == best_step || list.step[i] == opened_step)
            continue;
        checkpoint_name(list.step[i], name);
        /* Renamed first, so that what is half removed is never taken for a checkpoint. */
        if (!folder_path(path, parent, name, &err) && !folder_path(doomed, parent, ".removed", &err)) {
            folder_remove(doomed);
            if (rename(path, doomed) == 0)
                folder_remove(doomed);
        }
    }
    checkpoint_list_fini(&list);
}

kiln_status checkpoint_layout_hash(const kiln_training *t, char out[65], kiln_error *err)
{
    char *text = NULL, dims[SHAPE_TEXT];
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    for (int i = 0; to && i < t->parameters->trainable; i++)
        fprintf(to, "%s %s\n", t->parameters->entries[i].name,
                shape_text(t->parameters->entries[i].shape, dims));
    kiln_status status =
        to && fclose(to) == 0 ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a hash");
    if (!status)
        status = hash_memory(text, size, out, err);
    free(text);
    return status;
}
