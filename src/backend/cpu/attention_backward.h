/* attention_backward.h - the gradients of attention by recomputing (Dao 2023, "FlashAttention-2", algorithm 2): see
 * ops/attention_backward.c for the formulas.
 *
 * A task is one head of one sample. Its queries go by in blocks; a block's scores against all keys are computed again
 * (and before that once more for what the softmax divides by, unless the pass forward has noted that down)
 * and turned into probabilities p and their gradients ds, from which the block's dq follows, and its shares of dk and dv,
 * which add up in f32. Tasks and blocks do not depend on the number of threads, so neither do the results. */
#ifndef KILN_BACKEND_CPU_ATTENTION_BACKWARD_H
#define KILN_BACKEND_CPU_ATTENTION_BACKWARD_H

#include "backend/backend.h"

typedef struct attention_backward_shape {
    int64_t samples, queries, keys, heads, key_width, value_width; /* widths of a head */
    bool causal;
    float scale; /* 1 / sqrt(key_width) */
    dtype input_type[5], output_type;
} attention_backward_shape;

/* One head of one sample. Where its rows start: q, k, v, y, dy; dq, dk, dv (NULL: not wanted). Rows of q, k, dq, dk are
 * key_stride elements apart, those of the others value_stride. */
typedef struct attention_backward_task {
    const void *input[5];
    void *output[3];
    int64_t key_stride, value_stride;
    const float *levels; /* [queries] as attention.h has them; NULL: they are to be found again */
    void *work;
} attention_backward_task;

typedef struct attention_backward_method {
    const char *label;
    size_t (*work_bytes)(const attention_backward_shape *);
    void (*run)(const attention_backward_shape *, const attention_backward_task *);
    bool takes_levels;
} attention_backward_method;

/* Any mixture of f32 and bf16, computed in f32. */
extern const attention_backward_method attention_backward_f32;
/* All inputs in bf16. Needs AMX; needs avx512_bf16. */
extern const attention_backward_method attention_backward_amx, attention_backward_bf16;

#endif
