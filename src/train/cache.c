/* cache.c - see cache.h. The index of what is in the file is kept in memory: a table by the first bytes of
 * the key (which is a hash already), with open addressing. */
#include "train/cache.h"

#include "formats/hash.h"
#include "train/cache_parts.h"
#include "train/order.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { HEADER_BYTES = 80, RECORD_BYTES = 56, VERSION = 1, OPEN_TRIES = 4 };
#define VALUE_MAX ((uint64_t)1 << 40)

static void put_little(unsigned char *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_little(const unsigned char *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static uint32_t checksum(const void *bytes, size_t size)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, size);
}

static bool read_whole(int fd, void *to, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t part = pread(fd, (char *)to + done, size - done, offset + (off_t)done);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        done += (size_t)part;
    }
    return true;
}

static bool write_whole(int fd, const void *from, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t part = pwrite(fd, (const char *)from + done, size - done, offset + (off_t)done);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        done += (size_t)part;
    }
    return true;
}

/* Only where the file system knows locks; without them a cache is still whole as long as one process writes.
 */
static void lock_file(int fd, short kind)
{
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET};
    while (fcntl(fd, F_SETLKW, &lock) < 0 && errno == EINTR)
        ;
}

/* ------------------------------------------------------------------------------------ reading what is there
 */

/* Take in the records from `end` on that are complete. */
static bool scan(cache *c)
{
    struct stat about;
    if (fstat(c->fd, &about))
        return true;
    if (about.st_size < c->end) { /* cut off by someone else: begin anew */
        memset(c->entries, 0, c->capacity * sizeof *c->entries);
        c->count = 0;
        c->end = HEADER_BYTES;
    }
    while (c->end + RECORD_BYTES <= about.st_size) {
        unsigned char record[RECORD_BYTES];
        if (!read_whole(c->fd, record, sizeof record, c->end) || memcmp(record, "KREC", 4) != 0 ||
            get_little(record + 4, 4) != checksum(record + 8, RECORD_BYTES - 8))
            break;
        uint64_t size = get_little(record + 40, 8);
        if (size > VALUE_MAX || (int64_t)size > about.st_size - c->end - RECORD_BYTES)
            break;
        cache_entry entry = {
            .offset = c->end + RECORD_BYTES, .size = size, .checksum = (uint32_t)get_little(record + 48, 4)};
        memcpy(entry.key.bytes, record + 8, sizeof entry.key.bytes);
        if (!cache_index_put(c, &entry))
            return false;
        c->end = entry.offset + (off_t)size;
    }
    return true;
}

static void make_header(const char digits[SHA256_DIGITS + 1], unsigned char header[HEADER_BYTES])
{
    memcpy(header, "KILNCACH", 8);
    put_little(header + 8, VERSION, 4);
    memcpy(header + 16, digits, SHA256_DIGITS);
    put_little(header + 12, checksum(header + 16, SHA256_DIGITS) ^ VERSION, 4);
}

