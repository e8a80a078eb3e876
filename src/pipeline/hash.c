/* hash.c - kiln_hash_file: the digests by which people name files.
 *
 *     sha256        of the whole file; A1111's "Model hash" is its first 10 hexadecimal digits
 *     old hash      first 8 digits of sha256 over 0x10000 bytes at 0x100000 (A1111 before 2023)
 *     data hash     first 12 digits of sha256 over what follows a safetensors header, so that editing metadata does not
 *                   change it (kohya's "sshs", A1111's "Lora hashes")
 * All in one pass. */
#include "base/error.h"
#include "formats/byte_source.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_BYTES = 1 << 20, OLD_START = 0x100000, OLD_BYTES = 0x10000, DIGESTS = 3 };

/* A digest of the bytes [start, end) of the file. */
typedef struct range_digest {
    EVP_MD_CTX *context;
    uint64_t start, end;
} range_digest;

static bool range_begin(range_digest *d, uint64_t start, uint64_t end)
{
    *d = (range_digest){EVP_MD_CTX_new(), start, end};
    return d->context && EVP_DigestInit_ex(d->context, EVP_sha256(), NULL) == 1;
}

static bool range_take(range_digest *d, const uint8_t *bytes, uint64_t at, size_t size)
{
    uint64_t from = d->start > at ? d->start : at, to = d->end < at + size ? d->end : at + size;
    return from >= to || EVP_DigestUpdate(d->context, bytes + (from - at), (size_t)(to - from)) == 1;
}

/* The first `digits` hexadecimal digits and a NUL. */
static bool range_finish(range_digest *d, char *text, int digits)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(d->context, digest, NULL) != 1)
        return false;
    for (int i = 0; i < digits; i++)
        text[i] = "0123456789abcdef"[i % 2 ? digest[i / 2] & 15 : digest[i / 2] >> 4];
    text[digits] = '\0';
    return true;
}

/* Where the data of a safetensors file begin; the file's size when it is none. */
static uint64_t data_start(const byte_source *source)
{
    uint8_t head[9];
    kiln_error err;
    if (source->size < sizeof head || byte_source_read(source, 0, head, sizeof head, &err))
        return source->size;
    uint64_t header = little_u64(head);
    bool fits = head[8] == '{' && header >= 2 && header <= source->size - 8;
    return fits ? header + 8 : source->size;
}

static kiln_status read_all(const byte_source *source, range_digest *digests, kiln_progress_function progress,
                            void *user, kiln_error *err)
{
    uint8_t *buffer = malloc(STEP_BYTES);
    kiln_status status =
        buffer ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", source->path);
    for (uint64_t at = 0; at < source->size && !status;) {
        size_t size = source->size - at < STEP_BYTES ? (size_t)(source->size - at) : STEP_BYTES;
        status = byte_source_read(source, at, buffer, size, err);
        for (int i = 0; i < DIGESTS && !status; i++)
            if (!range_take(&digests[i], buffer, at, size))
                status = fail(err, KILN_INTERNAL, "%s: the digest failed", source->path);
        at += size;
        const kiln_progress now = {
            .stage = "hash", .done = (int64_t)at, .total = (int64_t)source->size, .images = 1};
        if (!status && progress && !progress(user, &now))
            status = fail(err, KILN_CANCELLED, "hashing %s was cancelled", source->path);
    }
    free(buffer);
    return status;
}

static kiln_status hash_source(const byte_source *source, kiln_hashes *out, kiln_progress_function progress,
                               void *user, kiln_error *err)
{
    range_digest digests[DIGESTS] = {{0}};
    uint64_t data = data_start(source);
    bool good = range_begin(&digests[0], 0, source->size) &&
                range_begin(&digests[1], OLD_START, OLD_START + OLD_BYTES) &&
                range_begin(&digests[2], data, source->size);
    kiln_status status = good ? read_all(source, digests, progress, user, err)
                              : fail(err, KILN_NO_MEMORY, "%s: not enough memory for a digest", source->path);
    if (!status) {
        good = range_finish(&digests[0], out->sha256, 64) && range_finish(&digests[1], out->old_hash, 8) &&
               range_finish(&digests[2], out->data_hash, 12);
        memcpy(out->short_hash, out->sha256, 10);
        if (data == source->size)
            out->data_hash[0] = '\0';
        if (!good)
            status = fail(err, KILN_INTERNAL, "%s: the digest failed", source->path);
    }
    for (int i = 0; i < DIGESTS; i++)
        EVP_MD_CTX_free(digests[i].context);
    return status;
}

kiln_status kiln_hash_file(const char *path, kiln_hashes *out, kiln_progress_function progress, void *user,
                           kiln_error *err)
{
    byte_source source;
    *out = (kiln_hashes){{0}, {0}, {0}, {0}};
    if (!path)
        return fail(err, KILN_BAD_ARGUMENT, "the name of a file is needed");
    kiln_status status = byte_source_open(path, &source, err);
    if (status)
        return status;
    status = hash_source(&source, out, progress, user, err);
    byte_source_close(&source);
    if (status)
        *out = (kiln_hashes){{0}, {0}, {0}, {0}};
    return status;
}
