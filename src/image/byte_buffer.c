/* byte_buffer.c - see byte_buffer.h. */
#include "image/byte_buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool byte_buffer_add(byte_buffer *buffer, const void *bytes, size_t size)
{
    if (buffer->short_of_memory)
        return false;
    if (size > buffer->capacity - buffer->size) {
        size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
        while (capacity - buffer->size < size && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        unsigned char *grown = capacity - buffer->size < size ? NULL : realloc(buffer->bytes, capacity);
        if (!grown) {
            buffer->short_of_memory = true;
            return false;
        }
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    if (size > 0)
        memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return true;
}

bool byte_buffer_add_text(byte_buffer *buffer, const char *text)
{
    return byte_buffer_add(buffer, text, strlen(text));
}

char *byte_buffer_take_text(byte_buffer *buffer)
{
    char *text = byte_buffer_add(buffer, "", 1) ? (char *)buffer->bytes : NULL;
    if (text)
        buffer->bytes = NULL;
    byte_buffer_fini(buffer);
    return text;
}

void byte_buffer_fini(byte_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (byte_buffer){0};
}
