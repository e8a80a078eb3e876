/* linear.c - y = act(x w^T + b) + residual, by oneDNN. Rows of one sample and positions of a feature map
 * alike are rows.
 *
 * oneDNN's matrix product may split long sums between threads, which makes the result depend on their
 * number (seen from 2,048 channels on, with few rows). Its 1x1 convolution never does, and is the faster
 * one there; with short sums and many rows the matrix product is faster by a tenth to a third. So each is
 * used where it is good. Without AVX-512 any matrix product may, and all are convolutions. */
#include "backend/cpu/block.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"
#include "backend/cpu/weights.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

typedef struct linear {
    weighted_group group;
    bool bias, residual;
    dtype input_type, compute_type;
    int64_t input_count;
    size_t output_bytes, converted_bytes;
} linear;

static kiln_status linear_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const linear *l = k->state;
    const void *input = a->input[0];
    if (l->converted_bytes) {
        convert_activations(l->input_type, input, l->compute_type, a->scratch, l->input_count, a->threads);
        input = a->scratch;
    }
    if (l->residual && a->output != a->input[3])
        copy_activations(a->output, a->input[3], l->output_bytes, a->threads);
    product_arguments arguments = {.input = input,
                                   .weights = weighted_now(&l->group.part[0], a->input[1]),
                                   .bias = l->bias ? a->input[2] : NULL,
                                   .output = a->output,
                                   .scratch = (char *)a->scratch + l->converted_bytes};
    return product_run(l->group.part[0].product, &arguments, err);
}

static void linear_release(struct kernel *k)
{
    linear *l = k->state;
    if (l)
        weighted_group_free(&l->group);
    free(l);
}

bool linear_sum_may_split(int64_t rows, int64_t channels)
{
    return !products_have_blocks() || channels > 1280 || (channels >= 768 && rows < 1024);
}

kiln_status prepare_linear(const kernel_request *r, kernel *out, kiln_error *err)
{
    shape W = r->input_shape[1], X = r->input_shape[0];
    bool bias = r->node->input_count > 2 && r->node->input[2].index;
    bool residual = r->node->input_count > 3 && r->node->input[3].index;
    if ((bias && r->input_type[2] != DTYPE_F32) || !shape_count(r->node->shape) ||
        (residual && r->input_type[3] != r->output_type))
        return KILN_OK;
    int64_t rows = step_rows(X);
    const product_request request = {.convolution = linear_sum_may_split(rows, step_last(X)),
                                     .rows = rows,
                                     .batch = 1,
                                     .height = rows,
                                     .width = 1,
                                     .out_height = rows,
                                     .out_width = 1,
                                     .kernel_height = 1,
                                     .kernel_width = 1,
                                     .stride = 1,
                                     .in_channels = step_last(X),
                                     .out_channels = W.dim[0],
                                     .input_type = r->compute,
                                     .weight_type = r->compute,
                                     .output_type = r->output_type,
                                     .bias = bias,
                                     .residual = residual,
                                     .activation = r->node->attributes.linear.activation,
                                     .threads = r->threads};
    linear *l = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    kiln_status status = weighted_group_new(&request, 1, r, 1, NULL, &l->group, err);
    if (status != KILN_OK || !l->group.count) {
        free(l);
        return status;
    }
    l->bias = bias;
    l->residual = residual;
    l->input_type = r->input_type[0];
    l->compute_type = r->compute;
    l->input_count = shape_count(X);
    l->output_bytes = (size_t)shape_count(r->node->shape) * dtype_size(r->output_type);
    if (l->input_type != r->compute)
        l->converted_bytes = scratch_rounded((size_t)l->input_count * dtype_size(r->compute));
    *out = (kernel){.label = "onednn linear",
                    .run = linear_run,
                    .release = linear_release,
                    .state = l,
                    .scratch_bytes = l->converted_bytes + product_scratch_bytes(l->group.part[0].product),
                    .in_place = residual ? 3 : -1,
                    .packed = weighted_group_packed(&l->group, 1)};
    return KILN_OK;
}
