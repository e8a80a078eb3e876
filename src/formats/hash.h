/* hash.h - the hashes by which people name weights files.
 *
 *   sha256      of the whole file; its first 10 digits are "Model hash" in pictures' parameters
 *   old hash    the first 8 digits of the sha256 of 0x10000 bytes at 0x100000 (A1111 before 1.0). Many files share
 *               one, and a file of up to 1 MiB has the hash of nothing, e3b0c442
 *   addnet      the first 12 digits of the sha256 of a safetensors file without its header: the same tensors
 *               under other metadata keep it ("Lora hashes"; sshs_model_hash) */
#ifndef KILN_FORMATS_HASH_H
#define KILN_FORMATS_HASH_H

#include "formats/byte_source.h"

enum { SHA256_BYTES = 32, SHA256_DIGITS = 64 };

typedef struct file_hashes {
    char sha256[SHA256_DIGITS + 1];
    char shorthash[11];
    char old[9];
    char without_header[SHA256_DIGITS + 1]; /* "" when the file is not safetensors */
    char addnet[13];                        /* its first 12 digits, or "" */
} file_hashes;

/* Which of them to compute. The two over the whole file cost the same each; the old one next to nothing. */
enum { HASH_SHA256 = 1, HASH_WITHOUT_HEADER = 2, HASH_OLD = 4, HASH_ALL = 7 };

/* Called every megabyte; returning false stops with KILN_CANCELLED. */
typedef bool (*hash_progress)(void *self, uint64_t done, uint64_t size);

/* All of the above in one pass over the file (about 2 GB/s where the processor has SHA instructions).
 * `progress` may be NULL. */
kiln_status hash_file(const char *path, file_hashes *out, hash_progress progress, void *self,
                      kiln_error *err) KILN_CHECKED;
/* Those of `wanted` (HASH_... or-ed); the others stay "". */
kiln_status hash_file_some(const char *path, unsigned wanted, file_hashes *out, hash_progress progress,
                           void *self, kiln_error *err) KILN_CHECKED;
/* The same of bytes that are open already: the descriptor is neither closed nor moved. */
kiln_status hash_source(const byte_source *source, unsigned wanted, file_hashes *out, hash_progress progress,
                        void *self, kiln_error *err) KILN_CHECKED;
/* Only the old hash: reads 64 KiB. */
kiln_status hash_file_old(const char *path, char out[9], kiln_error *err) KILN_CHECKED;
/* sha256 of memory, as lower-case digits. */
kiln_status hash_memory(const void *bytes, size_t size, char out[SHA256_DIGITS + 1],
                        kiln_error *err) KILN_CHECKED;

#endif
