/* conv2d_split.c - convolution over many input channels, as a sum of convolutions over SLICE channels
 * each.
 *
 * With AMX, oneDNN's convolution loses half its speed or more when the weights of a block of outputs
 * outgrow the second-level cache (2,560 to 1,280 channels at 16x16: 700 GFLOP/s a core, in slices of 640:
 * 1,660). A slice of the input is copied to scratch (the copy is small beside 3x3 products); the sum grows
 * in f32, so nothing is rounded in between, and is rounded once with the residual. */
#include "backend/cpu/conv2d.h"

#include "backend/cpu/block.h"
#include "backend/cpu/products.h"
#include "backend/cpu/weights.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 640 };

typedef struct split {
    weighted_group slices;
    bool bias, residual;
    dtype input_type, output_type;
    int64_t positions, channels, output_count; /* positions of the input */
    size_t slice_bytes, sum_bytes;
} split;

typedef struct slice_weights {
    int64_t out_channels, in_channels, kernel;
} slice_weights;

static void take_slice(const void *self, int part, const float *from, float *to)
{
    const slice_weights *s = self;
    int64_t count = SLICE * s->kernel;
    for (int64_t o = 0; o < s->out_channels; o++)
        memcpy(to + o * count, from + (o * s->in_channels + (int64_t)part * SLICE) * s->kernel,
               (size_t)count * sizeof *to);
}

static void copy_slice(const split *s, const void *input, int64_t first, uint16_t *to, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < s->positions; i++) {
        float x[SLICE];
        block_load(s->input_type, input, i * s->channels + first, SLICE, x);
        block_store(DTYPE_BF16, to, i * SLICE, SLICE, x);
    }
}

static void round_sum(const split *s, const float *sum, const kernel_arguments *a)
{
    int64_t blocks = (s->output_count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(a->threads)
    for (int64_t i = 0; i < blocks; i++) {
        float x[BLOCK], y[BLOCK];
        int64_t n = s->output_count - i * BLOCK < BLOCK ? s->output_count - i * BLOCK : BLOCK;
        block_load(DTYPE_F32, sum, i * BLOCK, n, x);
        if (s->residual) {
            block_load(s->output_type, a->input[3], i * BLOCK, n, y);
            block_add(x, y, n);
        }
        block_store(s->output_type, a->output, i * BLOCK, n, x);
    }
}

static kiln_status split_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const split *s = k->state;
    uint16_t *slice = a->scratch;
    float *sum = (float *)(void *)((char *)a->scratch + s->slice_bytes);
    for (int i = 0; i < s->slices.count; i++) {
        copy_slice(s, a->input[0], (int64_t)i * SLICE, slice, a->threads);
        product_arguments arguments = {.input = slice,
                                       .weights = s->slices.part[i].weights,
                                       .bias = s->bias && i == 0 ? a->input[2] : NULL,
                                       .output = sum,
                                       .scratch = (char *)sum + s->sum_bytes};
        kiln_status status = product_run(s->slices.part[i].product, &arguments, err);
        if (status != KILN_OK)
            return status;
    }
    round_sum(s, sum, a);
    return KILN_OK;
}

static void split_release(struct kernel *k)
{
    split *s = k->state;
    if (s)
        weighted_group_free(&s->slices);
    free(s);
}

bool conv2d_splits(const product_request *p, const cpu_features *features)
{
    return features->amx_bf16 && p->weight_type == DTYPE_BF16 && p->kernel_height * p->kernel_width > 1 &&
           p->in_channels >= 2 * SLICE && p->in_channels % SLICE == 0 &&
           p->in_channels / SLICE <= MOST_PARTS && p->activation == ACTIVATION_NONE;
}

kiln_status prepare_conv2d_split(const kernel_request *r, const product_request *p, kernel *out,
                                 kiln_error *err)
{
    split *s = calloc(1, sizeof *s);
    if (!s)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    *s = (split){.bias = p->bias,
                 .residual = p->residual,
                 .input_type = r->input_type[0],
                 .output_type = r->output_type,
                 .positions = p->batch * p->height * p->width,
                 .channels = p->in_channels,
                 .output_count = shape_count(r->node->shape)};
    kernel made = {.label = "onednn conv2d in slices",
                   .run = split_run,
                   .release = split_release,
                   .state = s,
                   .in_place = p->residual ? 3 : -1,
                   .packed = 1u << 1};
    product_request slice[MOST_PARTS];
    int count = (int)(p->in_channels / SLICE);
    for (int i = 0; i < count; i++) {
        slice[i] = *p;
        slice[i].in_channels = SLICE;
        slice[i].input_type = DTYPE_BF16;
        slice[i].output_type = DTYPE_F32;
        slice[i].bias = p->bias && i == 0;
        slice[i].residual = i > 0;
    }
    const slice_weights weights = {p->out_channels, p->in_channels, p->kernel_height * p->kernel_width};
    const weight_change change = {take_slice, &weights, p->out_channels * SLICE * weights.kernel, 's'};
    kiln_status status = weighted_group_new(slice, count, r, 1, &change, &s->slices, err);
    if (status != KILN_OK || !s->slices.count) {
        split_release(&made);
        return status;
    }
    size_t scratch = 0;
    for (int i = 0; i < count; i++) {
        size_t bytes = product_scratch_bytes(s->slices.part[i].product);
        scratch = bytes > scratch ? bytes : scratch;
    }
    s->slice_bytes = scratch_rounded((size_t)(s->positions * SLICE) * sizeof(uint16_t));
    s->sum_bytes = scratch_rounded((size_t)s->output_count * sizeof(float));
    made.scratch_bytes = s->slice_bytes + s->sum_bytes + scratch;
    *out = made;
    return KILN_OK;
}
