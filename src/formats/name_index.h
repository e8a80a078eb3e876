/* name_index.h - from a name to its number, by hashing: which of n tensors, or members of an archive, is it? */
#ifndef KILN_FORMATS_NAME_INDEX_H
#define KILN_FORMATS_NAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts as {0}. The names belong to the caller and must outlive the index. */
typedef struct name_index {
    struct name_slot *slots;
    size_t capacity, count;
} name_index;

enum { NAME_MISSING = -1 };

/* The number of the name, or NAME_MISSING. */
int64_t name_index_find(const name_index *index, const char *name);
/* Remember `name` as `number`, or as the new number when it was there. False when memory is short. */
bool name_index_put(name_index *index, const char *name, uint32_t number);
void name_index_fini(name_index *index);

#endif
