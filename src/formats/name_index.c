/* name_index.c - see name_index.h: open addressing with linear probing, at most half full. */
#include "formats/name_index.h"

#include <stdlib.h>
#include <string.h>

struct name_slot {
    const char *name; /* NULL: free */
    uint32_t hash, number;
};

/* FNV-1a, 32 bits (Fowler, Noll, Vo). */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        hash = (hash ^ *p) * 16777619u;
    return hash ^ hash >> 15;
}

static struct name_slot *slot_of(const name_index *index, const char *name, uint32_t hash)
{
    size_t at = hash & (index->capacity - 1);
    while (index->slots[at].name &&
           (index->slots[at].hash != hash || strcmp(index->slots[at].name, name) != 0))
        at = (at + 1) & (index->capacity - 1);
    return &index->slots[at];
}

static bool grow(name_index *index)
{
    name_index bigger = {.capacity = index->capacity ? index->capacity * 2 : 64, .count = index->count};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < index->capacity; i++)
        if (index->slots[i].name)
            *slot_of(&bigger, index->slots[i].name, index->slots[i].hash) = index->slots[i];
    free(index->slots);
    *index = bigger;
    return true;
}

int64_t name_index_find(const name_index *index, const char *name)
{
    if (index->count == 0)
        return NAME_MISSING;
    const struct name_slot *slot = slot_of(index, name, hash_of(name));
    return slot->name ? (int64_t)slot->number : NAME_MISSING;
}

bool name_index_put(name_index *index, const char *name, uint32_t number)
{
    if (index->count >= index->capacity / 2 && !grow(index))
        return false;
    uint32_t hash = hash_of(name);
    struct name_slot *slot = slot_of(index, name, hash);
    if (!slot->name) {
        slot->name = name;
        slot->hash = hash;
        index->count++;
    }
    slot->number = number;
    return true;
}

void name_index_fini(name_index *index)
{
    free(index->slots);
    *index = (name_index){0};
}
