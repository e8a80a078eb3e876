/* safetensors.h - writing safetensors files.
 *
 *   u64 little-endian n | n bytes of JSON, padded with spaces to 8 | data
 *   {"__metadata__": {"key": "text"}, "name": {"dtype": "F16", "shape": [2,3], "data_offsets": [0,12]}, ...}
 *
 * Tensors lie in the order of their element sizes, widest first, then of their names, so that every tensor is
 * aligned to its element and the same tensors give the same bytes whatever the order they were declared in.
 * Reading is tensor_file_open's. Source: github.com/huggingface/safetensors, README, "Format". */
#ifndef KILN_FORMATS_SAFETENSORS_H
#define KILN_FORMATS_SAFETENSORS_H

#include "base/error.h"
#include "tensor/tensor.h"

/* A header larger than this is refused, as by the reference reader. */
enum { SAFETENSORS_HEADER_MAX = 100000000 };

typedef struct safetensors_writer safetensors_writer;

/* Begin a file that will appear at `path` when it is complete and not before: it is written beside it under
 * another name, synced, and renamed by safetensors_writer_finish. */
kiln_status safetensors_writer_open(const char *path, safetensors_writer **out, kiln_error *err) KILN_CHECKED;
/* Add a text to __metadata__, before the first write. Names, keys and texts must be UTF-8. */
kiln_status safetensors_writer_metadata(safetensors_writer *writer, const char *key, const char *text,
                                        kiln_error *err) KILN_CHECKED;
/* Announce a tensor, before the first write. KILN_BAD_ARGUMENT for a name given twice. */
kiln_status safetensors_writer_declare(safetensors_writer *writer, const char *name, dtype type, shape shape,
                                       kiln_error *err) KILN_CHECKED;
/* The next `size` bytes of the tensor; tensors may be written in any order and in any number of parts. */
kiln_status safetensors_writer_write(safetensors_writer *writer, const char *name, const void *bytes,
                                     size_t size, kiln_error *err) KILN_CHECKED;
/* Check that every tensor is complete, sync, rename, and free the writer. After a failure the file at `path` is
 * as it was, and the writer is freed too. */
kiln_status safetensors_writer_finish(safetensors_writer *writer, kiln_error *err) KILN_CHECKED;
/* Give up: remove what was written and free. Accepts NULL. */
void safetensors_writer_abort(safetensors_writer *writer);

#endif
