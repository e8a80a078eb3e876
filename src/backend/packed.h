/* packed.h - weights in the layout that kernels want, packed once per model and shared by its plans.
 *
 * A packed copy is found by (parameter, key): the key is whatever bytes tell layouts apart (a oneDNN memory
 * descriptor, "plain f32"). Copies are counted: when the last plan that uses one is freed, it goes.
 * Thread-safe. The f32 values come from a source: a file, random numbers, a file with a LoRA merged in. */
#ifndef KILN_BACKEND_PACKED_H
#define KILN_BACKEND_PACKED_H

#include "graph/graph.h"

typedef struct parameter_source {
    /* Write the parameter's elements, in its declared shape, as f32. May be called from several threads. */
    kiln_status (*read)(void *self, const parameter *, int index, float *to, kiln_error *);
    void *self;
    /* Where the parameter comes from, for messages ("model.safetensors: tensor 'out.2.weight'"), into `text`. NULL: its
     * name says enough. */
    void (*describe)(void *self, const parameter *, int index, char *text, size_t size);
} parameter_source;

typedef struct packed_store packed_store;
typedef struct packed packed;

/* The graph declares the parameters by index: every plan of one store is compiled from graphs that declare the same
 * parameters in the same order (the same model at another size). A source without a read function measures: copies are
 * counted, but nothing is read or packed, and no memory becomes resident. */
packed_store *packed_store_new(parameter_source);
void packed_store_free(packed_store *);
/* What it was made with. */
parameter_source packed_store_source(const packed_store *);
/* Bytes held by all copies now. */
size_t packed_store_bytes(const packed_store *);

/* Give back the memory that reading took, when a plan has all its weights. */
void packed_store_trim(packed_store *);

/* Fills `to` (bytes as asked) from the f32 elements. */
typedef kiln_status (*pack_function)(const void *arguments, const float *from, int64_t count, void *to,
                                     kiln_error *);

/* Room for a pack_function, and for it alone: at least `bytes`, until it returns. NULL: out of memory. */
float *packed_store_spare(packed_store *, size_t bytes);

/* Take a packed copy, made at the first request; *data stays valid until packed_release. `pack` NULL copies plain
 * f32 (bytes are then count*4 and key may be NULL). Weights with NaN or infinity are refused by name. */
kiln_status packed_take(packed_store *, const graph *, int parameter, const void *key, size_t key_bytes,
                        size_t bytes, pack_function pack, const void *arguments, packed **out,
                        const void **data, kiln_error *);
void packed_release(packed_store *, packed *);

#endif
