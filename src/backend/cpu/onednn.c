/* onednn.c - see onednn.h.
 *
 * Primitives are made with a user scratchpad, which makes one primitive safe for several threads at once.
 * The objects that an execution binds (a stream and memory objects around the caller's pointers) form a
 * `binding`; a product keeps one spare, so that a run allocates only when two threads run the same product
 * at the same moment.
 *
 * The number of threads is OpenMP's setting of the calling thread; it is set around every call, because
 * oneDNN plans its work for the number that it sees at creation. */
#include "backend/cpu/onednn.h"

#include "base/error.h"

#include <oneapi/dnnl/dnnl.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct binding {
    dnnl_stream_t stream;
    dnnl_memory_t input, weights, bias, output, scratch;
    const void *bound_weights;
} binding;

struct product {
    product_request request;
    dnnl_engine_t engine;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t input, weights, file_weights, bias, output, scratch;
    _Atomic(binding *) spare;
};

static kiln_status refused(kiln_error *err, const char *what, dnnl_status_t status)
{
    return fail(err, status == dnnl_out_of_memory ? KILN_NO_MEMORY : KILN_INTERNAL,
                "oneDNN cannot %s (status %d)", what, (int)status);
}

static int set_threads(int threads)
{
#ifdef _OPENMP
    int before = omp_get_max_threads();
    if (before != threads)
        omp_set_num_threads(threads);
    return before;
#else
    return threads;
#endif
}

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
    case ACTIVATION_COUNT:
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
    if (status == dnnl_success && r->residual)
        status = dnnl_post_ops_append_sum(ops, 1);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attributes, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

static dnnl_status_t describe_convolution(product *p, dnnl_primitive_attr_t attributes)
{
    const product_request *r = &p->request;
    dnnl_dims_t x = {r->batch, r->in_channels, r->height, r->width};
    dnnl_dims_t w = {r->out_channels, r->in_channels, r->kernel_height, r->kernel_width};
    dnnl_dims_t y = {r->batch, r->out_channels, r->out_height, r->out_width}, b = {r->out_channels};
    dnnl_dims_t strides = {r->stride, r->stride};
    dnnl_dims_t before = {r->pad_top, r->pad_left}, after = {r->pad_bottom, r->pad_right};
    dnnl_data_type_t weight = data_type(r->weight_type);
    dnnl_convolution_desc_t d;
    dnnl_memory_desc_t any;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&p->input, 4, x, data_type(r->input_type), dnnl_nhwc);
    status = status ? status : dnnl_memory_desc_init_by_tag(&any, 4, w, weight, dnnl_format_tag_any);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->file_weights, 4, w, dnnl_f32, dnnl_oihw);
    status = status ? status
                    : dnnl_memory_desc_init_by_tag(&p->output, 4, y, data_type(r->output_type), dnnl_nhwc);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->bias, 1, b, dnnl_f32, dnnl_a);
    status = status ? status
                    : dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct,
                                                         &p->input, &any, r->bias ? &p->bias : NULL,
                                                         &p->output, strides, before, after);
    return status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, NULL);
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
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->file_weights, 2, w, dnnl_f32, dnnl_ba);
    status =
        status ? status : dnnl_memory_desc_init_by_tag(&p->output, 2, y, data_type(r->output_type), dnnl_ab);
    status = status ? status : dnnl_memory_desc_init_by_tag(&p->bias, 2, b, dnnl_f32, dnnl_ab);
    status =
        status ? status : dnnl_matmul_desc_init(&d, &p->input, &any, r->bias ? &p->bias : NULL, &p->output);
    return status ? status : dnnl_primitive_desc_create(&p->description, &d, attributes, p->engine, NULL);
}

static dnnl_status_t make_primitive(product *p)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = make_attributes(&p->request, &attributes);
    if (status == dnnl_success)
        status =
            p->request.convolution ? describe_convolution(p, attributes) : describe_matmul(p, attributes);
    dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return status;
    p->weights = *dnnl_primitive_desc_query_md(p->description, dnnl_query_weights_md, 0);
    p->scratch = *dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0);
    return dnnl_primitive_create(&p->primitive, p->description);
}

kiln_status product_new(const product_request *request, product **out, kiln_error *err)
{
    *out = NULL;
    product *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a oneDNN primitive");
    p->request = *request;
    atomic_init(&p->spare, NULL);
    int before = set_threads(request->threads);
    dnnl_status_t status = make_primitive(p);
    set_threads(before);
    if (status != dnnl_success) {
        product_free(p);
        return status == dnnl_unimplemented ? KILN_OK : refused(err, "make a primitive", status);
    }
    *out = p;
    return KILN_OK;
}

