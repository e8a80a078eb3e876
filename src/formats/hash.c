/* hash.c - see hash.h; SHA-256 itself is libcrypto's. */
#include "formats/hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20, OLD_AT = 0x100000, OLD_BYTES = 0x10000 };

static void digits_of(const unsigned char digest[SHA256_BYTES], char out[SHA256_DIGITS + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[SHA256_DIGITS] = '\0';
}

kiln_status hash_memory(const void *bytes, size_t size, char out[SHA256_DIGITS + 1], kiln_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    out[0] = '\0';
    if (EVP_Digest(size ? bytes : "", size, digest, NULL, EVP_sha256(), NULL) != 1)
        return fail(err, KILN_INTERNAL, "sha256 is not available");
    digits_of(digest, out);
    return KILN_OK;
}

static kiln_status old_hash(const byte_source *source, char out[9], kiln_error *err)
{
    uint64_t left = source->size > OLD_AT ? source->size - OLD_AT : 0;
    size_t size = left < OLD_BYTES ? (size_t)left : OLD_BYTES;
    char digits[SHA256_DIGITS + 1];
    uint8_t *bytes = malloc(OLD_BYTES);
    if (!bytes)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to hash it", source->path);
    kiln_status status = size ? byte_source_read(source, OLD_AT, bytes, size, err) : KILN_OK;
    if (!status)
        status = hash_memory(bytes, size, digits, err);
    free(bytes);
    snprintf(out, 9, "%.8s", status ? "" : digits);
    return status;
}

kiln_status hash_file_old(const char *path, char out[9], kiln_error *err)
{
    byte_source source;
    out[0] = '\0';
    kiln_status status = byte_source_open(path, &source, err);
    if (!status)
        status = old_hash(&source, out, err);
    byte_source_close(&source);
    return status;
}

/* Where the data of a safetensors file begins; 0 when it is none. */
static uint64_t data_begin(const byte_source *source)
{
    uint8_t head[9];
    if (source->size < sizeof head || byte_source_read(source, 0, head, sizeof head, NULL) != KILN_OK)
        return 0;
    uint64_t length = little_u64(head);
    return head[8] == '{' && length <= source->size - 8 ? 8 + length : 0;
}

/* Feed all bytes to `whole`, and those from data_at on to `data`; either may be NULL. */
static kiln_status feed(const byte_source *source, EVP_MD_CTX *whole, EVP_MD_CTX *data, uint64_t data_at,
                        hash_progress progress, void *self, kiln_error *err)
{
    uint8_t *chunk = malloc(CHUNK);
    if (!chunk)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to hash it", source->path);
    kiln_status status = KILN_OK;
    for (uint64_t at = 0; at < source->size && !status;) {
        size_t size = source->size - at < CHUNK ? (size_t)(source->size - at) : CHUNK;
        status = byte_source_read(source, at, chunk, size, err);
        if (status)
            break;
        size_t skip = data_at <= at ? 0 : data_at - at < size ? (size_t)(data_at - at) : size;
        if ((whole && EVP_DigestUpdate(whole, chunk, size) != 1) ||
            (data && EVP_DigestUpdate(data, chunk + skip, size - skip) != 1))
            status = fail(err, KILN_INTERNAL, "sha256 is not available");
        at += size;
        if (!status && progress && !progress(self, at, source->size))
            status = fail(err, KILN_CANCELLED, "%s: hashing was cancelled", source->path);
    }
    free(chunk);
    return status;
}

/* A digest that has begun; NULL when it cannot. */
static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1)
        return context;
    EVP_MD_CTX_free(context);
    return NULL;
}

static bool digest_finish(EVP_MD_CTX *context, char out[SHA256_DIGITS + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(context, digest, NULL) != 1)
        return false;
    digits_of(digest, out);
    return true;
}

/* The two over the whole file, in one pass. */
static kiln_status hash_whole(const byte_source *source, unsigned wanted, file_hashes *out,
                              hash_progress progress, void *self, kiln_error *err)
{
    uint64_t data_at = wanted & HASH_WITHOUT_HEADER ? data_begin(source) : 0;
    if (!(wanted & HASH_SHA256) && !data_at)
        return KILN_OK;
    EVP_MD_CTX *whole = wanted & HASH_SHA256 ? digest_new() : NULL, *data = data_at ? digest_new() : NULL;
    kiln_status status = KILN_OK;
    if ((wanted & HASH_SHA256 && !whole) || (data_at && !data))
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to hash it", source->path);
    if (!status)
        status = feed(source, whole, data, data_at, progress, self, err);
    if (!status && ((whole && !digest_finish(whole, out->sha256)) ||
                    (data && !digest_finish(data, out->without_header))))
        status = fail(err, KILN_INTERNAL, "sha256 is not available");
    EVP_MD_CTX_free(whole);
    EVP_MD_CTX_free(data);
    snprintf(out->shorthash, sizeof out->shorthash, "%.10s", out->sha256);
    snprintf(out->addnet, sizeof out->addnet, "%.12s", out->without_header);
    return status;
}

kiln_status hash_source(const byte_source *source, unsigned wanted, file_hashes *out, hash_progress progress,
                        void *self, kiln_error *err)
{
    *out = (file_hashes){0};
    kiln_status status = hash_whole(source, wanted, out, progress, self, err);
    if (!status && wanted & HASH_OLD)
        status = old_hash(source, out->old, err);
    if (status)
        *out = (file_hashes){0};
    return status;
}

kiln_status hash_file_some(const char *path, unsigned wanted, file_hashes *out, hash_progress progress,
                           void *self, kiln_error *err)
{
    byte_source source;
    *out = (file_hashes){0};
    kiln_status status = byte_source_open(path, &source, err);
    if (!status)
        status = hash_source(&source, wanted, out, progress, self, err);
    byte_source_close(&source);
    return status;
}

kiln_status hash_file(const char *path, file_hashes *out, hash_progress progress, void *self, kiln_error *err)
{
    return hash_file_some(path, HASH_ALL, out, progress, self, err);
}
