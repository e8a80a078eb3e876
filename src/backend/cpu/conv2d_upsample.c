/* conv2d_upsample.c - nearest enlargement by 2 followed by a 3x3 convolution, as four 2x2 convolutions.
 *
 * Each 2x2 block of outputs sees only 2x2 small pixels: output row 2i+a needs rows i-1, i (a = 0) or i,
 * i+1 (a = 1), because two of the three kernel rows fall on the same small row and their weights add up;
 * the same for columns. That is 16 products in place of 36, and the enlarged image never exists. The work
 * goes by bands of rows that fit the second-level cache: a band of the input with one row of border is
 * copied to scratch, four phases are computed from it, and their pixels are interleaved into the output. */
#include "backend/cpu/conv2d.h"

#include "backend/cpu/block.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"
#include "backend/cpu/weights.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { BAND_BYTES = 1 << 20 };

typedef struct upsampling {
    weighted_group phases; /* 2 * row parity + column parity */
    bool bias, residual;
    dtype input_type, compute_type, output_type;
    int64_t batch, height, width, in_channels, out_channels, band;
    size_t input_bytes, output_bytes; /* of a band with its border; of one phase of a band */
} upsampling;

typedef struct phase_weights {
    int64_t out_channels, in_channels;
} phase_weights;

/* Kernel row i of 3 falls on row (i + parity + 1) / 2 - parity of the 2x2 kernel. */
static void sum_phase(const void *self, int part, const float *from, float *to)
{
    const phase_weights *p = self;
    int row_parity = part / 2, column_parity = part % 2;
    for (int64_t k = 0; k < p->out_channels * p->in_channels; k++) {
        double sum[4] = {0};
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                int row = (i + row_parity + 1) / 2 - row_parity,
                    column = (j + column_parity + 1) / 2 - column_parity;
                sum[2 * row + column] += (double)from[9 * k + 3 * i + j];
            }
        for (int i = 0; i < 4; i++)
            to[4 * k + i] = (float)sum[i];
    }
}

/* Rows first-1 .. first+band of one image, zeros outside, in the compute type. */
static void copy_band(const upsampling *u, const void *image, int64_t first, void *to)
{
    int64_t row = u->width * u->in_channels;
    size_t row_bytes = (size_t)row * dtype_size(u->compute_type);
    float x[BLOCK];
    for (int64_t i = 0; i < u->band + 2; i++) {
        int64_t h = first + i - 1;
        char *target = (char *)to + (size_t)i * row_bytes;
        if (h < 0 || h >= u->height)
            memset(target, 0, row_bytes);
        else if (u->input_type == u->compute_type)
            memcpy(target, (const char *)image + (size_t)h * row_bytes, row_bytes);
        else
            for (int64_t k = 0; k < row; k += BLOCK) {
                int64_t n = row - k < BLOCK ? row - k : BLOCK;
                block_load(u->input_type, image, h * row + k, n, x);
                block_store(u->compute_type, target, k, n, x);
            }
    }
}

/* Put the four phases of a band at their places; add what lies in the residual, if any. */
static void interleave(const upsampling *u, const char *phases, char *image, const char *residual,
                       int64_t first, int threads)
{
    size_t size = dtype_size(u->output_type), pixel = (size_t)u->out_channels * size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < 2 * u->band; i++) {
        const char *source = phases + (size_t)(i % 2) * 2 * u->output_bytes;
        size_t to = (size_t)(2 * first + i) * 2 * (size_t)u->width * pixel;
        for (int64_t w = 0; w < 2 * u->width; w++, to += pixel) {
            const char *from = source + (size_t)(w % 2) * u->output_bytes +
                               ((size_t)(i / 2) * (size_t)u->width + (size_t)w / 2) * pixel;
            if (!residual) {
                memcpy(image + to, from, pixel);
                continue;
            }
            float x[BLOCK], y[BLOCK];
            for (int64_t c = 0; c < u->out_channels; c += BLOCK) {
                int64_t n = u->out_channels - c < BLOCK ? u->out_channels - c : BLOCK;
                block_load(u->output_type, from, c, n, x);
                block_load(u->output_type, residual + to, c, n, y);
                block_add(x, y, n);
                block_store(u->output_type, image + to, c, n, x);
            }
        }
    }
}

