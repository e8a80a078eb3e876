/* permute.c - axes in another order. Axes that stay neighbours are joined first, so that a shuffle of pixels is a walk
 * over few of them; a last axis that stays last is copied in runs. */
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include <stdlib.h>

typedef struct permutation {
    int rank;
    int64_t dim[SHAPE_MAX_RANK], stride[SHAPE_MAX_RANK]; /* of the result; strides in x */
} permutation;

static permutation simplify(shape X, const int *axis)
{
    permutation p = {0};
    for (int i = 0; i < X.rank; i++) {
        int64_t stride = 1, dim = X.dim[axis[i]];
        for (int k = axis[i] + 1; k < X.rank; k++)
            stride *= X.dim[k];
        if (dim == 1)
            continue;
        if (p.rank && p.stride[p.rank - 1] == stride * dim) {
            p.dim[p.rank - 1] *= dim;
            p.stride[p.rank - 1] = stride;
        } else {
            p.dim[p.rank] = dim;
            p.stride[p.rank++] = stride;
        }
    }
    return p;
}

/* Where row `row` of the result (all but its last axis) begins in x. */
static int64_t row_start(const permutation *p, int64_t row)
{
    int64_t from = 0;
    for (int i = p->rank - 2; i >= 0; i--) {
        from += row % p->dim[i] * p->stride[i];
        row /= p->dim[i];
    }
    return from;
}

static void gather16(const uint16_t *from, int64_t stride, uint16_t *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = from[i * stride];
}

static void gather32(const float *from, int64_t stride, float *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = from[i * stride];
}

static kiln_status permute_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    permutation p = simplify(s->input_shape[0], s->attributes.permute.axis);
    if (!p.rank)
        p = (permutation){.rank = 1, .dim = {shape_count(s->shape)}, .stride = {1}};
    int64_t n = p.dim[p.rank - 1], stride = p.stride[p.rank - 1], rows = n ? shape_count(s->shape) / n : 0;
    bool same = s->input_type[0] == s->type;
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 64)
    for (int64_t row = 0; row < rows; row++) {
        int64_t from = row_start(&p, row);
        if (stride == 1)
            move_activations(s->input_type[0], a->input[0], from, s->type, a->output, row * n, n);
        else if (same && s->type == DTYPE_F32)
            gather32((const float *)a->input[0] + from, stride, (float *)a->output + row * n, n);
        else if (same)
            gather16((const uint16_t *)a->input[0] + from, stride, (uint16_t *)a->output + row * n, n);
        else
            for (int64_t i = 0; i < n; i++)
                move_activations(s->input_type[0], a->input[0], from + i * stride, s->type, a->output,
                                 row * n + i, 1);
    }
    return KILN_OK;
}

kiln_status prepare_permute(const kernel_request *r, kernel *out, kiln_error *err)
{
    return step_prepare(r, "permute", permute_run, -1, out, err);
}
