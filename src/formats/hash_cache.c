/* hash_cache.c - see hash_cache.h. */
#include "formats/hash_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADDNET_DIGITS = 12, CACHE_BYTES = 8 << 20 }; /* a cache larger than that is none of ours */

/* One line, its texts inside the cache's bytes. */
typedef struct cache_line {
    const char *sha256, *addnet; /* not ended; addnet NULL: '-' */
    file_stamp stamp;
    const char *path;
    size_t path_length;
    const char *begin, *end; /* without the line break */
} cache_line;

bool file_stamp_of(const char *path, file_stamp *out)
{
    struct stat info;
    *out = (file_stamp){0};
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    int64_t seconds = (int64_t)info.st_mtim.tv_sec, most = INT64_MAX / 1000000000 - 1;
    if (seconds > most || seconds < -most)
        return false;
    *out = (file_stamp){(int64_t)info.st_size, seconds * 1000000000 + (int64_t)info.st_mtim.tv_nsec};
    return true;
}

static bool same_stamp(const file_stamp *a, const file_stamp *b)
{
    return a->size == b->size && a->modified == b->modified;
}

/* ------------------------------------------------------------------------------------ lines */

/* Take `count` lower-case hexadecimal digits and the space behind them. */
static const char *take_digits(const char **at, const char *end, int count)
{
    const char *begin = *at;
    if (end - begin <= count || begin[count] != ' ')
        return NULL;
    for (int i = 0; i < count; i++)
        if (!((begin[i] >= '0' && begin[i] <= '9') || (begin[i] >= 'a' && begin[i] <= 'f')))
            return NULL;
    *at = begin + count + 1;
    return begin;
}

/* Take a decimal number that fits, and the space behind it. */
static bool take_number(const char **at, const char *end, int64_t *out)
{
    const char *p = *at;
    bool negative = p < end && *p == '-';
    p += negative;
    const char *first = p;
    int64_t value = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (value > (INT64_MAX - (*p - '0')) / 10)
            return false;
        value = value * 10 + (*p - '0');
    }
    if (p == first || p == end || *p != ' ')
        return false;
    *out = negative ? -value : value;
    *at = p + 1;
    return true;
}

static bool parse_line(const char *begin, const char *end, cache_line *out)
{
    const char *at = begin;
    *out = (cache_line){.begin = begin, .end = end};
    if (!(out->sha256 = take_digits(&at, end, SHA256_DIGITS)))
        return false;
    if (end - at > 2 && at[0] == '-' && at[1] == ' ')
        at += 2;
    else if (!(out->addnet = take_digits(&at, end, ADDNET_DIGITS)))
        return false;
    if (!take_number(&at, end, &out->stamp.size) || !take_number(&at, end, &out->stamp.modified))
        return false;
    out->path = at;
    out->path_length = (size_t)(end - at);
    return out->path_length > 0 && at[0] == '/' && !memchr(at, '\0', out->path_length);
}

/* The next whole and well-formed line from *at on. */
static bool next_line(const char **at, const char *end, cache_line *out)
{
    while (*at < end) {
        const char *begin = *at, *line_end = memchr(begin, '\n', (size_t)(end - begin));
        if (!line_end)
            return false;
        *at = line_end + 1;
        if (parse_line(begin, line_end, out))
            return true;
    }
    return false;
}

static bool is_of(const cache_line *line, const char *path)
{
    return strlen(path) == line->path_length && memcmp(path, line->path, line->path_length) == 0;
}

/* ------------------------------------------------------------------------------------ the file */

/* All of the cache; NULL when there is none. free(). */
static char *read_cache(const char *cache, size_t *size)
{
    struct stat info;
    *size = 0;
    /* Not to wait for a pipe that someone put there. */
    int file = open(cache, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return NULL;
    char *bytes = NULL;
    if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 && info.st_size <= CACHE_BYTES)
        bytes = malloc((size_t)info.st_size);
    ssize_t got = 1;
    while (bytes && *size < (size_t)info.st_size && got > 0) {
        got = read(file, bytes + *size, (size_t)info.st_size - *size);
        if (got > 0)
            *size += (size_t)got;
    }
    close(file);
    return bytes;
}

static void make_folders(const char *path)
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s", path) >= (int)sizeof folder)
        return;
    for (char *p = folder + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            (void)!mkdir(folder, 0700); /* what is wrong shows when the file is opened */
            *p = '/';
        }
}

