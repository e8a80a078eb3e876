/* cache_parts.h - the index of a cache: where each key's value lies. Internal. */
#ifndef KILN_TRAIN_CACHE_PARTS_H
#define KILN_TRAIN_CACHE_PARTS_H

#include "train/cache.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct cache_entry {
    cache_key key;
    off_t offset; /* of the value; 0: the place is free */
    uint64_t size;
    uint32_t checksum;
} cache_entry;

/* Size of an entry whose value turned out damaged: found by none, replaced by cache_add. */
#define CACHE_DAMAGED UINT64_MAX

struct cache {
    char *path;
    int fd;
    off_t end; /* of the last whole record */
    cache_entry *entries;
    size_t capacity, count; /* capacity: a power of two */
    pthread_mutex_t lock;
};

/* NULL when there is none. */
cache_entry *cache_index_find(const cache *, const cache_key *);
/* Add or replace; false when memory is short. */
bool cache_index_put(cache *, const cache_entry *);
/* Make room for at least one more. */
bool cache_index_grow(cache *);

#endif
