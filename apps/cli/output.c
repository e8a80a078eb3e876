/* output.c - see output.h. */
#include "output.h"

#include "message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *output_name(const char *path, int k)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    if (!dot || (slash && dot < slash))
        dot = path + strlen(path);
    size_t size = strlen(path) + 16;
    char *name = malloc(size);
    if (!name)
        return NULL;
    if (k == 0)
        snprintf(name, size, "%s", path);
    else
        snprintf(name, size, "%.*s-%d%s", (int)(dot - path), path, k + 1, dot);
    return name;
}

int output_check_pictures(const char *path, int count)
{
    for (int k = 0; k < count; k++) {
        kiln_error err = {0};
        char *name = output_name(path, k);
        if (!name) {
            complain("not enough memory");
            return EXIT_FAILED;
        }
        kiln_status status = kiln_image_write_check(name, &err);
        free(name);
        if (status != KILN_OK)
            return complain_error(&err);
    }
    return EXIT_OK;
}

static bool has_ending(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n > m && strcmp(text + n - m, ending) == 0;
}

int output_check_file(const char *path, const char *extension)
{
    struct stat info;
    if (!has_ending(path, extension))
        return complain_usage("the output '%s' should end in %s", path, extension);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        complain("%s: a folder is in the way of the output", path);
        return EXIT_FAILED;
    }
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strdup(path) : strdup(".");
    if (!folder) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    if (slash)
        folder[slash == path ? 1 : slash - path] = '\0';
    int status = EXIT_OK;
    if (access(folder, W_OK | X_OK) != 0) {
        complain("%s: the folder of the output cannot be written: %s", path, strerror(errno));
        status = EXIT_FAILED;
    }
    free(folder);
    return status;
}
