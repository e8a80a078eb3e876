/* arena.c - see arena.h. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arena_block {
    struct arena_block *previous;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
} arena_block;

enum { BLOCK_BYTES = 64 * 1024 };

void *arena_alloc(arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!a->last || a->last->size - a->last->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        arena_block *block = calloc(1, sizeof *block + size);
        if (!block)
            return NULL;
        block->previous = a->last;
        block->size = size;
        a->last = block;
    }
    void *p = a->last->bytes + a->last->used;
    a->last->used += bytes;
    return p;
}

char *arena_text_part(arena *a, const char *text, size_t length)
{
    char *copy = arena_alloc(a, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

char *arena_text(arena *a, const char *text)
{
    return arena_text_part(a, text, strlen(text));
}

char *arena_format(arena *a, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : arena_alloc(a, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void arena_fini(arena *a)
{
    while (a->last) {
        arena_block *previous = a->last->previous;
        free(a->last);
        a->last = previous;
    }
}
