/* cache.h - encoded pictures and texts kept on disk: one packed file per kind.
 *
 *   folder/<kind>-<first 16 digits of the model's hash>.cache
 *   header   "KILNCACH", u32 version, u32 checksum of the header, 64 digits of the model's hash
 *   records  "KREC", u32 header checksum, 32 bytes of key, u64 size, u32 checksum of the value, u32 0, value
 *
 * Records are only ever added at the end, under a lock of the file, the value before the head, and verified
 * when read: a torn or damaged record is as if it were not there; of two with one key the later counts. So
 * the file may be shared by several runs, deleted at any time (it is made anew), and a run killed while
 * filling it loses one record. Numbers are little-endian.
 *
 * A cache may be used by any thread; open each file once per process. */
#ifndef KILN_TRAIN_CACHE_H
#define KILN_TRAIN_CACHE_H

#include "base/error.h"

typedef struct cache_key {
    unsigned char bytes[32];
} cache_key;

/* sha256 over the sha256 of each of 1 to 16 parts. */
kiln_status cache_key_of_parts(const void *const *parts, const size_t *sizes, int count, cache_key *out,
                               kiln_error *) KILN_CHECKED;
/* Key of a text. */
kiln_status cache_key_of_text(const char *text, cache_key *out, kiln_error *) KILN_CHECKED;
/* Key of a picture as a sample shows it: the file's bytes, size, crop, flip. Reads the file. */
struct order_sample;
kiln_status cache_key_of_picture(const char *path, const struct order_sample *, cache_key *out,
                                 kiln_error *) KILN_CHECKED;
/* The same when the sha256 of the file's bytes is known, as digits. */
kiln_status cache_key_of_picture_hash(const char *sha256, const struct order_sample *, cache_key *out,
                                      kiln_error *) KILN_CHECKED;

typedef struct cache cache;

/* Create the folder and the file where missing. A file that is no cache, or of another version or model, is
 * replaced. `kind`: letters, digits, '-' ("latents", "text"). `model_hash`: what the values depend on besides
 * the key. */
kiln_status cache_open(const char *folder, const char *kind, const char *model_hash, cache **out,
                       kiln_error *) KILN_CHECKED;
void cache_close(cache *);
int64_t cache_count(const cache *);
bool cache_has(cache *, const cache_key *);
/* Copy the value; *found false when it is missing, has another size, or is damaged. */
kiln_status cache_read(cache *, const cache_key *, void *to, size_t bytes, bool *found,
                       kiln_error *) KILN_CHECKED;
/* Add; a key that is there already is left alone unless its value is damaged. On a full disk the file stays
 * whole. */
kiln_status cache_add(cache *, const cache_key *, const void *value, size_t bytes, kiln_error *) KILN_CHECKED;

/* Fill `to` with the value. */
typedef kiln_status (*cache_encode)(void *self, void *to, size_t bytes, kiln_error *);
/* Read, or else encode and add. Fails only when encoding fails: a cache that cannot be written does no harm
 * (`*stored` says whether it is on disk; may be NULL). */
kiln_status cache_fetch(cache *, const cache_key *, void *to, size_t bytes, cache_encode, void *self,
                        bool *stored, kiln_error *) KILN_CHECKED;
/* To disk now. */
kiln_status cache_sync(cache *, kiln_error *) KILN_CHECKED;

#endif
