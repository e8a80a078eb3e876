/* depthwise.c - convolution of every channel by a kernel of its own: a row of the result is a sum of rows of x, each
 * multiplied channel by channel. */
#include "backend/cpu/block.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

enum { PIECE = 512 }; /* channels at a time */

CLONES static void add_products(float *restrict sum, const float *restrict x, const float *restrict w,
                                int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i] * w[i];
}

/* Weights as [tap][channel]. */
static void transpose_weights(const float *w, int64_t channels, int64_t taps, float *to)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t++)
            to[t * channels + c] = w[c * taps + t];
}

typedef struct depthwise_row {
    const step *step;
    const kernel_arguments *arguments;
    const float *weights;
    int64_t k;
} depthwise_row;

/* One pixel's channels first .. first+n-1; `row` counts rows of all samples. */
static void one_pixel(const depthwise_row *d, int64_t row, int64_t column, int64_t first, int64_t n)
{
    const step *s = d->step;
    int64_t H = s->shape.dim[1], W = s->shape.dim[2], C = s->shape.dim[3], p = (d->k - 1) / 2, h = row % H;
    float sum[PIECE] = {0}, x[PIECE];
    if (s->input_count > 2 && d->arguments->input[2])
        block_load(DTYPE_F32, d->arguments->input[2], first, n, sum);
    for (int64_t i = 0; i < d->k; i++)
        for (int64_t j = 0; j < d->k; j++) {
            int64_t y = h + i - p, z = column + j - p;
            if (y < 0 || y >= H || z < 0 || z >= W)
                continue;
            int64_t from = ((row + i - p) * W + z) * C + first;
            const float *tap = d->weights + (i * d->k + j) * C + first;
            if (s->input_type[0] == DTYPE_F32) {
                add_products(sum, (const float *)d->arguments->input[0] + from, tap, n);
                continue;
            }
            block_load(s->input_type[0], d->arguments->input[0], from, n, x);
            add_products(sum, x, tap, n);
        }
    block_store(s->type, d->arguments->output, (row * W + column) * C + first, n, sum);
}

static kiln_status depthwise_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t side = s->input_shape[1].dim[2], C = s->shape.dim[3], rows = s->shape.dim[0] * s->shape.dim[1];
    transpose_weights(a->input[1], C, side * side, a->scratch);
    depthwise_row d = {s, a, a->scratch, side};
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 4)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < s->shape.dim[2]; column++)
            for (int64_t first = 0; first < C; first += PIECE)
                one_pixel(&d, row, column, first, C - first < PIECE ? C - first : PIECE);
    return KILN_OK;
}

kiln_status prepare_depthwise(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool bias = r->node->input_count > 2 && r->node->input[2].index;
    if (r->input_type[1] != DTYPE_F32 || (bias && r->input_type[2] != DTYPE_F32))
        return KILN_OK;
    kiln_status status = step_prepare(r, "vector depthwise conv2d", depthwise_run, -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = sizeof(float) * (size_t)shape_count(r->input_shape[1]);
    return status;
}
