/* conv2d.c - convolution by oneDNN, plain; where it enlarges first and conv2d_upsample.c declines (live weights, odd
 * kernels), the enlarged input is made in scratch, and so is one that is joined from several. conv2d_rows.c,
 * conv2d_upsample.c and conv2d_split.c are the other forms. */
#include "backend/cpu/conv2d.h"

#include "backend/cpu/conv2d_rows.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"
#include "backend/cpu/weights.h"

#include "base/error.h"

#include <stdlib.h>

typedef struct conv2d {
    weighted_group group;
    bool bias, residual, enlarge;
    dtype input_type, compute_type;
    shape input;
    size_t output_bytes, converted_bytes;
    int parts; /* joined after input 0 */
    shape part[OP_MAX_INPUTS];
    dtype part_type[OP_MAX_INPUTS];
} conv2d;

/* Input 0 and the parts, which are inputs 4 and on, next to each other. */
static void join_parts(const conv2d *c, const kernel_arguments *a)
{
    int64_t positions = c->input.dim[0] * c->input.dim[1] * c->input.dim[2], whole = c->input.dim[3];
    for (int p = 0; p < c->parts; p++)
        whole += c->part[p].dim[3];
#pragma omp parallel for schedule(static) num_threads(a->threads)
    for (int64_t i = 0; i < positions; i++) {
        int64_t C = c->input.dim[3], target = i * whole;
        move_activations(c->input_type, a->input[0], i * C, c->compute_type, a->scratch, target, C);
        for (int p = 0; p < c->parts; p++) {
            target += C;
            C = c->part[p].dim[3];
            move_activations(c->part_type[p], a->input[4 + p], i * C, c->compute_type, a->scratch, target, C);
        }
    }
}

static kiln_status conv2d_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const conv2d *c = k->state;
    const void *input = a->input[0];
    const int64_t *dim = c->input.dim;
    if (c->parts)
        join_parts(c, a);
    else if (c->enlarge)
        enlarge_activations(c->input_type, input, c->compute_type, a->scratch, dim[0] * dim[1], dim[2],
                            dim[3], a->threads);
    else if (c->converted_bytes)
        convert_activations(c->input_type, input, c->compute_type, a->scratch, shape_count(c->input),
                            a->threads);
    if (c->converted_bytes)
        input = a->scratch;
    if (c->residual && a->output != a->input[3])
        copy_activations(a->output, a->input[3], c->output_bytes, a->threads);
    product_arguments arguments = {.input = input,
                                   .weights = weighted_now(&c->group.part[0], a->input[1]),
                                   .bias = c->bias ? a->input[2] : NULL,
                                   .output = a->output,
                                   .scratch = (char *)a->scratch + c->converted_bytes};
    return product_run(c->group.part[0].product, &arguments, err);
}

static void conv2d_release(struct kernel *k)
{
    conv2d *c = k->state;
    if (c)
        weighted_group_free(&c->group);
    free(c);
}

product_request conv2d_sizes(const conv2d_attributes *p, shape X, shape W, shape Y, int threads)
{
    return (product_request){.convolution = true,
                             .batch = X.dim[0],
                             .height = X.dim[1],
                             .width = X.dim[2],
                             .out_height = Y.dim[1],
                             .out_width = Y.dim[2],
                             .in_channels = X.dim[3],
                             .out_channels = W.dim[0],
                             .kernel_height = W.dim[2],
                             .kernel_width = W.dim[3],
                             .stride = p->stride,
                             .pad_top = p->pad_top,
                             .pad_bottom = p->pad_bottom,
                             .pad_left = p->pad_left,
                             .pad_right = p->pad_right,
                             .threads = threads};
}

static product_request conv2d_product(const kernel_request *r)
{
    const conv2d_attributes *p = &r->node->attributes.conv2d;
    product_request request =
        conv2d_sizes(p, r->input_shape[0], r->input_shape[1], r->node->shape, r->threads);
    request.input_type = request.weight_type = r->compute;
    request.output_type = r->output_type;
    request.bias = r->node->input_count > 2 && r->node->input[2].index;
    request.residual = r->node->input_count > 3 && r->node->input[3].index;
    request.activation = p->activation;
    request.slope = p->slope;
    request.gain = p->gain;
    request.in_channels = r->input_shape[1].dim[1];
    return request;
}

static kiln_status prepare_plain(const kernel_request *r, const product_request *request, kernel *out,
                                 kiln_error *err)
{
    conv2d *c = calloc(1, sizeof *c);
    if (!c)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    kiln_status status = weighted_group_new(request, 1, r, 1, NULL, &c->group, err);
    if (status != KILN_OK || !c->group.count) {
        free(c);
        return status;
    }
    c->bias = request->bias;
    c->residual = request->residual;
    c->input_type = r->input_type[0];
    c->compute_type = r->compute;
    c->input = r->input_shape[0];
    c->enlarge = r->node->attributes.conv2d.upsample == 2;
    c->output_bytes = (size_t)shape_count(r->node->shape) * dtype_size(r->output_type);
    for (int k = 4; k < r->node->input_count; k++, c->parts++) {
        c->part[c->parts] = r->input_shape[k];
        c->part_type[c->parts] = r->input_type[k];
    }
    if (c->enlarge || c->parts || c->input_type != r->compute)
        c->converted_bytes = scratch_rounded(
            (size_t)(request->batch * request->height * request->width * request->in_channels) *
            dtype_size(r->compute));
    *out = (kernel){.label = "onednn conv2d",
                    .run = conv2d_run,
                    .release = conv2d_release,
                    .state = c,
                    .scratch_bytes = c->converted_bytes + product_scratch_bytes(c->group.part[0].product),
                    .in_place = request->residual ? 3 : -1,
                    .packed = weighted_group_packed(&c->group, 1)};
    return KILN_OK;
}

kiln_status prepare_conv2d(const kernel_request *r, kernel *out, kiln_error *err)
{
    product_request request = conv2d_product(r);
    if ((request.bias && r->input_type[2] != DTYPE_F32) || !shape_count(r->node->shape) ||
        (request.residual && r->input_type[3] != r->output_type))
        return KILN_OK;
    if (r->node->attributes.conv2d.upsample == 2) {
        kiln_status status = prepare_conv2d_upsample(r, &request, out, err);
        if (status != KILN_OK || out->run)
            return status;
        request.height *= 2;
        request.width *= 2;
        return prepare_plain(r, &request, out, err);
    }
    kiln_status status = prepare_conv2d_rows(r, &request, out, err);
    if (status != KILN_OK || out->run)
        return status;
    cpu_features features = cpu_features_detect();
    bool plain = r->node->input_count <= 4 && request.gain == 0;
    if (plain && conv2d_splits(&request, &features)) {
        status = prepare_conv2d_split(r, &request, out, err);
        if (status != KILN_OK || out->run)
            return status;
    }
    return prepare_plain(r, &request, out, err);
}
