/* onednn_describe.c - requests in oneDNN's words: operation descriptors, attributes, memory layouts.
 *
 * Activations are channels-last as given; weights take whatever layout the library likes best ("any"). The gradient by
 * weights of a matrix product is the product dy^T x, whose result is already in the file's layout. */
#include "backend/cpu/onednn_product.h"

static dnnl_data_type_t data_type(dtype type)
{
    return type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_status_t append_activation(dnnl_post_ops_t ops, activation_kind kind, float slope)
{
    switch (kind) {
    case ACTIVATION_NONE:
        return dnnl_success;
    case ACTIVATION_SILU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1, 0);
    case ACTIVATION_QUICK_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1.702f, 0);
    case ACTIVATION_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
    case ACTIVATION_GELU_TANH:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_tanh, 0, 0);
    case ACTIVATION_RELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    case ACTIVATION_LEAKY_RELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, slope, 0);
    case ACTIVATION_SIGMOID:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_logistic, 0, 0);
    case ACTIVATION_TANH:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_tanh, 0, 0);
    case ACTIVATION_MISH:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_mish, 0, 0);
    default:
        break;
    }
    return dnnl_unimplemented;
}

static dnnl_status_t make_attributes(const product_request *r, dnnl_primitive_attr_t *attributes)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success)
        status = append_activation(ops, r->activation, r->slope);
    if (status == dnnl_success && r->gain != 0)
        status = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_linear, r->gain, 0);
    if (status == dnnl_success && r->residual)
        status = dnnl_post_ops_append_sum(ops, 1);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attributes, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

/* The descriptors of a convolution's x, w and y. */
typedef struct convolution_layouts {
    dnnl_memory_desc_t x, w, y;
    dnnl_dims_t strides, before, after;
} convolution_layouts;

static dnnl_status_t lay_out(const product *p, dtype x_type, dtype w_type, dtype y_type,
                             convolution_layouts *l)
{
    const product_request *r = &p->request;
    dnnl_dims_t x = {r->batch, r->in_channels, r->height, r->width};
    dnnl_dims_t w = {r->out_channels, r->in_channels, r->kernel_height, r->kernel_width};
    dnnl_dims_t y = {r->batch, r->out_channels, r->out_height, r->out_width};
    l->strides[0] = l->strides[1] = r->stride;
    l->before[0] = r->pad_top;
    l->before[1] = r->pad_left;
    l->after[0] = r->pad_bottom;
    l->after[1] = r->pad_right;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&l->x, 4, x, data_type(x_type), dnnl_nhwc);
    status =
        status ? status : dnnl_memory_desc_init_by_tag(&l->w, 4, w, data_type(w_type), dnnl_format_tag_any);
    return status ? status : dnnl_memory_desc_init_by_tag(&l->y, 4, y, data_type(y_type), dnnl_nhwc);
}

static dnnl_status_t file_layout(product *p)
{
    const product_request *r = &p->request;
    dnnl_data_type_t type = r->live ? data_type(r->live_type) : dnnl_f32;
    if (r->convolution) {
        dnnl_dims_t w = {r->out_channels, r->in_channels, r->kernel_height, r->kernel_width};
        return dnnl_memory_desc_init_by_tag(&p->file, 4, w, type, r->transposed ? dnnl_iohw : dnnl_oihw);
    }
    dnnl_dims_t w = {r->in_channels, r->out_channels};
    return dnnl_memory_desc_init_by_tag(&p->file, 2, w, type, r->transposed ? dnnl_ab : dnnl_ba);
}

static dnnl_status_t describe_convolution(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    convolution_layouts l;
    dnnl_dims_t b = {r->out_channels};
    dnnl_convolution_desc_t d;
    dnnl_status_t status = lay_out(p, r->input_type, r->weight_type, r->output_type, &l);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->bias, 1, b, dnnl_f32, dnnl_a);
    p->input = l.x;
    p->output = l.y;
    status = status ? status
                    : dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct,
                                                         &l.x, &l.w, r->bias ? &p->bias : NULL, &l.y,
                                                         l.strides, l.before, l.after);
    return status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, NULL);
}

/* A backward primitive is chosen with the forward one as a hint. */
static dnnl_status_t forward_hint(const product *p, dnnl_primitive_desc_t *hint)
{
    const product_request *r = &p->request;
    dtype type = r->weight_type;
    convolution_layouts l;
    dnnl_convolution_desc_t d;
    dnnl_status_t status = lay_out(p, type, type, type, &l);
    status = status
                 ? status
                 : dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, dnnl_convolution_direct,
                                                      &l.x, &l.w, NULL, &l.y, l.strides, l.before, l.after);
    return status ? status : dnnl_primitive_desc_create(hint, &d, NULL, p->engine, NULL);
}

