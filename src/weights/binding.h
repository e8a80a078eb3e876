/* binding.h - which tensor of which file is each parameter that a model declared.
 *
 * A model names every parameter in both dialects where it is drawn (graph/graph.h), so there is no conversion table:
 * binding composes prefix and name, finds the tensor, and compares the shape. A wrong guess about a model's
 * configuration therefore ends in a sentence with names and shapes, never in a wrong picture.
 *
 * How stored and declared forms may differ:
 *     [k/n]     the parameter is part k (from 0) of n along axis 0 of the tensor (OpenCLIP's in_proj_weight)
 *     ^T        the tensor is the transpose (OpenCLIP's text_projection)
 *     leading and trailing dimensions of 1 do not count: [C,C], [1,C,C] and [C,C,1,1] are the same numbers
 *     names of older writers, see older_name() in binding.c */
#ifndef KILN_WEIGHTS_BINDING_H
#define KILN_WEIGHTS_BINDING_H

#include "backend/packed.h"
#include "formats/tensor_file.h"
#include "graph/graph.h"

typedef enum dialect {
    DIALECT_CANONICAL, /* diffusers, transformers */
    DIALECT_ORIGINAL   /* CompVis LDM, OpenCLIP, SGM */
} dialect;

/* Where a model's tensors are. File and prefix are borrowed and must outlive what is made of them. */
typedef struct weights_place {
    const tensor_file *file;
    const char *prefix; /* "model.diffusion_model.", or "" */
    dialect dialect;
} weights_place;

/* One model's declared parameters, each bound to a tensor. Immutable; any number of threads may read. */
typedef struct weights weights;

/* Bind every parameter of the graph to the first place that has it. KILN_MISMATCH with one sentence that names the
 * missing and mis-shaped tensors (the first of them, and how many more), the file and both shapes; KILN_UNSUPPORTED
 * for an element type that is no weight. The graph is not needed afterwards: indices are those of its parameters,
 * and the same model drawn at another size declares the same ones in the same order. */
kiln_status weights_bind(const graph *graph, const weights_place *places, int place_count, weights **out,
                         kiln_error *err) KILN_CHECKED;
void weights_free(weights *);

/* Reads a parameter as f32 in its declared shape; may be called from several threads. Uses at most a few MB besides
 * the destination. Valid as long as `weights` and the files. */
parameter_source weights_source(const weights *);

int weights_count(const weights *);
/* The element type that the parameter has in its file. */
dtype weights_type(const weights *, int index);
/* The tensor that it is (a part of). */
const tensor_entry *weights_entry(const weights *, int index);

/* Tensors under the places' prefixes that none of `count` models took, without those that are known to be no weights
 * (position_ids, schedule buffers, EMA, losses). Models that share a place (a VAE's two halves) are asked together.
 * *names is the caller's (free()); the names live as long as the files. */
kiln_status weights_unexpected(const weights *const *models, int count, const char ***names, int *name_count,
                               kiln_error *err) KILN_CHECKED;

/* Whether a tensor of this name (in a whole checkpoint or below a prefix) is never a weight of a model. */
bool weights_is_harmless(const char *name);

/* The pieces of a parameter's name in the original dialect: how many characters come before the storage marks, and
 * what the marks say. parts is 1 where there is no [k/n]. */
typedef struct storage_marks {
    int name_length;
    int part, parts;
    bool transposed;
} storage_marks;
storage_marks storage_marks_of(const char *original);

#endif
