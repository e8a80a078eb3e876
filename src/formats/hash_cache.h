/* hash_cache.h - hashes of large files, remembered: a text file with a line for each,
 *
 *     sha256  data-hash-or-'-'  size  modification-time-in-ns  absolute-path
 *
 * oldest first, at most HASH_CACHE_LINES. A line counts while the file has that size and that time. The cache is a
 * convenience and is not trusted: lines that are not exactly of this form are passed over, and what cannot be
 * read or written is as if nothing were known. It is replaced by renaming; when two processes add at once, one line
 * may be lost, which costs computing a hash once more. */
#ifndef KILN_FORMATS_HASH_CACHE_H
#define KILN_FORMATS_HASH_CACHE_H

#include "formats/hash.h"

enum { HASH_CACHE_LINES = 1000 };

/* What tells that a file is still the one that was hashed. */
typedef struct file_stamp {
    int64_t size, modified; /* bytes; ns since 1970 */
} file_stamp;

/* False when there is no such regular file. */
bool file_stamp_of(const char *path, file_stamp *out);

/* Whether the hashes of the file at `path` are known: sha256, shorthash, addnet ("" where only the sha256 was
 * computed) and old (read from the file). *out is all "" otherwise. */
bool hash_cache_find(const char *cache, const char *path, file_hashes *out);

/* Remember sha256 and addnet (may be "") of the file at `path`, as it was when `stamp` was taken: that should be before
 * it was hashed. Folders above `cache` are made. False when nothing was written: the file has changed since, its
 * name holds a line break, the cache cannot be written. */
bool hash_cache_add(const char *cache, const char *path, const file_stamp *stamp, const file_hashes *hashes);

#endif