/* Open or make the file; one that is not this cache goes. */
static kiln_status open_file(cache *c, const char *digits, kiln_error *err)
{
    unsigned char wanted[HEADER_BYTES], found[HEADER_BYTES];
    make_header(digits, wanted);
    for (int i = 0; i < OPEN_TRIES; i++) {
        c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (c->fd < 0)
            return fail_system(err, "%s: the cache cannot be opened", c->path);
        lock_file(c->fd, F_WRLCK);
        struct stat about;
        bool fresh = fstat(c->fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == 0;
        if (fresh && !write_whole(c->fd, wanted, sizeof wanted, 0)) {
            kiln_status status = fail_system(err, "%s: the cache cannot be written", c->path);
            if (ftruncate(c->fd, 0))
                unlink(c->path);
            return status;
        }
        bool good =
            fresh || (read_whole(c->fd, found, sizeof found, 0) && !memcmp(found, wanted, sizeof wanted));
        lock_file(c->fd, F_UNLCK);
        if (good)
            return KILN_OK;
        close(c->fd);
        c->fd = -1;
        if (unlink(c->path))
            return fail_system(err, "%s: not a cache of this model, and cannot be removed", c->path);
    }
    return fail(err, KILN_BUSY, "%s: something else keeps writing this file", c->path);
}

static kiln_status make_folders(const char *folder, kiln_error *err)
{
    char *path = malloc(strlen(folder) + 1);
    if (!path)
        return fail(err, KILN_NO_MEMORY, "no memory for a cache");
    strcpy(path, folder);
    kiln_status status = KILN_OK;
    for (char *at = path + 1; status == KILN_OK; at++) {
        char kept = *at;
        if (kept != '/' && kept != 0)
            continue;
        *at = 0;
        struct stat about;
        if (mkdir(path, 0777) && (stat(path, &about) || !S_ISDIR(about.st_mode)))
            status = fail_system(err, "%s: the folder of the cache cannot be made", path);
        *at = kept;
        if (!kept)
            break;
    }
    free(path);
    return status;
}

static bool name_is_plain(const char *name)
{
    return *name && strlen(name) < 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == strlen(name);
}

kiln_status cache_open(const char *folder, const char *kind, const char *model_hash, cache **out,
                       kiln_error *err)
{
    *out = NULL;
    if (!folder || !*folder || !kind || !name_is_plain(kind) || !model_hash)
        return fail(err, KILN_BAD_ARGUMENT,
                    "a cache needs a folder, a kind of letters and digits, and a model's hash");
    char digits[SHA256_DIGITS + 1];
    kiln_status status = hash_memory(model_hash, strlen(model_hash), digits, err);
    if (status == KILN_OK)
        status = make_folders(folder, err);
    if (status != KILN_OK)
        return status;
    cache *c = calloc(1, sizeof *c);
    if (!c || pthread_mutex_init(&c->lock, NULL)) {
        free(c);
        return fail(err, KILN_NO_MEMORY, "no memory for a cache");
    }
    c->fd = -1;
    c->end = HEADER_BYTES;
    size_t size = strlen(folder) + strlen(kind) + 32;
    c->path = malloc(size);
    if (!c->path || !cache_index_grow(c)) {
        status = fail(err, KILN_NO_MEMORY, "no memory for a cache");
    } else {
        snprintf(c->path, size, "%s/%s-%.16s.cache", folder, kind, digits);
        status = open_file(c, digits, err);
    }
    if (status == KILN_OK && !scan(c))
        status = fail(err, KILN_NO_MEMORY, "%s: no memory for its index", c->path);
    if (status != KILN_OK) {
        cache_close(c);
        return status;
    }
    *out = c;
    return KILN_OK;
}

void cache_close(cache *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    pthread_mutex_destroy(&c->lock);
    free(c->entries);
    free(c->path);
    free(c);
}

int64_t cache_count(const cache *c)
{
    return (int64_t)c->count;
}

/* ------------------------------------------------------------------------------------ values */

/* A copy of the entry; looks for records that others have added meanwhile. */
static bool find_entry(cache *c, const cache_key *key, cache_entry *out)
{
    pthread_mutex_lock(&c->lock);
    cache_entry *entry = cache_index_find(c, key);
    if (!entry && scan(c))
        entry = cache_index_find(c, key);
    if (entry)
        *out = *entry;
    pthread_mutex_unlock(&c->lock);
    return entry != NULL;
}

bool cache_has(cache *c, const cache_key *key)
{
    cache_entry entry;
    return find_entry(c, key, &entry);
}

kiln_status cache_read(cache *c, const cache_key *key, void *to, size_t bytes, bool *found, kiln_error *err)
{
    (void)err; /* nothing that can go wrong is worse than not finding it */
    cache_entry entry;
    *found = false;
    if (!find_entry(c, key, &entry) || entry.size != bytes)
        return KILN_OK;
    if (read_whole(c->fd, to, bytes, entry.offset) && checksum(to, bytes) == entry.checksum) {
        *found = true;
        return KILN_OK;
    }
    pthread_mutex_lock(&c->lock);
    cache_entry *damaged = cache_index_find(c, key);
    if (damaged && damaged->offset == entry.offset)
        damaged->size = CACHE_DAMAGED;
    pthread_mutex_unlock(&c->lock);
    return KILN_OK;
}

/* With both locks held: the value first, its record's head last, so that a half one is never taken for whole.
 */
static kiln_status append(cache *c, const cache_key *key, const void *value, size_t bytes, kiln_error *err)
{
    struct stat about;
    if (fstat(c->fd, &about) == 0 && about.st_size > c->end && ftruncate(c->fd, c->end))
        return fail_system(err, "%s: the torn end of the cache cannot be cut off", c->path);
    unsigned char record[RECORD_BYTES] = "KREC";
    cache_entry entry = {*key, c->end + RECORD_BYTES, bytes, checksum(value, bytes)};
    memcpy(record + 8, key->bytes, sizeof key->bytes);
    put_little(record + 40, bytes, 8);
    put_little(record + 48, entry.checksum, 4);
    put_little(record + 4, checksum(record + 8, RECORD_BYTES - 8), 4);
    if (!write_whole(c->fd, value, bytes, entry.offset) ||
        !write_whole(c->fd, record, sizeof record, c->end)) {
        kiln_status status = fail_system(err, "%s: the cache cannot be written", c->path);
        if (ftruncate(c->fd, c->end))
            return status; /* the next one who adds cuts it off */
        return status;
    }
    if (!cache_index_put(c, &entry))
        return fail(err, KILN_NO_MEMORY, "%s: no memory for its index", c->path);
    c->end = entry.offset + (off_t)bytes;
    return KILN_OK;
}

kiln_status cache_add(cache *c, const cache_key *key, const void *value, size_t bytes, kiln_error *err)
{
    if (bytes > VALUE_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "%s: a value of %zu bytes is too large", c->path, bytes);
    pthread_mutex_lock(&c->lock);
    lock_file(c->fd, F_WRLCK);
    kiln_status status =
        scan(c) ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: no memory for its index", c->path);
    const cache_entry *there = cache_index_find(c, key);
    if (status == KILN_OK && !(there && there->size == bytes))
        status = append(c, key, value, bytes, err);
    lock_file(c->fd, F_UNLCK);
    pthread_mutex_unlock(&c->lock);
    return status;
}

kiln_status cache_fetch(cache *c, const cache_key *key, void *to, size_t bytes, cache_encode encode,
                        void *self, bool *stored, kiln_error *err)
{
    bool found;
    if (stored)
        *stored = false;
    kiln_status status = cache_read(c, key, to, bytes, &found, err);
    if (status == KILN_OK && !found) {
        status = encode(self, to, bytes, err);
        found = status == KILN_OK && cache_add(c, key, to, bytes, NULL) == KILN_OK;
    }
    if (stored)
        *stored = found;
    return status;
}

kiln_status cache_sync(cache *c, kiln_error *err)
{
    return fsync(c->fd) ? fail_system(err, "%s: the cache cannot be brought to disk", c->path) : KILN_OK;
}
