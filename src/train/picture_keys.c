/* picture_keys.c - see picture_keys.h.
 *
 *     kiln picture hashes 1
 *     4711 1700000000000000000 9f86d0...0a08 pictures/dog/1.png     bytes, time of the last change in ns, sha256, path
 *
 * Lines are in the order of the items. */
#include "train/picture_keys.h"

#include "formats/hash.h"
#include "formats/name_index.h"
#include "train/dataset_parts.h"
#include "train/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIRST_LINE "kiln picture hashes 1\n"
enum { FILE_MAX = 1 << 30, SECONDS_BETWEEN = 60 };

typedef struct picture_hash {
    uint64_t bytes;
    int64_t changed_ns;
    char sha256[SHA256_DIGITS + 1]; /* "": not known */
} picture_hash;

struct picture_keys {
    const dataset *data;
    char *path;
    picture_hash *hashes; /* by item */
    int64_t read;
    bool changed;
    time_t written;
};

/* ------------------------------------------------------------------------------------ between runs */

static void use_line(picture_keys *k, const name_index *items, char *line)
{
    char *at = line;
    picture_hash h = {.bytes = strtoull(at, &at, 10)};
    h.changed_ns = strtoll(at, &at, 10);
    if (*at != ' ' || strspn(at + 1, "0123456789abcdef") != SHA256_DIGITS || at[1 + SHA256_DIGITS] != ' ')
        return;
    memcpy(h.sha256, at + 1, SHA256_DIGITS);
    int64_t item = name_index_find(items, at + 2 + SHA256_DIGITS);
    if (item >= 0)
        k->hashes[item] = h;
}

static void load(picture_keys *k)
{
    char *text;
    size_t size;
    name_index items = {0};
    if (!k->path || read_small_file(k->path, FILE_MAX, &text, &size, NULL) != KILN_OK)
        return;
    bool good = true;
    for (int64_t i = 0; good && i < dataset_count(k->data); i++)
        good = name_index_put(&items, dataset_item_at(k->data, i)->path, (uint32_t)i);
    if (good && strlen(text) == size && strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) == 0)
        for (char *line = text + strlen(FIRST_LINE), *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = '\0';
            use_line(k, &items, line);
        }
    name_index_fini(&items);
    free(text);
}

/* Best effort: without it the next run reads the pictures again. */
static void store(picture_keys *k)
{
    char *temporary = malloc(strlen(k->path) + 8);
    k->written = time(NULL);
    if (!temporary)
        return;
    snprintf(temporary, strlen(k->path) + 8, "%s.tmp", k->path);
    FILE *file = fopen(temporary, "w");
    bool good = file && fputs(FIRST_LINE, file) >= 0;
    for (int64_t i = 0; good && i < dataset_count(k->data); i++) {
        const picture_hash *h = &k->hashes[i];
        const char *path = dataset_item_at(k->data, i)->path;
        if (h->sha256[0] && !strchr(path, '\n'))
            good = fprintf(file, "%" PRIu64 " %" PRId64 " %s %s\n", h->bytes, h->changed_ns, h->sha256,
                           path) > 0;
    }
    if (file && fclose(file) != 0)
        good = false;
    if (file && (!good || rename(temporary, k->path) != 0))
        unlink(temporary);
    k->changed = k->changed && !good;
    free(temporary);
}

/* ------------------------------------------------------------------------------------ the interface */

kiln_status picture_keys_open(const dataset *data, const char *path, picture_keys **out, kiln_error *err)
{
    picture_keys *k = *out = calloc(1, sizeof *k);
    if (k) {
        k->data = data;
        k->hashes = calloc((size_t)dataset_count(data) + 1, sizeof *k->hashes);
        k->path = path ? strdup(path) : NULL;
        k->written = time(NULL);
    }
    if (!k || !k->hashes || (path && !k->path)) {
        picture_keys_close(k);
        *out = NULL;
        return fail(err, KILN_NO_MEMORY, "no memory for the pictures' hashes");
    }
    load(k);
    return KILN_OK;
}

/* Make k->hashes[item] that of the file as it is now. */
static kiln_status refresh(picture_keys *k, int64_t item, kiln_error *err)
{
    const char *path = dataset_item_at(k->data, item)->path;
    picture_hash *h = &k->hashes[item];
    struct stat about;
    if (stat(path, &about) != 0)
        return fail_system(err, "%s: cannot be read", path);
    int64_t changed = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
    if (h->sha256[0] && h->bytes == (uint64_t)about.st_size && h->changed_ns == changed)
        return KILN_OK;
    file_hashes hashes;
    h->sha256[0] = '\0';
    kiln_status status = hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, err);
    if (status)
        return status;
    *h = (picture_hash){.bytes = (uint64_t)about.st_size, .changed_ns = changed};
    memcpy(h->sha256, hashes.sha256, sizeof h->sha256);
    k->read++;
    k->changed = true;
    if (k->path && time(NULL) - k->written >= SECONDS_BETWEEN)
        store(k);
    return KILN_OK;
}

kiln_status picture_keys_find(picture_keys *k, const order_sample *sample, cache_key *out, kiln_error *err)
{
    kiln_status status = refresh(k, sample->item, err);
    return status ? status : cache_key_of_picture_hash(k->hashes[sample->item].sha256, sample, out, err);
}

int64_t picture_keys_read(const picture_keys *k)
{
    return k->read;
}

void picture_keys_close(picture_keys *k)
{
    if (!k)
        return;
    if (k->path && k->changed && k->hashes)
        store(k);
    free(k->hashes);
    free(k->path);
    free(k);
}
