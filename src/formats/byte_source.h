/* byte_source.h - where the bytes of a file come from: a descriptor read with pread, or memory.
 *
 * pread and not mmap: mapped pages that were read stay in the resident set of the process, so that loading a
 * 2 GB checkpoint would look like (and, under a memory limit, cost) 2 GB more than the model itself. pread
 * leaves them in the kernel's cache, is safe from several threads, and a file that is cut short while it is
 * being read gives an error instead of a signal. */
#ifndef KILN_FORMATS_BYTE_SOURCE_H
#define KILN_FORMATS_BYTE_SOURCE_H

#include "base/error.h"

typedef struct byte_source {
    int fd;               /* -1 for memory */
    const uint8_t *bytes; /* borrowed; NULL for a descriptor */
    uint64_t size;
    const char *path; /* borrowed, for messages */
} byte_source;

/* Open a regular file. `path` must outlive the source. KILN_NOT_FOUND, KILN_IO, or KILN_BAD_ARGUMENT for what
 * is no regular file. */
kiln_status byte_source_open(const char *path, byte_source *out, kiln_error *err);
/* Read from memory that outlives the source. */
byte_source byte_source_of_memory(const void *bytes, size_t size, const char *path);
void byte_source_close(byte_source *source);

/* Exactly `size` bytes from offset `at`; KILN_BAD_FORMAT when the file has not that many. Thread-safe. */
kiln_status byte_source_read(const byte_source *source, uint64_t at, void *to, size_t size, kiln_error *err);

/* Little-endian numbers at p, at any alignment. */
static inline uint16_t little_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t little_u32(const uint8_t *p)
{
    return (uint32_t)little_u16(p) | (uint32_t)little_u16(p + 2) << 16;
}
static inline uint64_t little_u64(const uint8_t *p)
{
    return (uint64_t)little_u32(p) | (uint64_t)little_u32(p + 4) << 32;
}

#endif
