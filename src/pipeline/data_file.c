/* data_file.c - see data_file.h. In the sources models/ lies beside data/; installed, and in a given directory, inside it. */
#include "pipeline/data_file.h"

#include <stdio.h>
#include <unistd.h>

#ifndef KILN_DATA_DIRECTORY
#define KILN_DATA_DIRECTORY "/usr/local/share/kiln"
#endif
#ifndef KILN_SOURCE_DATA
#define KILN_SOURCE_DATA KILN_DATA_DIRECTORY
#endif

static bool is_in(const char *folder, const char *name, char *path, size_t size)
{
    static const char *const forms[] = {"%s/%s", "%s/../%s"};
    for (int i = 0; i < 2; i++) {
        int length =
            snprintf(path, size, forms[i], folder, name); /* NOLINT(clang-diagnostic-format-nonliteral) */
        if (length > 0 && (size_t)length < size && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

bool data_file_find(const char *given, const char *name, char *path, size_t size)
{
    if (given)
        return is_in(given, name, path, size);
    return is_in(KILN_DATA_DIRECTORY, name, path, size) || is_in(KILN_SOURCE_DATA, name, path, size);
}
