/* free_memory.c - see free_memory.h. Control groups: Linux, Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst. */
#include "base/free_memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 4352 };

static FILE *open_at(const char *root, const char *folder, const char *name)
{
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return length > 0 && length < (int)sizeof path ? fopen(path, "r") : NULL;
}

/* The number after `key` at the start of a line; -1 when there is none. */
static int64_t read_field(const char *root, const char *folder, const char *name, const char *key)
{
    char line[256];
    size_t length = strlen(key);
    int64_t value = -1;
    FILE *f = open_at(root, folder, name);
    while (f && value < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, key, length) == 0 && (length == 0 || line[length] == ' ')) {
            char *end, *begin = line + length;
            long long number = strtoll(begin, &end, 10);
            if (end == begin) /* "max" */
                break;
            value = number < 0 ? -1 : (int64_t)number;
        }
    if (f)
        fclose(f);
    return value;
}

/* How the two versions name the same things. */
typedef struct group_names {
    const char *mount, *limit, *usage, *cache[2];
} group_names;

static const group_names names_of[2] = {
    {"/sys/fs/cgroup/memory",
     "memory.limit_in_bytes",
     "memory.usage_in_bytes",
     {"total_inactive_file", "total_active_file"}},
    {"/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file", "active_file"}},
};

/* What one group leaves; INT64_MAX when it sets no limit. */
static int64_t left_in(const char *root, const char *folder, const group_names *names)
{
    int64_t limit = read_field(root, folder, names->limit, "");
    int64_t usage = read_field(root, folder, names->usage, "");
    if (limit < 0 || usage < 0)
        return INT64_MAX;
    for (int i = 0; i < 2; i++) {
        int64_t cache = read_field(root, folder, "memory.stat", names->cache[i]);
        if (cache > 0)
            usage = cache < usage ? usage - cache : 0;
    }
    return usage < limit ? limit - usage : 0;
}

/* The least that the group at `path` and those above it leave. A container often sees its own group as the mount's
 * top, whatever the path says: folders that are not there set no limit. */
static int64_t left_along(const char *root, char *path, const group_names *names)
{
    char folder[PATH_BYTES];
    int64_t least = INT64_MAX;
    for (;;) {
        int length = snprintf(folder, sizeof folder, "%s%s", names->mount, path);
        int64_t left = length < (int)sizeof folder ? left_in(root, folder, names) : INT64_MAX;
        least = left < least ? left : least;
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* "0::/path" (v2) or "4:memory:/path" (v1, perhaps with other controllers). NULL: another line. */
static char *path_in_line(char *line, const group_names **names)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return NULL;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (strstr(path, "/.."))
        path[0] = '\0'; /* outside of what this process may see: the mount's top alone */
    controllers++;
    *names = &names_of[1];
    if (!controllers[0])
        return path;
    *names = &names_of[0];
    for (char *word = controllers; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL)
        if (strncmp(word, "memory", 6) == 0 && (word[6] == ',' || !word[6]))
            return path;
    return NULL;
}

int64_t free_memory(const char *root)
{
    int64_t kilobytes = read_field(root, "/proc", "meminfo", "MemAvailable:");
    int64_t least = kilobytes < 0 || kilobytes > INT64_MAX / 1024 ? INT64_MAX : kilobytes * 1024;
    char line[LINE_BYTES];
    FILE *f = open_at(root, "/proc/self", "cgroup");
    while (f && fgets(line, sizeof line, f)) {
        const group_names *names;
        char *path = path_in_line(line, &names);
        int64_t left = path ? left_along(root, path, names) : INT64_MAX;
        least = left < least ? left : least;
    }
    if (f)
        fclose(f);
    return least == INT64_MAX ? 0 : least > 0 ? least : 1;
}

int64_t resident_memory(void)
{
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    /* The first number is the size of the address space. */
    const char *second = read ? strchr(line, ' ') : NULL;
    return second ? (int64_t)strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}