static dnnl_status_t describe_by_data(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    convolution_layouts l;
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = lay_out(p, r->output_type, r->weight_type, r->input_type, &l);
    p->input = l.y;
    p->output = l.x;
    status = status ? status : forward_hint(p, &hint);
    status = status ? status
                    : dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &l.x, &l.w, &l.y,
                                                               l.strides, l.before, l.after);
    status = status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, hint);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

static dnnl_status_t describe_by_weights(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    convolution_layouts l;
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = lay_out(p, r->input_type, DTYPE_F32, r->weight_type, &l);
    p->input = l.x;
    p->weights = l.y;
    status = status ? status : forward_hint(p, &hint);
    status = status ? status
                    : dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &l.x, &l.w,
                                                                  NULL, &l.y, l.strides, l.before, l.after);
    status = status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, hint);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

static dnnl_status_t describe_matmul(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    dnnl_dims_t x = {r->rows, r->in_channels}, w = {r->in_channels, r->out_channels},
                y = {r->rows, r->out_channels};
    dnnl_dims_t b = {1, r->out_channels};
    dnnl_matmul_desc_t d;
    dnnl_memory_desc_t any;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&p->input, 2, x, data_type(r->input_type), dnnl_ab);
    status = status
                 ? status
                 : dnnl_memory_desc_init_by_tag(&any, 2, w, data_type(r->weight_type), dnnl_format_tag_any);
    status =
        status ? status : dnnl_memory_desc_init_by_tag(&p->output, 2, y, data_type(r->output_type), dnnl_ab);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->bias, 2, b, dnnl_f32, dnnl_ab);
    status =
        status ? status : dnnl_matmul_desc_init(&d, &p->input, &any, r->bias ? &p->bias : NULL, &p->output);
    return status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, NULL);
}

/* dw [out,in] = dy^T [out,rows] * x [rows,in]: here x is the right operand. */
static dnnl_status_t describe_matmul_by_weights(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    dnnl_dims_t left = {r->out_channels, r->rows}, right = {r->rows, r->in_channels},
                made = {r->out_channels, r->in_channels};
    dnnl_matmul_desc_t d;
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&p->weights, 2, left, data_type(r->weight_type), dnnl_ba);
    status = status ? status
                    : dnnl_memory_desc_init_by_tag(&p->input, 2, right, data_type(r->input_type), dnnl_ab);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->made, 2, made, dnnl_f32, dnnl_ab);
    p->file = p->made;
    status = status ? status : dnnl_matmul_desc_init(&d, &p->weights, &p->input, NULL, &p->made);
    return status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, NULL);
}

static dnnl_status_t describe_kind(product *p, dnnl_primitive_attr_t attributes)
{
    bool convolution = p->request.convolution;
    switch (p->request.kind) {
    case PRODUCT_FORWARD:
        p->input_role = DNNL_ARG_SRC;
        p->weights_role = DNNL_ARG_WEIGHTS;
        p->output_role = DNNL_ARG_DST;
        return convolution ? describe_convolution(p, attributes) : describe_matmul(p, attributes);
    case PRODUCT_DATA:
        p->input_role = DNNL_ARG_DIFF_DST;
        p->weights_role = DNNL_ARG_WEIGHTS;
        p->output_role = DNNL_ARG_DIFF_SRC;
        return convolution ? describe_by_data(p, attributes) : dnnl_unimplemented;
    case PRODUCT_WEIGHTS:
        p->input_role = convolution ? DNNL_ARG_SRC : DNNL_ARG_WEIGHTS;
        p->weights_role = convolution ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC;
        p->output_role = convolution ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_DST;
        return convolution ? describe_by_weights(p, attributes) : describe_matmul_by_weights(p, attributes);
    }
    return dnnl_unimplemented;
}

dnnl_status_t product_describe(product *p)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_status_t status = make_attributes(&p->request, &attributes);
    status = status ? status : file_layout(p);
    status = status ? status : describe_kind(p, attributes);
    dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return status;
    if (p->request.kind != PRODUCT_WEIGHTS)
        p->weights = *dnnl_primitive_desc_query_md(p->description, dnnl_query_weights_md, 0);
    else {
        if (p->request.convolution)
            p->made = *dnnl_primitive_desc_query_md(p->description, dnnl_query_diff_weights_md, 0);
        p->output = p->file;
    }
    p->scratch = *dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0);
    return dnnl_success;
}