static void binding_free(binding *b)
{
    if (!b)
        return;
    dnnl_memory_destroy(b->input);
    dnnl_memory_destroy(b->weights);
    dnnl_memory_destroy(b->bias);
    dnnl_memory_destroy(b->output);
    dnnl_memory_destroy(b->scratch);
    dnnl_stream_destroy(b->stream);
    free(b);
}

void product_free(product *p)
{
    if (!p)
        return;
    binding_free(atomic_load(&p->spare));
    dnnl_primitive_destroy(p->primitive);
    dnnl_primitive_desc_destroy(p->description);
    dnnl_engine_destroy(p->engine);
    free(p);
}

size_t product_scratch_bytes(const product *p)
{
    return dnnl_memory_desc_get_size(&p->scratch);
}

size_t product_weight_bytes(const product *p)
{
    return dnnl_memory_desc_get_size(&p->weights);
}

const void *product_weight_key(const product *p, size_t *key_bytes)
{
    *key_bytes = sizeof p->weights;
    return &p->weights;
}

static dnnl_status_t reorder(const product *p, const float *from, void *to)
{
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_stream_t stream = NULL;
    void *handle = (void *)(uintptr_t)from; /* read only; the interface has no const */
    dnnl_status_t status = dnnl_stream_create(&stream, p->engine, dnnl_stream_default_flags);
    status = status ? status : dnnl_memory_create(&source, &p->file_weights, p->engine, handle);
    status = status ? status : dnnl_memory_create(&target, &p->weights, p->engine, to);
    status = status ? status
                    : dnnl_reorder_primitive_desc_create(&description, &p->file_weights, p->engine,
                                                         &p->weights, p->engine, NULL);
    status = status ? status : dnnl_primitive_create(&primitive, description);
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    status = status ? status : dnnl_primitive_execute(primitive, stream, 2, arguments);
    status = status ? status : dnnl_stream_wait(stream);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(source);
    dnnl_memory_destroy(target);
    dnnl_stream_destroy(stream);
    return status;
}

kiln_status product_pack(const void *self, const float *from, int64_t count, void *to, kiln_error *err)
{
    const product *p = self;
    (void)count;
    int before = set_threads(p->request.threads);
    dnnl_status_t status = reorder(p, from, to);
    set_threads(before);
    return status == dnnl_success ? KILN_OK : refused(err, "pack weights", status);
}

static dnnl_status_t binding_new(const product *p, binding **out)
{
    binding *b = calloc(1, sizeof *b);
    if (!b)
        return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_stream_create(&b->stream, p->engine, dnnl_stream_default_flags);
    status = status ? status : dnnl_memory_create(&b->input, &p->input, p->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&b->weights, &p->weights, p->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&b->bias, &p->bias, p->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&b->output, &p->output, p->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&b->scratch, &p->scratch, p->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) {
        binding_free(b);
        b = NULL;
    }
    *out = b;
    return status;
}

static dnnl_status_t bind(binding *b, const product_arguments *a)
{
    dnnl_status_t status = dnnl_memory_set_data_handle(b->input, (void *)(uintptr_t)a->input);
    if (!status && b->bound_weights != a->weights) {
        /* Once only: setting a handle also writes the zeros of a blocked layout's padding. */
        status = dnnl_memory_set_data_handle(b->weights, (void *)(uintptr_t)a->weights);
        b->bound_weights = status ? NULL : a->weights;
    }
    if (!status && a->bias)
        status = dnnl_memory_set_data_handle(b->bias, (void *)(uintptr_t)a->bias);
    if (!status)
        status = dnnl_memory_set_data_handle(b->output, a->output);
    if (!status)
        status = dnnl_memory_set_data_handle(b->scratch, a->scratch);
    return status;
}

static dnnl_status_t execute(product *p, const product_arguments *a)
{
    binding *b = atomic_exchange(&p->spare, NULL);
    dnnl_status_t status = b ? dnnl_success : binding_new(p, &b);
    status = status ? status : bind(b, a);
    if (status == dnnl_success) {
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, b->input},
                                       {DNNL_ARG_WEIGHTS, b->weights},
                                       {DNNL_ARG_DST, b->output},
                                       {DNNL_ARG_SCRATCHPAD, b->scratch},
                                       {DNNL_ARG_BIAS, b->bias}};
        status = dnnl_primitive_execute(p->primitive, b->stream, p->request.bias ? 5 : 4, arguments);
        status = status ? status : dnnl_stream_wait(b->stream);
    }
    binding *none = NULL;
    if (b && !atomic_compare_exchange_strong(&p->spare, &none, b))
        binding_free(b);
    return status;
}

kiln_status product_run(product *p, const product_arguments *a, kiln_error *err)
{
    int before = set_threads(p->request.threads);
    dnnl_status_t status = execute(p, a);
    set_threads(before);
    return status == dnnl_success ? KILN_OK : refused(err, "run a primitive", status);
}
