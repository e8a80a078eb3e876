/* byte_buffer.h - bytes that grow at the end. Starts as {0}; a failed growth is remembered in
 * `short_of_memory` so that a writer can be checked once, when it is done. */
#ifndef KILN_IMAGE_BYTE_BUFFER_H
#define KILN_IMAGE_BYTE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct byte_buffer {
    unsigned char *bytes;
    size_t size, capacity;
    bool short_of_memory;
} byte_buffer;

/* Append; false (and nothing appended) when memory is short or was short before. */
bool byte_buffer_add(byte_buffer *, const void *bytes, size_t size);
bool byte_buffer_add_text(byte_buffer *, const char *text);
/* Append a NUL that `size` does not count, and hand the bytes over (free with free); NULL when memory was
 * short. The buffer is empty afterwards. */
char *byte_buffer_take_text(byte_buffer *);
void byte_buffer_fini(byte_buffer *);

#endif
