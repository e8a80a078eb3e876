/* tensor_file_parts.h - what the readers of the single formats fill in; private to formats/. */
#ifndef KILN_FORMATS_TENSOR_FILE_PARTS_H
#define KILN_FORMATS_TENSOR_FILE_PARTS_H

#include "base/arena.h"
#include "formats/byte_source.h"
#include "formats/name_index.h"
#include "formats/tensor_file.h"
#include "formats/zip.h"

#include <pthread.h>

typedef struct text_pair {
    const char *key, *text;
} text_pair;

typedef struct text_list {
    text_pair *items;
    size_t count, capacity;
    name_index index;
} text_list;

/* A storage that must be inflated before it can be read. */
typedef struct packed_storage {
    zip_member member;
    uint64_t size;
} packed_storage;

struct tensor_file {
    arena memory;
    byte_source source;
    bool is_shard; /* opened by an index: must not be an index itself */
    const char *path, *format, *wrapper;
    tensor_entry *entries;
    size_t count, capacity, outside;
    name_index names;
    text_list metadata, values;
    packed_storage *packed;
    size_t packed_count, packed_capacity;
    tensor_file **shards;
    size_t shard_count;
    /* The storage that was inflated last, behind the lock: reading one in parts inflates it once. */
    pthread_mutex_t *lock;
    uint8_t *inflated;
    uint32_t inflated_storage;
};

/* A new, empty file object around nothing. NULL when memory is short. */
tensor_file *tensor_file_new(const char *path);
/* A new entry named `name` (which is copied), or the old one of that name; NULL when memory is short. */
tensor_entry *tensor_file_add(tensor_file *file, const char *name);
bool tensor_file_add_text(tensor_file *file, text_list *list, const char *key, const char *text);
/* The number of the compressed storage plus one; 0 when memory is short. */
uint32_t tensor_file_add_packed(tensor_file *file, zip_member member, uint64_t size);
kiln_status no_memory(const tensor_file *file, kiln_error *err);

/* Open a file that an index names. */
kiln_status tensor_file_open_shard(const char *path, tensor_file **out, kiln_error *err);

/* The readers: fill `file`, whose source is open. */
kiln_status safetensors_read_header(tensor_file *file, kiln_error *err);
kiln_status torch_zip_read(tensor_file *file, kiln_error *err);
kiln_status torch_legacy_read(tensor_file *file, kiln_error *err);
kiln_status shard_index_read(tensor_file *file, kiln_error *err);

#endif
