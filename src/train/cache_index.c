/* cache_index.c - see cache_parts.h; and the keys of things that are cached. */
#include "train/cache_parts.h"

#include "formats/hash.h"
#include "train/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 16 };

static cache_entry *place_of(cache_entry *entries, size_t capacity, const cache_key *key)
{
    size_t at = 0;
    memcpy(&at, key->bytes, sizeof at);
    for (at &= capacity - 1; entries[at].offset; at = (at + 1) & (capacity - 1))
        if (!memcmp(&entries[at].key, key, sizeof *key))
            break;
    return &entries[at];
}

cache_entry *cache_index_find(const cache *c, const cache_key *key)
{
    cache_entry *entry = place_of(c->entries, c->capacity, key);
    return entry->offset ? entry : NULL;
}

bool cache_index_grow(cache *c)
{
    if (c->capacity && (c->count + 1) * 2 <= c->capacity)
        return true;
    size_t capacity = c->capacity ? c->capacity * 2 : 256;
    cache_entry *grown = calloc(capacity, sizeof *grown);
    if (!grown)
        return false;
    for (size_t i = 0; i < c->capacity; i++)
        if (c->entries[i].offset)
            *place_of(grown, capacity, &c->entries[i].key) = c->entries[i];
    free(c->entries);
    c->entries = grown;
    c->capacity = capacity;
    return true;
}

bool cache_index_put(cache *c, const cache_entry *entry)
{
    if (!cache_index_grow(c))
        return false;
    cache_entry *to = place_of(c->entries, c->capacity, &entry->key);
    c->count += to->offset == 0;
    *to = *entry;
    return true;
}

/* ------------------------------------------------------------------------------------ keys */

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* From the parts' digits, one after the other. */
static kiln_status key_of_digits(const char *all, int count, cache_key *out, kiln_error *err)
{
    char digits[SHA256_DIGITS + 1];
    kiln_status status = hash_memory(all, (size_t)count * SHA256_DIGITS, digits, err);
    for (int i = 0; status == KILN_OK && i < 32; i++)
        out->bytes[i] = (unsigned char)(digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]));
    return status;
}

static kiln_status add_digits(const void *part, size_t size, char *to, kiln_error *err)
{
    char digits[SHA256_DIGITS + 1];
    kiln_status status = hash_memory(part, size, digits, err);
    memcpy(to, digits, SHA256_DIGITS);
    return status;
}

kiln_status cache_key_of_parts(const void *const *parts, const size_t *sizes, int count, cache_key *out,
                               kiln_error *err)
{
    char all[PARTS_MAX * SHA256_DIGITS];
    memset(out, 0, sizeof *out);
    if (count < 1 || count > PARTS_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "a cache's key has 1 to %d parts, not %d", (int)PARTS_MAX, count);
    for (int i = 0; i < count; i++) {
        kiln_status status = add_digits(parts[i], sizes[i], all + i * SHA256_DIGITS, err);
        if (status != KILN_OK)
            return status;
    }
    return key_of_digits(all, count, out, err);
}

kiln_status cache_key_of_text(const char *text, cache_key *out, kiln_error *err)
{
    const void *parts[] = {"text", text};
    size_t sizes[] = {4, strlen(text)};
    return cache_key_of_parts(parts, sizes, 2, out, err);
}

kiln_status cache_key_of_picture_hash(const char *sha256, const order_sample *sample, cache_key *out,
                                      kiln_error *err)
{
    char view[128], all[3 * SHA256_DIGITS];
    int length = snprintf(view, sizeof view, "%dx%d %a %a %d", sample->width_px, sample->height_px,
                          (double)sample->crop_x, (double)sample->crop_y, sample->flip);
    if (sample->unscaled)
        length += snprintf(view + length, sizeof view - (size_t)length, " unscaled");
    kiln_status status = add_digits("picture", 7, all, err);
    if (status == KILN_OK)
        status = add_digits(view, (size_t)length, all + SHA256_DIGITS, err);
    memcpy(all + 2 * SHA256_DIGITS, sha256, SHA256_DIGITS);
    return status == KILN_OK ? key_of_digits(all, 3, out, err) : status;
}

kiln_status cache_key_of_picture(const char *path, const order_sample *sample, cache_key *out,
                                 kiln_error *err)
{
    file_hashes hashes;
    kiln_status status = hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, err);
    return status == KILN_OK ? cache_key_of_picture_hash(hashes.sha256, sample, out, err) : status;
}
