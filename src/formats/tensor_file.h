/* tensor_file.h - one view of every file that holds weights: named tensors, their types and shapes, their bytes.
 *
 * What a file is, is told by its content, never by its extension:
 *
 *   safetensors            u64 length, JSON header, data
 *   torch (zip)            torch.save since 1.6: a zip archive with data.pkl and data/<key>, stored or deflated
 *   torch (legacy)         torch.save before 1.6: five pickles, then the storages
 *   pickle                 one plain pickle with numpy arrays in it
 *   sharded index          *.safetensors.index.json, *.bin.index.json: the names of a model's tensors and in
 *                          which of the files beside it each one is
 *   folder                 a component of a diffusers model: its index or weights file is found inside
 *
 * Opening reads the header only (a few milliseconds for a file of any size); bytes are read on request. An open
 * file is immutable: any number of threads may read from it.
 *
 * Pickles are read by a machine that builds tensors, containers, numbers and texts and runs nothing
 * (formats/pickle.h). Names of nested dicts and lists are joined by dots ("string_to_param.*"). A checkpoint that
 * keeps its weights in a known wrapper ("state_dict", "params_ema", ...) shows the names inside it; numbers and
 * texts of the whole pickle are found by tensor_file_value ("global_step"). */
#ifndef KILN_FORMATS_TENSOR_FILE_H
#define KILN_FORMATS_TENSOR_FILE_H

#include "base/error.h"
#include "tensor/tensor.h"

typedef struct tensor_file tensor_file;

typedef struct tensor_entry {
    const char *name; /* UTF-8, lives as long as the file */
    dtype type;
    shape shape;
    /* Private: where the bytes are. */
    const struct tensor_file *home; /* the file that holds them: a shard, or the file itself */
    const uint8_t *bytes;           /* in memory, or NULL */
    uint64_t offset;                /* of element 0, in the file or in its storage */
    uint32_t storage;               /* 1 + the number of a compressed storage, or 0 */
    bool strided;                   /* not contiguous: stride[] counts elements */
    int64_t stride[SHAPE_MAX_RANK];
} tensor_entry;

/* Open a weights file or a folder with one. KILN_NOT_FOUND, KILN_IO, KILN_BAD_FORMAT (the sentence says what is
 * wrong), KILN_UNSUPPORTED (a known format that is not read, a pickle that would need code), KILN_NO_MEMORY. */
kiln_status tensor_file_open(const char *path, tensor_file **out, kiln_error *err) KILN_CHECKED;
/* Same for `size` bytes of memory, which must outlive the file; `name` stands in messages. No index files. */
kiln_status tensor_file_open_memory(const void *bytes, size_t size, const char *name, tensor_file **out,
                                    kiln_error *err) KILN_CHECKED;
void tensor_file_close(tensor_file *file);

size_t tensor_file_count(const tensor_file *file);
/* Tensor i in the file's own order; NULL when i is out of range. */
const tensor_entry *tensor_file_entry(const tensor_file *file, size_t i);
/* NULL when there is none of this name. */
const tensor_entry *tensor_file_find(const tensor_file *file, const char *name);

/* safetensors' __metadata__: the text of a key, NULL if there is none; and all of them by number. */
const char *tensor_file_metadata(const tensor_file *file, const char *key);
size_t tensor_file_metadata_count(const tensor_file *file);
const char *tensor_file_metadata_at(const tensor_file *file, size_t i, const char **text);
/* A number, text or bool of a pickle by its dotted path, as text ("true"; 1e-05); NULL if there is none. */
const char *tensor_file_value(const tensor_file *file, const char *path);
size_t tensor_file_value_count(const tensor_file *file);
const char *tensor_file_value_at(const tensor_file *file, size_t i, const char **text);

/* "safetensors", "torch (zip)", ...; the path it was opened with; the wrapper whose names are shown
 * ("state_dict"), or NULL; how many tensors lie outside it (of an optimizer, say). */
const char *tensor_file_format(const tensor_file *file);
const char *tensor_file_path(const tensor_file *file);
const char *tensor_file_wrapper(const tensor_file *file);
size_t tensor_file_outside_count(const tensor_file *file);
/* Size of the file in bytes (of all shards together). */
uint64_t tensor_file_size(const tensor_file *file);

/* Bytes of the tensor, contiguous, in its own element type. */
uint64_t tensor_entry_bytes(const tensor_entry *entry);

/* Elements [first, first + count) of the contiguous tensor, converted to f32. Thread-safe. */
kiln_status tensor_file_read_f32(const tensor_file *file, const tensor_entry *entry, int64_t first,
                                 int64_t count, float *to, kiln_error *err) KILN_CHECKED;
/* The same elements in their own type. */
kiln_status tensor_file_read_part(const tensor_file *file, const tensor_entry *entry, int64_t first,
                                  int64_t count, void *to, kiln_error *err) KILN_CHECKED;
/* The whole tensor in its own type, contiguous: tensor_entry_bytes bytes. */
kiln_status tensor_file_read(const tensor_file *file, const tensor_entry *entry, void *to,
                             kiln_error *err) KILN_CHECKED;

#endif
