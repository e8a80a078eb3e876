/* text_file.c - see text_file.h. */
#include "emoji/text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

kiln_status text_file_read(const char *path, char **text, size_t *size, kiln_error *err)
{
    *text = NULL;
    *size = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail_system(err, "%s", path);
    kiln_status status = KILN_OK;
    size_t capacity = 1 << 16, used = 0, got = 1;
    char *bytes = malloc(capacity + 1);
    while (bytes && got > 0 && !status) {
        if (used == capacity) {
            char *more = capacity < ((size_t)1 << 30) ? realloc(bytes, capacity * 2 + 1) : NULL;
            if (!more) {
                status = fail(err, KILN_NO_MEMORY, "%s is too large to be read", path);
                break;
            }
            bytes = more;
            capacity *= 2;
        }
        got = fread(bytes + used, 1, capacity - used, file);
        used += got;
    }
    if (!bytes)
        status = fail(err, KILN_NO_MEMORY, "not enough memory to read %s", path);
    else if (!status && ferror(file))
        status = fail_system(err, "%s", path);
    fclose(file);
    if (status) {
        free(bytes);
        return status;
    }
    bytes[used] = '\0';
    *text = bytes;
    *size = used;
    return KILN_OK;
}

kiln_status text_file_write(const char *path, const void *bytes, size_t size, kiln_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail_system(err, "%s", path);
    size_t written = fwrite(bytes, 1, size, file);
    if (fclose(file) != 0 || written != size)
        return fail_system(err, "%s", path);
    return KILN_OK;
}

kiln_status text_file_folder(const char *path, kiln_error *err)
{
    char part[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return fail(err, KILN_BAD_ARGUMENT, "a folder's path has 1 to %zu bytes, found %zu", sizeof part - 1,
                    length);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return fail_system(err, "%s", part);
    }
    return KILN_OK;
}
