/* write.h - a model's parameters into a safetensors file, under either dialect.
 *
 * The inverse of binding: parts [k/n] are joined again, ^T is transposed back, and names and ranks are those that the
 * dialect's own code loads. Several models may go into one file (a checkpoint): declare all, then write all. Memory
 * is bounded by the largest single parameter, as f32 and as stored. */
#ifndef KILN_WEIGHTS_WRITE_H
#define KILN_WEIGHTS_WRITE_H

#include "formats/safetensors.h"
#include "weights/binding.h"

typedef struct weights_output {
    const graph *graph;      /* declares the parameters */
    parameter_source source; /* gives their values */
    const char *prefix;
    dialect dialect;
    dtype type;        /* of every tensor, unless: */
    const weights *as; /* not NULL: each tensor keeps the type that it has there (f64 becomes f32) */
} weights_output;

/* Called after each parameter with the bytes of it; false stops with KILN_CANCELLED. NULL: none. */
typedef struct weights_progress {
    bool (*step)(void *user, int64_t bytes);
    void *user;
} weights_progress;

/* Whether no value is NaN or infinite. */
bool weights_all_finite(const float *values, int64_t count);
/* KILN_MISMATCH naming tensor and value when a finite one does not fit the type (70000 as f16). */
kiln_status weights_check_range(const char *name, dtype, const float *values, int64_t count,
                                kiln_error *err) KILN_CHECKED;

/* Announce the tensors to the writer. */
kiln_status weights_declare(safetensors_writer *, const weights_output *, kiln_error *err) KILN_CHECKED;
/* Write them. */
kiln_status weights_write(safetensors_writer *, const weights_output *, const weights_progress *,
                          kiln_error *err) KILN_CHECKED;
/* Bytes of data that weights_write will write. */
int64_t weights_output_bytes(const weights_output *);

#endif
