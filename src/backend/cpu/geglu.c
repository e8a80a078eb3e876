/* geglu.c - y = x[..., :C] * gelu(x[..., C:]) (Shazeer 2020). */
#include "backend/cpu/block.h"
#include "backend/cpu/hot_avx512.h"
#include "backend/cpu/step.h"

static kiln_status geglu_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    bool hot = s->features.avx512_bf16 && s->input_type[0] == DTYPE_BF16 && s->type == DTYPE_BF16;
    int64_t C = step_last(s->shape), rows = step_rows(s->shape), pieces = (C + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float x[BLOCK], gate[BLOCK];
        int64_t row = i / pieces, first = i % pieces * BLOCK, n = C - first < BLOCK ? C - first : BLOCK;
        if (hot) {
            const uint16_t *from = (const uint16_t *)a->input[0] + row * 2 * C + first;
            hot_geglu_bf16(from, from + C, (uint16_t *)a->output + row * C + first, n);
            continue;
        }
        block_load(s->input_type[0], a->input[0], row * 2 * C + first, n, x);
        block_load(s->input_type[0], a->input[0], row * 2 * C + C + first, n, gate);
        block_geglu(x, gate, n);
        block_store(s->type, a->output, row * C + first, n, x);
    }
    return KILN_OK;
}

kiln_status prepare_geglu(const kernel_request *r, kernel *out, kiln_error *err)
{
    return step_prepare(r, "vector geglu", geglu_run, -1, out, err);
}
