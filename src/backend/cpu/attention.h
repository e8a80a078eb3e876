/* attention.h - fused attention: softmax(q k^T / sqrt(D)) v without ever holding T x S scores (Dao et al.
 * 2022; the running softmax is Milakov & Gimelshein 2018).
 *
 * A task is one head of one sample and up to TASK_QUERIES of its queries. It packs keys and values once
 * for its worker (again only when the head changes) and walks the queries in blocks; for each block the
 * keys go by in blocks that stay in the first-level cache. Everything is transposed, so that a vector
 * register holds the same thing of 16 queries: scores are [keys][queries], and the maximum and the sum of
 * a query never cross lanes.
 *
 * Tasks and blocks do not depend on the number of threads, so neither do the results. */
#ifndef KILN_BACKEND_CPU_ATTENTION_H
#define KILN_BACKEND_CPU_ATTENTION_H

#include "backend/backend.h"
#include "backend/cpu/features.h"

enum { TASK_QUERIES = 1024 };

typedef struct attention_shape {
    int64_t samples, queries, keys, heads, key_width, value_width; /* widths of a head */
    bool causal;
    float scale; /* 1 / sqrt(key_width) */
    dtype input_type[3], output_type;
} attention_shape;

/* One head of one sample; strides in elements between tokens. */
typedef struct attention_task {
    const void *q, *k, *v;
    void *output;
    int64_t q_stride, k_stride, v_stride, output_stride;
    int64_t first_query, query_count;
    bool packed; /* keys and values of this head already lie in the worker's memory */
    float *
        levels; /* [query_count] what the softmax divided by: log2 of the sum of 2^(score log2(e)); NULL: not wanted */
    void *work;
} attention_task;

typedef struct attention_method {
    const char *label;
    size_t (*work_bytes)(const attention_shape *);
    void (*run)(const attention_shape *, const attention_task *);
    bool gives_levels;
} attention_method;

/* All three in bf16. Needs AMX; needs avx512_bf16. */
extern const attention_method attention_amx, attention_bf16;
/* Any mixture of f32 and bf16, computed in f32. */
extern const attention_method attention_f32_avx512, attention_f32;

/* The best method for those types on a processor with those features. */
const attention_method *attention_choose(const attention_shape *, const cpu_features *);
void attention_run(const attention_shape *, const attention_method *, const void *const input[3],
                   void *output, float *levels /* [samples][heads][queries], or NULL */, void *scratch,
                   int threads);

#endif
