/* attention_backward.c - the tasks of attention_backward.h and the kernel around them. */
#include "backend/cpu/attention_backward.h"

#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include "base/error.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

typedef struct attention_backward {
    attention_backward_shape shape;
    const attention_backward_method *method;
    bool wanted[3];
} attention_backward;

static const void *offset(const void *base, dtype type, int64_t elements)
{
    return (const char *)base + (size_t)elements * dtype_size(type);
}

static attention_backward_task make_task(const attention_backward *b, const kernel_arguments *a, int64_t head)
{
    const attention_backward_shape *s = &b->shape;
    int64_t n = head / s->heads, h = head % s->heads;
    attention_backward_task t = {.key_stride = s->heads * s->key_width,
                                 .value_stride = s->heads * s->value_width};
    const int64_t first[5] = {n * s->queries * t.key_stride + h * s->key_width,
                              n * s->keys * t.key_stride + h * s->key_width,
                              n * s->keys * t.value_stride + h * s->value_width,
                              n * s->queries * t.value_stride + h * s->value_width,
                              n * s->queries * t.value_stride + h * s->value_width};
    const int64_t counts[3] = {s->samples * s->queries * t.key_stride, s->samples * s->keys * t.key_stride,
                               s->samples * s->keys * t.value_stride};
    for (int i = 0; i < 5; i++)
        t.input[i] = offset(a->input[i], s->input_type[i], first[i]);
    t.levels = a->note ? (const float *)a->note + head * s->queries : NULL;
    int64_t part = 0;
    for (int i = 0; i < 3; i++)
        if (b->wanted[i]) {
            t.output[i] = (char *)a->output + (size_t)(part + first[i]) * dtype_size(s->output_type);
            part += counts[i];
        }
    return t;
}

static kiln_status kernel_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const attention_backward *b = k->state;
    size_t bytes = scratch_rounded(b->method->work_bytes(&b->shape));
    int64_t tasks = b->shape.samples * b->shape.heads;
#pragma omp parallel num_threads(a->threads)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num();
#else
        int worker = 0;
#endif
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            attention_backward_task t = make_task(b, a, i);
            t.work = (char *)a->scratch + (size_t)worker * bytes;
            b->method->run(&b->shape, &t);
        }
    }
    return KILN_OK;
}

static void kernel_release(struct kernel *k)
{
    free(k->state);
}

static const attention_backward_method *choose(const attention_backward_shape *s)
{
    cpu_features f = cpu_features_detect();
    bool bf16 = true;
    for (int i = 0; i < 5; i++)
        bf16 = bf16 && s->input_type[i] == DTYPE_BF16;
    if (bf16 && f.amx_bf16)
        return &attention_backward_amx;
    return bf16 && f.avx512_bf16 ? &attention_backward_bf16 : &attention_backward_f32;
}

kiln_status prepare_attention_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    const attention_backward_attributes *p = &r->node->attributes.attention_backward;
    shape Q = r->input_shape[0], K = r->input_shape[1], V = r->input_shape[2];
    if (!shape_count(r->node->shape) || !shape_count(Q) || !shape_count(K) || !shape_count(V))
        return KILN_OK;
    attention_backward *b = calloc(1, sizeof *b);
    if (!b)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    b->shape = (attention_backward_shape){.samples = Q.dim[0],
                                          .queries = Q.dim[1],
                                          .keys = K.dim[1],
                                          .heads = p->heads,
                                          .key_width = Q.dim[2] / p->heads,
                                          .value_width = V.dim[2] / p->heads,
                                          .causal = p->causal,
                                          .output_type = r->output_type};
    b->shape.scale = (float)(1 / sqrt((double)b->shape.key_width));
    for (int i = 0; i < 5; i++)
        b->shape.input_type[i] = r->input_type[i];
    for (int i = 0; i < 3; i++)
        b->wanted[i] = p->wanted[i];
    b->method = choose(&b->shape);
    *out = (kernel){.label = b->method->label,
                    .run = kernel_run,
                    .release = kernel_release,
                    .state = b,
                    .scratch_bytes = scratch_rounded(b->method->work_bytes(&b->shape)) * (size_t)r->threads,
                    .in_place = -1};
    if (b->method->takes_levels) {
        out->note_of = 1 + 3; /* y */
        out->note_bytes = (size_t)(b->shape.samples * b->shape.heads * b->shape.queries) * sizeof(float);
    }
    return KILN_OK;
}
