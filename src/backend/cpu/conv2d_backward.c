/* conv2d_backward.c - the gradients of a convolution, by oneDNN. Where the convolution enlarged its input by 2, the
 * gradient by data is that of the enlarged input, kept in f32 scratch, with the four copies of a pixel added up; the
 * gradient by weights enlarges x again.
 */
#include "backend/cpu/conv2d.h"

#include "backend/cpu/products.h"
#include "backend/cpu/sliced_gradient.h"
#include "backend/cpu/step.h"
#include "backend/cpu/weights.h"
#include "backend/cpu/weights_gradient.h"

#include "base/error.h"

#include <stdlib.h>

typedef struct conv2d_backward {
    weighted_group group;       /* by data */
    weights_gradient *gradient; /* by weights, or: */
    sliced_gradient *sliced;
    dtype type[2], compute_type, output_type;
    shape input[2], output;
    bool enlarge;
    size_t converted_bytes[2]; /* of the inputs that are activations, where they are converted or enlarged */
    size_t enlarged_bytes;     /* of the enlarged dx */
} conv2d_backward;

static const void *converted(const conv2d_backward *c, const kernel_arguments *a, int k, bool enlarge,
                             char **scratch)
{
    if (!c->converted_bytes[k])
        return a->input[k];
    void *to = *scratch;
    const int64_t *dim = c->input[k].dim;
    if (enlarge)
        enlarge_activations(c->type[k], a->input[k], c->compute_type, to, dim[0] * dim[1], dim[2], dim[3],
                            a->threads);
    else
        convert_activations(c->type[k], a->input[k], c->compute_type, to, shape_count(c->input[k]),
                            a->threads);
    *scratch += c->converted_bytes[k];
    return to;
}

static kiln_status by_data_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const conv2d_backward *c = k->state;
    char *scratch = a->scratch;
    product_arguments arguments = {.weights = weighted_now(&c->group.part[0], a->input[1]),
                                   .output = a->output};
    arguments.input = converted(c, a, 0, false, &scratch);
    if (c->enlarge)
        arguments.output = scratch;
    arguments.scratch = scratch + c->enlarged_bytes;
    kiln_status status = product_run(c->group.part[0].product, &arguments, err);
    const int64_t *dim = c->output.dim;
    if (status == KILN_OK && c->enlarge)
        sum_enlarged(DTYPE_F32, scratch, c->output_type, a->output, dim[0] * dim[1], dim[2], dim[3],
                     a->threads);
    return status;
}

static kiln_status by_weights_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const conv2d_backward *c = k->state;
    char *scratch = a->scratch;
    product_arguments arguments = {.output = a->output};
    arguments.input = converted(c, a, 0, c->enlarge && !c->gradient, &scratch);
    arguments.weights = converted(c, a, 1, false, &scratch);
    if (c->gradient) {
        weights_gradient_run(c->gradient, arguments.input, arguments.weights, a->output, scratch, a->threads);
        return KILN_OK;
    }
    return sliced_gradient_run(c->sliced, arguments.input, arguments.weights, a->output, scratch, a->threads,
                               err);
}

static void conv2d_backward_release(struct kernel *k)
{
    conv2d_backward *c = k->state;
    if (c) {
        weighted_group_free(&c->group);
        weights_gradient_free(c->gradient);
        sliced_gradient_free(c->sliced);
    }
    free(c);
}

static void note_input(conv2d_backward *c, const kernel_request *r, int k, bool enlarge)
{
    c->type[k] = r->input_type[k];
    c->input[k] = r->input_shape[k];
    if (enlarge || r->input_type[k] != r->compute)
        c->converted_bytes[k] =
            scratch_rounded((size_t)shape_count(c->input[k]) * (enlarge ? 4 : 1) * dtype_size(r->compute));
}

static kiln_status make_products(conv2d_backward *c, const kernel_request *r, kiln_error *err)
{
    const conv2d_attributes *p = &r->node->attributes.conv2d;
    bool by_data = r->node->op == OP_CONV2D_BACKWARD_DATA;
    shape X = by_data ? r->node->shape : r->input_shape[0];
    shape W = by_data ? r->input_shape[1] : r->node->shape;
    shape Y = by_data ? r->input_shape[0] : r->input_shape[1];
    product_request request = conv2d_sizes(p, X, W, Y, r->threads);
    request.kind = by_data ? PRODUCT_DATA : PRODUCT_WEIGHTS;
    request.input_type = request.weight_type = r->compute;
    request.output_type = c->enlarge ? DTYPE_F32 : r->output_type;
    request.height *= p->upsample;
    request.width *= p->upsample;
    if (by_data) {
        note_input(c, r, 0, false);
        if (c->enlarge)
            c->enlarged_bytes = scratch_rounded((size_t)shape_count(X) * 4 * sizeof(float));
        return weighted_group_new(&request, 1, r, 1, NULL, &c->group, err);
    }
    cpu_features features = cpu_features_detect();
    kiln_status status = weights_gradient_new(&request, p->upsample, &features, &c->gradient, err);
    note_input(c, r, 0, c->enlarge && !c->gradient);
    note_input(c, r, 1, false);
    return status != KILN_OK || c->gradient ? status : sliced_gradient_new(&request, &c->sliced, err);
}

kiln_status prepare_conv2d_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool by_data = r->node->op == OP_CONV2D_BACKWARD_DATA;
    if (!shape_count(r->node->shape) || !shape_count(r->input_shape[0]) || !shape_count(r->input_shape[1]) ||
        (!by_data && r->output_type != DTYPE_F32))
        return KILN_OK;
    conv2d_backward *c = calloc(1, sizeof *c);
    if (!c)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    c->compute_type = r->compute;
    c->output_type = r->output_type;
    c->output = r->node->shape;
    c->enlarge = r->node->attributes.conv2d.upsample == 2;
    kernel made = {.label = by_data ? "onednn conv2d by data" : "onednn conv2d by weights",
                   .run = by_data ? by_data_run : by_weights_run,
                   .release = conv2d_backward_release,
                   .state = c,
                   .in_place = -1};
    kiln_status status = make_products(c, r, err);
    const product *p = c->group.part[0].product;
    if (status != KILN_OK || (!p && !c->gradient && !c->sliced)) {
        conv2d_backward_release(&made);
        return status;
    }
    if (c->gradient)
        made.label = "amx conv2d by weights";
    made.scratch_bytes = c->converted_bytes[0] + c->converted_bytes[1] + c->enlarged_bytes +
                         (c->gradient ? weights_gradient_scratch(c->gradient)
                          : c->sliced ? sliced_gradient_scratch(c->sliced)
                                      : product_scratch_bytes(p));
    made.packed = by_data ? weighted_group_packed(&c->group, 1) : 0;
    *out = made;
    return KILN_OK;
}
