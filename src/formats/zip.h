/* zip.h - the members of a zip archive: where their bytes are, and how to inflate them.
 *
 * A reader of our own, because what a checkpoint needs is the place of a stored member in the file (so that a
 * tensor can be read with pread by any thread), which libzip does not tell, and its handles are not thread-safe.
 * Read are: the central directory, ZIP64, methods 0 (stored) and 8 (deflate). Refused are: several disks,
 * encryption, other methods. Source: PKWARE APPNOTE 6.3.
 *
 * Sizes are believed only as far as the file allows: a deflated member larger than 1032 times its compressed
 * bytes (the format's limit) is a lie, and inflating stops at the size that the caller expects. */
#ifndef KILN_FORMATS_ZIP_H
#define KILN_FORMATS_ZIP_H

#include "base/arena.h"
#include "formats/byte_source.h"
#include "formats/name_index.h"

typedef struct zip_member {
    const char *name;
    uint64_t header, compressed, size;
    uint32_t crc;
    uint16_t flags, method;
} zip_member;

typedef struct zip_archive {
    zip_member *members;
    size_t count;
    name_index names;
} zip_archive;

/* Read the central directory. Names live in `memory`. Free with zip_fini. */
kiln_status zip_open(const byte_source *source, arena *memory, zip_archive *out,
                     kiln_error *err) KILN_CHECKED;
void zip_fini(zip_archive *archive);
/* NULL when there is no such member. */
const zip_member *zip_find(const zip_archive *archive, const char *name);
/* The offset in the file of the member's (compressed) bytes; checks the local header, the method and that the
 * bytes lie inside the file. */
kiln_status zip_locate(const byte_source *source, const zip_member *member, uint64_t *offset,
                       kiln_error *err) KILN_CHECKED;
/* The whole member, `size` bytes, which must be its size; verifies the CRC. */
kiln_status zip_read(const byte_source *source, const zip_member *member, void *to, size_t size,
                     kiln_error *err) KILN_CHECKED;

#endif