/* Write the lines of [kept, end) but those of `path`, then the new one, beside the cache, and rename. */
static bool replace_cache(const char *cache, const char *kept, const char *end, const char *path,
                          const char *line)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", cache) >= (int)sizeof temporary)
        return false;
    int descriptor = mkstemp(temporary);
    if (descriptor < 0)
        return false;
    FILE *to = fdopen(descriptor, "w");
    if (!to)
        close(descriptor);
    cache_line other;
    while (to && next_line(&kept, end, &other))
        if (!is_of(&other, path))
            fprintf(to, "%.*s\n", (int)(other.end - other.begin), other.begin);
    bool good = to && fputs(line, to) >= 0 && !ferror(to);
    if (to && fclose(to) != 0)
        good = false;
    good = good && rename(temporary, cache) == 0;
    if (!good)
        unlink(temporary);
    return good;
}

/* ------------------------------------------------------------------------------------ the interface */

static bool find_line(const char *bytes, size_t size, const char *path, cache_line *out)
{
    const char *at = bytes;
    cache_line line;
    bool found = false;
    while (bytes && next_line(&at, bytes + size, &line))
        if (is_of(&line, path)) {
            *out = line;
            found = true;
        }
    return found;
}

bool hash_cache_find(const char *cache, const char *path, file_hashes *out)
{
    size_t size;
    file_stamp stamp;
    cache_line line;
    *out = (file_hashes){0};
    char *full = file_stamp_of(path, &stamp) ? realpath(path, NULL) : NULL;
    char *bytes = full ? read_cache(cache, &size) : NULL;
    bool found = bytes && find_line(bytes, size, full, &line) && same_stamp(&line.stamp, &stamp);
    if (found) {
        snprintf(out->sha256, sizeof out->sha256, "%.64s", line.sha256);
        snprintf(out->shorthash, sizeof out->shorthash, "%.10s", line.sha256);
        if (line.addnet)
            snprintf(out->addnet, sizeof out->addnet, "%.12s", line.addnet);
        found = hash_file_old(path, out->old, NULL) == KILN_OK;
    }
    if (!found)
        *out = (file_hashes){0};
    free(bytes);
    free(full);
    return found;
}

/* Whether `text` is `count` digits. */
static bool are_digits(const char *text, int count)
{
    return strlen(text) == (size_t)count && strspn(text, "0123456789abcdef") == (size_t)count;
}

/* Where the newest `count` lines begin. */
static const char *newest(const char *bytes, const char *end, int count)
{
    int lines = 0;
    cache_line line;
    for (const char *at = bytes; next_line(&at, end, &line);)
        lines++;
    const char *at = bytes;
    while (lines > count && next_line(&at, end, &line))
        lines--;
    return at;
}

bool hash_cache_add(const char *cache, const char *path, const file_stamp *stamp, const file_hashes *hashes)
{
    file_stamp now;
    size_t size = 0;
    if (!are_digits(hashes->sha256, SHA256_DIGITS) ||
        (hashes->addnet[0] && !are_digits(hashes->addnet, ADDNET_DIGITS)) || !file_stamp_of(path, &now) ||
        !same_stamp(&now, stamp))
        return false;
    char *full = realpath(path, NULL);
    if (!full || strchr(full, '\n')) {
        free(full);
        return false;
    }
    make_folders(cache);
    char *bytes = read_cache(cache, &size), text[PATH_MAX + 256], addnet[ADDNET_DIGITS + 1] = "-";
    const char *end = bytes ? bytes + size : NULL;
    /* A data hash that is known stays known when only the sha256 was computed again. */
    cache_line before;
    bool same = find_line(bytes, size, full, &before) && same_stamp(&before.stamp, stamp) &&
                memcmp(before.sha256, hashes->sha256, SHA256_DIGITS) == 0;
    if (hashes->addnet[0] || (same && before.addnet))
        snprintf(addnet, sizeof addnet, "%.12s", hashes->addnet[0] ? hashes->addnet : before.addnet);
    int length = snprintf(text, sizeof text, "%s %s %" PRId64 " %" PRId64 " %s\n", hashes->sha256, addnet,
                          stamp->size, stamp->modified, full);
    bool good = length > 0 && length < (int)sizeof text &&
                replace_cache(cache, bytes ? newest(bytes, end, HASH_CACHE_LINES - 1) : end, end, full, text);
    free(bytes);
    free(full);
    return good;
}
