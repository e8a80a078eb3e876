/* backend.h - what a backend is: it prepares a kernel for one node of a plan, and runs it.
 *
 * `ref` implements every op and is the specification. `cpu` is the fast one: oneDNN for convolution and matrix
 * products, kernels of our own for the rest; where it declines a node (prepare sets kernel->run to NULL and returns
 * KILN_OK) the plan takes `ref`. Nothing above this interface knows where it runs. */
#ifndef KILN_BACKEND_BACKEND_H
#define KILN_BACKEND_BACKEND_H

#include "backend/packed.h"
#include "graph/graph.h"

typedef struct kernel_arguments {
    const void *input[OP_MAX_INPUTS]; /* activations; parameters that the kernel did not pack: plain f32 */
    void *output;                     /* may be input[in_place] when the kernel allows it */
    void *scratch;                    /* kernel->scratch_bytes, aligned to 64 */
    void *note;                       /* see kernel; NULL: nobody reads one, or nobody left one */
    int threads;
} kernel_arguments;

typedef struct kernel {
    const char *label; /* for the profile: "onednn conv", "attention amx" */
    kiln_status (*run)(const struct kernel *, const kernel_arguments *, kiln_error *);
    void (*release)(struct kernel *); /* may be NULL */
    void *state; /* immutable after prepare: several threads may run one kernel at once */
    size_t scratch_bytes;
    int in_place;    /* input whose buffer the output may take over when it dies here; -1: none */
    uint32_t packed; /* bit k: input k is a parameter that lives inside the kernel */
    /* What a kernel found on its way and the one that goes back over it would have to find again: attention leaves one, its
     * gradient reads it. A kernel of a pass forward says how large it is; the other says so, too, and which input (counted
     * from 1) is the result of the one that left it. */
    size_t note_bytes;
    int note_of;
} kernel;

typedef struct kernel_request {
    const graph *graph;
    const node *node;
    shape input_shape[OP_MAX_INPUTS];
    dtype input_type[OP_MAX_INPUTS]; /* of activations: F32 or BF16 (I32 for ids); of parameters: F32 */
    dtype output_type;
    int parameter[OP_MAX_INPUTS]; /* index of the frozen parameter behind an input, or -1 */
    dtype compute;                /* F32 or BF16: the precision of products */
    int threads;
    packed_store *packed; /* where packed weights live, shared by the plans of a model */
} kernel_request;

typedef struct backend {
    const char *name;
    /* Fill *out. KILN_OK with out->run NULL: declined. */
    kiln_status (*prepare)(const kernel_request *, kernel *out, kiln_error *);
} backend;

extern const backend backend_reference;
extern const backend backend_cpu;

/* The best precision of this processor: DTYPE_BF16 with avx512_bf16 or AMX, else DTYPE_F32. */
dtype backend_best_precision(void);

#endif
