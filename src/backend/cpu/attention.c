/* attention.c - the tasks of attention.h and the kernel around them. */
#include "backend/cpu/attention.h"

#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include "base/error.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

typedef struct attention {
    attention_shape shape;
    const attention_method *method;
} attention;

const attention_method *attention_choose(const attention_shape *s, const cpu_features *f)
{
    bool bf16 =
        s->input_type[0] == DTYPE_BF16 && s->input_type[1] == DTYPE_BF16 && s->input_type[2] == DTYPE_BF16;
    if (bf16 && f->amx_bf16)
        return &attention_amx;
    if (bf16 && f->avx512_bf16)
        return &attention_bf16;
    return f->avx512 ? &attention_f32_avx512 : &attention_f32;
}

static const void *offset(const void *base, dtype type, int64_t elements)
{
    return (const char *)base + (size_t)elements * dtype_size(type);
}

static attention_task make_task(const attention_shape *s, const void *const input[3], void *output,
                                int64_t head, int64_t part)
{
    int64_t n = head / s->heads, h = head % s->heads;
    attention_task t = {.q_stride = s->heads * s->key_width,
                        .k_stride = s->heads * s->key_width,
                        .v_stride = s->heads * s->value_width,
                        .output_stride = s->heads * s->value_width,
                        .first_query = part * TASK_QUERIES};
    t.query_count = s->queries - t.first_query < TASK_QUERIES ? s->queries - t.first_query : TASK_QUERIES;
    t.q =
        offset(input[0], s->input_type[0], (n * s->queries + t.first_query) * t.q_stride + h * s->key_width);
    t.k = offset(input[1], s->input_type[1], n * s->keys * t.k_stride + h * s->key_width);
    t.v = offset(input[2], s->input_type[2], n * s->keys * t.v_stride + h * s->value_width);
    t.output =
        (char *)output + (size_t)((n * s->queries + t.first_query) * t.output_stride + h * s->value_width) *
                             dtype_size(s->output_type);
    return t;
}

void attention_run(const attention_shape *s, const attention_method *method, const void *const input[3],
                   void *output, float *levels, void *scratch, int threads)
{
    int64_t parts = (s->queries + TASK_QUERIES - 1) / TASK_QUERIES, tasks = s->samples * s->heads * parts;
    size_t bytes = scratch_rounded(method->work_bytes(s));
#pragma omp parallel num_threads(threads) if (tasks > 1)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num();
#else
        int worker = 0;
#endif
        int64_t packed_head = -1;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            attention_task t = make_task(s, input, output, i / parts, i % parts);
            t.work = (char *)scratch + (size_t)worker * bytes;
            t.levels = levels ? levels + i / parts * s->queries + t.first_query : NULL;
            t.packed = packed_head == i / parts;
            packed_head = i / parts;
            method->run(s, &t);
        }
    }
}

static kiln_status kernel_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const attention *s = k->state;
    attention_run(&s->shape, s->method, a->input, a->output, a->note, a->scratch, a->threads);
    return KILN_OK;
}

static void kernel_release(struct kernel *k)
{
    free(k->state);
}

kiln_status prepare_attention(const kernel_request *r, kernel *out, kiln_error *err)
{
    shape Q = r->input_shape[0], K = r->input_shape[1], V = r->input_shape[2];
    int64_t heads = r->node->attributes.attention.heads;
    if (Q.rank != 3 || K.rank != 3 || V.rank != 3 || heads < 1 || !shape_count(Q) || !shape_count(K) ||
        !shape_count(V))
        return KILN_OK;
    attention *a = calloc(1, sizeof *a);
    if (!a)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    a->shape = (attention_shape){.samples = Q.dim[0],
                                 .queries = Q.dim[1],
                                 .keys = K.dim[1],
                                 .heads = heads,
                                 .key_width = Q.dim[2] / heads,
                                 .value_width = V.dim[2] / heads,
                                 .causal = r->node->attributes.attention.causal,
                                 .output_type = r->output_type};
    a->shape.scale = (float)(1 / sqrt((double)a->shape.key_width));
    for (int i = 0; i < 3; i++)
        a->shape.input_type[i] = r->input_type[i];
    cpu_features features = cpu_features_detect();
    a->method = attention_choose(&a->shape, &features);
    *out = (kernel){.label = a->method->label,
                    .run = kernel_run,
                    .release = kernel_release,
                    .state = a,
                    .scratch_bytes = scratch_rounded(a->method->work_bytes(&a->shape)) * (size_t)r->threads,
                    .in_place = -1};
    if (a->method->gives_levels)
        out->note_bytes = (size_t)(a->shape.samples * a->shape.heads * a->shape.queries) * sizeof(float);
    return KILN_OK;
}
