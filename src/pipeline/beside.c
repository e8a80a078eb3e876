/* beside.c - see beside.h. */
#include "pipeline/beside.h"

#include <stdio.h>
#include <string.h>

void folder_above(const char *model, int up, char out[BESIDE_PATH])
{
    snprintf(out, BESIDE_PATH, "%s", model);
    for (int i = 0; i < up; i++) {
        size_t length = strlen(out);
        while (length > 1 && out[length - 1] == '/')
            out[--length] = '\0';
        char *slash = strrchr(out, '/');
        if (slash == out)
            out[1] = '\0';
        else if (slash)
            *slash = '\0';
        else
            snprintf(out, BESIDE_PATH, "%s", i == 0 ? "." : "..");
    }
}

bool name_leaves_folder(const char *name)
{
    size_t length = strlen(name);
    return *name == '/' || strncmp(name, "../", 3) == 0 || strstr(name, "/../") || strcmp(name, "..") == 0 ||
           (length > 3 && strcmp(name + length - 3, "/..") == 0);
}
