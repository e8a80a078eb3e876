/* linear_backward.c - the gradients of y = x w^T + b, by oneDNN:
 *
 *   by data     dx = dy w    a forward product with the weights transposed
 *   by weights  dw = dy^T x  in f32, whatever x and dy are
 */
#include "backend/cpu/products.h"
#include "backend/cpu/sliced_gradient.h"
#include "backend/cpu/step.h"
#include "backend/cpu/weights.h"
#include "backend/cpu/weights_gradient.h"

#include "base/error.h"

#include <stdlib.h>

typedef struct linear_backward {
    weighted_group group;       /* by data */
    weights_gradient *gradient; /* by weights, or: */
    sliced_gradient *sliced;
    dtype type[2], compute_type;
    int64_t count[2];
    size_t converted_bytes[2]; /* of the inputs that are activations */
} linear_backward;

/* Input k in the compute type. */
static const void *converted(const linear_backward *l, const kernel_arguments *a, int k, char **scratch)
{
    if (!l->converted_bytes[k])
        return a->input[k];
    void *to = *scratch;
    convert_activations(l->type[k], a->input[k], l->compute_type, to, l->count[k], a->threads);
    *scratch += l->converted_bytes[k];
    return to;
}

static kiln_status linear_backward_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    const linear_backward *l = k->state;
    char *scratch = a->scratch;
    product_arguments arguments = {.output = a->output};
    arguments.input = converted(l, a, 0, &scratch);
    arguments.weights =
        l->group.count ? weighted_now(&l->group.part[0], a->input[1]) : converted(l, a, 1, &scratch);
    arguments.scratch = scratch;
    if (l->gradient) {
        weights_gradient_run(l->gradient, arguments.input, arguments.weights, a->output, scratch, a->threads);
        return KILN_OK;
    }
    if (l->sliced)
        return sliced_gradient_run(l->sliced, arguments.input, arguments.weights, a->output, scratch,
                                   a->threads, err);
    return product_run(l->group.part[0].product, &arguments, err);
}

static void linear_backward_release(struct kernel *k)
{
    linear_backward *l = k->state;
    if (l) {
        weighted_group_free(&l->group);
        weights_gradient_free(l->gradient);
        sliced_gradient_free(l->sliced);
    }
    free(l);
}

static void note_input(linear_backward *l, const kernel_request *r, int k)
{
    l->type[k] = r->input_type[k];
    l->count[k] = shape_count(r->input_shape[k]);
    if (r->input_type[k] != r->compute)
        l->converted_bytes[k] = scratch_rounded((size_t)l->count[k] * dtype_size(r->compute));
}

static kiln_status make_products(linear_backward *l, const kernel_request *r, kiln_error *err)
{
    shape first = r->input_shape[0];
    product_request request = {.rows = step_rows(first),
                               .batch = 1,
                               .width = 1,
                               .out_width = 1,
                               .kernel_height = 1,
                               .kernel_width = 1,
                               .stride = 1,
                               .input_type = r->compute,
                               .weight_type = r->compute,
                               .output_type = r->output_type,
                               .threads = r->threads};
    request.height = request.out_height = request.rows;
    note_input(l, r, 0);
    if (r->node->op == OP_LINEAR_BACKWARD_DATA) {
        request.transposed = true;
        request.in_channels = step_last(first);
        request.out_channels = step_last(r->node->shape);
        request.convolution = linear_sum_may_split(request.rows, request.in_channels);
        return weighted_group_new(&request, 1, r, 1, NULL, &l->group, err);
    }
    request.kind = PRODUCT_WEIGHTS;
    request.in_channels = step_last(first);
    request.out_channels = step_last(r->input_shape[1]);
    note_input(l, r, 1);
    cpu_features features = cpu_features_detect();
    kiln_status status = weights_gradient_new(&request, 1, &features, &l->gradient, err);
    return status != KILN_OK || l->gradient ? status : sliced_gradient_new(&request, &l->sliced, err);
}

kiln_status prepare_linear_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool by_data = r->node->op == OP_LINEAR_BACKWARD_DATA;
    if (!shape_count(r->node->shape) || !shape_count(r->input_shape[0]) ||
        (!by_data && r->output_type != DTYPE_F32))
        return KILN_OK;
    linear_backward *l = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    l->compute_type = r->compute;
    kernel made = {.label = by_data ? "onednn linear by data" : "onednn linear by weights",
                   .run = linear_backward_run,
                   .release = linear_backward_release,
                   .state = l,
                   .in_place = -1};
    kiln_status status = make_products(l, r, err);
    const product *p = l->group.part[0].product;
    if (status != KILN_OK || (!p && !l->gradient && !l->sliced)) {
        linear_backward_release(&made);
        return status;
    }
    if (l->gradient)
        made.label = "amx linear by weights";
    made.scratch_bytes = l->converted_bytes[0] + l->converted_bytes[1] +
                         (l->gradient ? weights_gradient_scratch(l->gradient)
                          : l->sliced ? sliced_gradient_scratch(l->sliced)
                                      : product_scratch_bytes(p));
    made.packed = by_data ? weighted_group_packed(&l->group, 1) : 0;
    *out = made;
    return KILN_OK;
}
