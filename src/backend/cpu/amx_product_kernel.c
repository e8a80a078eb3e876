/* amx_product_kernel.c - convolutions, matrix products and their gradients by data as kernels of amx_product.h. Where a
 * convolution enlarged its input by 2, the gradient by data is that of the enlarged input, kept in f32 scratch, with the
 * four copies of a pixel added up. */
#include "backend/cpu/amx_product.h"
#include "backend/cpu/conv2d.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include "base/error.h"

#include <stdlib.h>

typedef struct amx_kernel {
    amx_product *product;
    bool bias, enlarged; /* the product's result is dx, enlarged */
    dtype output_type;
    shape output;
    size_t enlarged_bytes;
} amx_kernel;

static kiln_status amx_kernel_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const amx_kernel *m = k->state;
    const int64_t *dim = m->output.dim;
    amx_product_run(m->product, a->input[0], a->input[1], m->bias ? a->input[2] : NULL,
                    m->enlarged ? a->scratch : a->output, (char *)a->scratch + m->enlarged_bytes, a->threads);
    if (m->enlarged)
        sum_enlarged(DTYPE_F32, a->scratch, m->output_type, a->output, dim[0] * dim[1], dim[2], dim[3],
                     a->threads);
    return KILN_OK;
}

static void amx_kernel_release(struct kernel *k)
{
    amx_kernel *m = k->state;
    if (m)
        amx_product_free(m->product);
    free(m);
}

static product_request linear_request(const kernel_request *r, bool by_data)
{
    int64_t rows = step_rows(r->input_shape[0]);
    return (product_request){.rows = rows,
                             .batch = 1,
                             .in_channels = step_last(r->input_shape[0]),
                             .out_channels = step_last(r->node->shape),
                             .transposed = by_data,
                             .activation = by_data ? ACTIVATION_NONE : r->node->attributes.linear.activation};
}

static product_request conv2d_request(const kernel_request *r, bool by_data)
{
    const conv2d_attributes *p = &r->node->attributes.conv2d;
    shape X = by_data ? r->node->shape : r->input_shape[0], Y = by_data ? r->input_shape[0] : r->node->shape;
    product_request request = conv2d_sizes(p, X, r->input_shape[1], Y, r->threads);
    request.kind = by_data ? PRODUCT_DATA : PRODUCT_FORWARD;
    request.height *= p->upsample;
    request.width *= p->upsample;
    request.activation = p->activation;
    return request;
}

/* Weights that are neither frozen nor of the graph itself. */
static bool is_ours(const kernel_request *r)
{
    op_kind op = r->node->op;
    const node *n = r->node;
    bool bias = n->input_count > 2 && n->input[2].index, residual = n->input_count > 3 && n->input[3].index;
    if (op == OP_CONV2D && (n->input_count > 4 || n->attributes.conv2d.gain != 0))
        return false;
    return (op == OP_LINEAR || op == OP_CONV2D || op == OP_LINEAR_BACKWARD_DATA ||
            op == OP_CONV2D_BACKWARD_DATA) &&
           r->compute == DTYPE_BF16 && r->parameter[1] < 0 && r->input_type[1] == DTYPE_F32 && !residual &&
           (!bias || r->input_type[2] == DTYPE_F32) && shape_count(n->shape) &&
           shape_count(r->input_shape[0]);
}

kiln_status prepare_amx_product(const kernel_request *r, kernel *out, kiln_error *err)
{
    if (!is_ours(r))
        return KILN_OK;
    op_kind op = r->node->op;
    bool by_data = op == OP_LINEAR_BACKWARD_DATA || op == OP_CONV2D_BACKWARD_DATA;
    bool conv = op == OP_CONV2D || op == OP_CONV2D_BACKWARD_DATA;
    int upsample = conv ? r->node->attributes.conv2d.upsample : 1;
    amx_kernel *m = calloc(1, sizeof *m);
    if (!m)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    m->bias = !by_data && r->node->input_count > 2 && r->node->input[2].index;
    m->enlarged = by_data && upsample == 2;
    m->output_type = r->output_type;
    m->output = r->node->shape;
    if (m->enlarged)
        m->enlarged_bytes = scratch_rounded((size_t)shape_count(m->output) * 4 * sizeof(float));
    product_request request = conv ? conv2d_request(r, by_data) : linear_request(r, by_data);
    request.input_type = r->input_type[0];
    request.weight_type = r->compute;
    request.output_type = m->enlarged ? DTYPE_F32 : r->output_type;
    request.live = true;
    request.live_type = r->input_type[1];
    request.threads = r->threads;
    cpu_features features = cpu_features_detect();
    kiln_status status = amx_product_new(&request, by_data ? 1 : upsample, &features, &m->product, err);
    if (status != KILN_OK || !m->product) {
        free(m);
        return status;
    }
    *out = (kernel){.label = conv      ? by_data ? "amx conv2d by data" : "amx conv2d"
                             : by_data ? "amx linear by data"
                                       : "amx linear",
                    .run = amx_kernel_run,
                    .release = amx_kernel_release,
                    .state = m,
                    .scratch_bytes = m->enlarged_bytes + amx_product_scratch(m->product),
                    .in_place = -1};
    return KILN_OK;
}