static kiln_status run_band(const upsampling *u, const kernel_arguments *a, int64_t image, int64_t first,
                            kiln_error *err)
{
    char *band = a->scratch, *phases = band + u->input_bytes, *scratch = phases + 4 * u->output_bytes;
    size_t in_image = (size_t)(u->height * u->width * u->in_channels) * dtype_size(u->input_type);
    size_t out_image = (size_t)(4 * u->height * u->width * u->out_channels) * dtype_size(u->output_type);
    copy_band(u, (const char *)a->input[0] + (size_t)image * in_image, first, band);
    size_t row_bytes = (size_t)(u->width * u->in_channels) * dtype_size(u->compute_type);
    for (int i = 0; i < 4; i++) {
        product_arguments arguments = {.input = band + (size_t)(i / 2) * row_bytes,
                                       .weights = u->phases.part[i].weights,
                                       .bias = u->bias ? a->input[2] : NULL,
                                       .output = phases + (size_t)i * u->output_bytes,
                                       .scratch = scratch};
        kiln_status status = product_run(u->phases.part[i].product, &arguments, err);
        if (status != KILN_OK)
            return status;
    }
    size_t start = (size_t)image * out_image;
    interleave(u, phases, (char *)a->output + start, u->residual ? (const char *)a->input[3] + start : NULL,
               first, a->threads);
    return KILN_OK;
}

static kiln_status upsampling_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const upsampling *u = k->state;
    kiln_status status = KILN_OK;
    for (int64_t n = 0; n < u->batch; n++)
        for (int64_t first = 0; first < u->height && status == KILN_OK; first += u->band) {
            /* The last band moves up to be whole: some rows are computed twice, to the same values (which
             * is why a residual must not share memory with the output: in_place is -1). */
            int64_t start = first + u->band > u->height ? u->height - u->band : first;
            status = run_band(u, a, n, start, err);
        }
    return status;
}

static void upsampling_release(struct kernel *k)
{
    upsampling *u = k->state;
    if (u)
        weighted_group_free(&u->phases);
    free(u);
}

static kiln_status make_phases(upsampling *u, const kernel_request *r, const product_request *request,
                               kiln_error *err)
{
    product_request phase[4];
    for (int i = 0; i < 4; i++) {
        phase[i] = *request;
        phase[i].batch = 1;
        phase[i].height = u->band + 1;
        phase[i].out_height = u->band;
        phase[i].out_width = u->width;
        phase[i].kernel_height = phase[i].kernel_width = 2;
        phase[i].pad_top = phase[i].pad_bottom = 0;
        phase[i].pad_left = 1 - i % 2;
        phase[i].pad_right = i % 2;
        phase[i].residual = false;
    }
    const phase_weights weights = {u->out_channels, u->in_channels};
    const weight_change change = {sum_phase, &weights, u->out_channels * u->in_channels * 4, 'u'};
    return weighted_group_new(phase, 4, r, 1, &change, &u->phases, err);
}

kiln_status prepare_conv2d_upsample(const kernel_request *r, const product_request *p, kernel *out,
                                    kiln_error *err)
{
    if (p->kernel_height != 3 || p->kernel_width != 3 || p->stride != 1 || p->pad_top != 1 ||
        p->pad_bottom != 1 || p->pad_left != 1 || p->pad_right != 1)
        return KILN_OK;
    upsampling *u = calloc(1, sizeof *u);
    if (!u)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    *u = (upsampling){.bias = p->bias,
                      .residual = p->residual,
                      .input_type = r->input_type[0],
                      .compute_type = r->compute,
                      .output_type = r->output_type,
                      .batch = p->batch,
                      .height = p->height,
                      .width = p->width,
                      .in_channels = p->in_channels,
                      .out_channels = p->out_channels};
    int64_t row_bytes = u->width * u->out_channels * (int64_t)dtype_size(u->output_type);
    u->band = BAND_BYTES / row_bytes < 1           ? 1
              : BAND_BYTES / row_bytes > u->height ? u->height
                                                   : BAND_BYTES / row_bytes;
    u->input_bytes =
        scratch_rounded((size_t)((u->band + 2) * u->width * u->in_channels) * dtype_size(r->compute));
    u->output_bytes = scratch_rounded((size_t)(u->band * row_bytes));
    kernel made = {.label = "onednn conv2d enlarging",
                   .run = upsampling_run,
                   .release = upsampling_release,
                   .state = u,
                   .in_place = -1,
                   .packed = 1u << 1};
    kiln_status status = make_phases(u, r, p, err);
    if (status != KILN_OK || !u->phases.count) {
        upsampling_release(&made);
        return status;
    }
    size_t scratch = 0;
    for (int i = 0; i < 4; i++) {
        size_t bytes = product_scratch_bytes(u->phases.part[i].product);
        scratch = bytes > scratch ? bytes : scratch;
    }
    made.scratch_bytes = u->input_bytes + 4 * u->output_bytes + scratch;
    *out = made;
    return KILN_OK;
}
