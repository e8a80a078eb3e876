/* arena.h - memory with one lifetime: many small allocations, one release.
 *
 * Used for what lives as long as its owner: the names and nodes of a graph, the entries of a file. */
#ifndef KILN_BASE_ARENA_H
#define KILN_BASE_ARENA_H

#include <stddef.h>

typedef struct arena {
    struct arena_block *last;
} arena;

/* `bytes` zeroed bytes, aligned to 16; NULL when memory is short. An arena starts as {0}. */
void *arena_alloc(arena *, size_t bytes);
/* A copy of the string, or of its first `length` bytes with a final NUL; NULL when memory is short. */
char *arena_text(arena *, const char *text);
char *arena_text_part(arena *, const char *text, size_t length);
char *arena_format(arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_fini(arena *);

#endif
