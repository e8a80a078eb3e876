/* hash.c - kiln_hash_file, kiln_hash_known, kiln_hash_remember: formats/hash.h and formats/hash_cache.h in the public
 * interface's terms. */
#include "formats/hash_cache.h"

#include <string.h>

typedef struct listener {
    kiln_progress_function progress;
    void *user;
} listener;

static bool tell(void *self, uint64_t done, uint64_t size)
{
    const listener *l = self;
    const kiln_progress now = {.stage = "hash", .done = (int64_t)done, .total = (int64_t)size, .images = 1};
    return !l->progress || l->progress(l->user, &now);
}

static kiln_hashes public_form(const file_hashes *h)
{
    kiln_hashes out;
    memcpy(out.sha256, h->sha256, sizeof out.sha256);
    memcpy(out.short_hash, h->shorthash, sizeof out.short_hash);
    memcpy(out.old_hash, h->old, sizeof out.old_hash);
    memcpy(out.data_hash, h->addnet, sizeof out.data_hash);
    return out;
}

kiln_status kiln_hash_file(const char *path, kiln_hashes *out, kiln_progress_function progress, void *user,
                           kiln_error *err)
{
    file_hashes hashes = {0};
    *out = public_form(&hashes);
    if (!path)
        return fail(err, KILN_BAD_ARGUMENT, "the name of a file is needed");
    kiln_status status = hash_file(path, &hashes, tell, &(listener){progress, user}, err);
    *out = public_form(&hashes);
    return status;
}

bool kiln_hash_known(const char *cache, const char *path, kiln_hashes *out)
{
    file_hashes hashes = {0};
    bool known = cache && path && hash_cache_find(cache, path, &hashes);
    *out = public_form(&hashes);
    return known;
}

bool kiln_hash_remember(const char *cache, const char *path, const kiln_hashes *hashes)
{
    file_hashes h = {0};
    file_stamp stamp;
    if (!cache || !path || !hashes || !file_stamp_of(path, &stamp))
        return false;
    memcpy(h.sha256, hashes->sha256, sizeof h.sha256);
    memcpy(h.addnet, hashes->data_hash, sizeof h.addnet);
    return hash_cache_add(cache, path, &stamp, &h);
}
