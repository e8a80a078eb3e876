/* torch_write.h - writing what torch.save writes: a pickle of dicts, lists, tuples, numbers, texts and f32 tensors.
 *
 * A value is written by one call; a dict's entry is its key (a text or a whole number) and then its value:
 *
 *     torch_dict(w);
 *         torch_text(w, "name");    torch_text(w, "a word");
 *         torch_text(w, "vectors"); torch_tensor(w, numbers, SHAPE2(2, 768));
 *     torch_end(w);
 *
 * Errors are sticky: the first keeps its sentence, and torch_writer_finish reports it. torch.load rebuilds the file without
 * any code but its own, and so do the readers of A1111's web UI, which allow these names only. The file
 * appears when it is whole. Same values, same bytes. Source: torch/serialization.py, torch/_utils.py. */
#ifndef KILN_FORMATS_TORCH_WRITE_H
#define KILN_FORMATS_TORCH_WRITE_H

#include "base/error.h"
#include "tensor/tensor.h"

typedef struct torch_writer torch_writer;

kiln_status torch_writer_open(const char *path, torch_writer **out, kiln_error *err) KILN_CHECKED;

/* Containers, up to 16 deep; each needs its torch_end. */
void torch_dict(torch_writer *);
void torch_list(torch_writer *);
void torch_tuple(torch_writer *);
void torch_end(torch_writer *);

void torch_none(torch_writer *);
void torch_bool(torch_writer *, bool);
void torch_integer(torch_writer *, int64_t);
void torch_number(torch_writer *, double);
/* NUL-terminated UTF-8. */
void torch_text(torch_writer *, const char *);
/* Contiguous numbers, written before the call returns. */
void torch_tensor(torch_writer *, const float *values, shape);

/* Complete the file, rename it into place, and free the writer. After a failure the file at the path is as it was, and the
 * writer is freed too. */
kiln_status torch_writer_finish(torch_writer *, kiln_error *err) KILN_CHECKED;
/* Give up: remove what was written and free. Accepts NULL. */
void torch_writer_abort(torch_writer *);

#endif
