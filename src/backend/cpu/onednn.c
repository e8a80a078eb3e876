/* onednn.c - see onednn.h.
 *
 * Primitives are made with a user scratchpad, which makes one primitive safe for several threads at once.
 * The objects that an execution binds (a stream and memory objects around the caller's pointers) form a
 * `binding`; a product keeps one spare, so that a run allocates only when two threads run the same product
 * at the same moment.
 *
 * The scratch memory of a run holds what the primitive asks for, then, where a reorder is due, live weights in the
 * primitive's layout, or the gradient of weights in it.
 *
 * The number of threads is OpenMP's setting of the calling thread; it is set around every call, because
 * oneDNN plans its work for the number that it sees at creation. */
#include "backend/cpu/onednn_product.h"

#include "backend/cpu/products.h"

#include "base/error.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>
#include <string.h>

struct binding {
    dnnl_stream_t stream;
    dnnl_memory_t input, weights, bias, output, scratch;
    dnnl_memory_t file, made;
    const void *bound_weights;
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

static dnnl_status_t make_reorder(const product *p, const dnnl_memory_desc_t *from,
                                  const dnnl_memory_desc_t *to, dnnl_primitive_t *out)
{
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&description, from, p->engine, to, p->engine, NULL);
    status = status ? status : dnnl_primitive_create(out, description);
    dnnl_primitive_desc_destroy(description);
    return status;
}

static dnnl_status_t make_primitive(product *p)
{
    dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    status = status ? status : product_describe(p);
    status = status ? status : dnnl_primitive_create(&p->primitive, p->description);
    if (status != dnnl_success)
        return status;
    if (p->request.kind == PRODUCT_WEIGHTS && !dnnl_memory_desc_equal(&p->made, &p->file))
        return make_reorder(p, &p->made, &p->file, &p->reorder);
    if (p->request.kind != PRODUCT_WEIGHTS && p->request.live)
        return make_reorder(p, &p->file, &p->weights, &p->reorder);
    return dnnl_success;
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
    dnnl_memory_destroy(b->file);
    dnnl_memory_destroy(b->made);
    dnnl_stream_destroy(b->stream);
    free(b);
}

void product_free(product *p)
{
    if (!p)
        return;
    binding_free(atomic_load(&p->spare));
    dnnl_primitive_destroy(p->reorder);
    dnnl_primitive_destroy(p->primitive);
    dnnl_primitive_desc_destroy(p->description);
    dnnl_engine_destroy(p->engine);
    free(p);
}

/* What a reorder reads or writes in scratch memory. */
static size_t reordered_bytes(const product *p)
{
    if (!p->reorder)
        return 0;
    return dnnl_memory_desc_get_size(p->request.kind == PRODUCT_WEIGHTS ? &p->made : &p->weights);
}

size_t product_scratch_bytes(const product *p)
{
    return scratch_rounded(dnnl_memory_desc_get_size(&p->scratch)) + reordered_bytes(p);
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

static dnnl_status_t pack(const product *p, const float *from, void *to)
{
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_stream_t stream = NULL;
    void *handle = (void *)(uintptr_t)from; /* read only; the interface has no const */
    dnnl_status_t status = dnnl_stream_create(&stream, p->engine, dnnl_stream_default_flags);
    status = status ? status : dnnl_memory_create(&source, &p->file, p->engine, handle);
    status = status ? status : dnnl_memory_create(&target, &p->weights, p->engine, to);
    status = status ? status : make_reorder(p, &p->file, &p->weights, &primitive);
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    status = status ? status : dnnl_primitive_execute(primitive, stream, 2, arguments);
    status = status ? status : dnnl_stream_wait(stream);
    dnnl_primitive_destroy(primitive);
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
    dnnl_status_t status = pack(p, from, to);
    set_threads(before);
    return status == dnnl_success ? KILN_OK : refused(err, "pack weights", status);
}

static dnnl_status_t empty_memory(const product *p, const dnnl_memory_desc_t *layout, dnnl_memory_t *out)
{
    return dnnl_memory_create(out, layout, p->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t binding_new(const product *p, binding **out)
{
    binding *b = calloc(1, sizeof *b);
    if (!b)
        return dnnl_out_of_memory;
    bool by_weights = p->request.kind == PRODUCT_WEIGHTS;
    dnnl_status_t status = dnnl_stream_create(&b->stream, p->engine, dnnl_stream_default_flags);
    status = status ? status : empty_memory(p, &p->input, &b->input);
    status = status ? status : empty_memory(p, &p->weights, &b->weights);
    status = status ? status : empty_memory(p, &p->output, &b->output);
    status = status ? status : empty_memory(p, &p->scratch, &b->scratch);
    if (!status && p->request.bias)
        status = empty_memory(p, &p->bias, &b->bias);
    if (!status && p->reorder && by_weights)
        status = empty_memory(p, &p->made, &b->made);
    if (!status && p->reorder && !by_weights)
        status = empty_memory(p, &p->file, &b->file);
    if (status != dnnl_success) {
        binding_free(b);
        b = NULL;
    }
    *out = b;
    return status;
}

static dnnl_status_t point(dnnl_memory_t memory, const void *data)
{
    return dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
}

static dnnl_status_t bind(const product *p, binding *b, const product_arguments *a)
{
    char *reordered = (char *)a->scratch + scratch_rounded(dnnl_memory_desc_get_size(&p->scratch));
    dnnl_status_t status = point(b->input, a->input);
    if (!status && b->file) {
        /* Every time: setting a handle also writes the zeros of a blocked layout's padding. */
        status = point(b->file, a->weights);
        status = status ? status : point(b->weights, reordered);
    } else if (!status && b->bound_weights != a->weights) {
        status = point(b->weights, a->weights); /* once only: see above */
        b->bound_weights = status ? NULL : a->weights;
    }
    if (!status && b->made)
        status = point(b->made, reordered);
    if (!status && a->bias)
        status = point(b->bias, a->bias);
    if (!status)
        status = point(b->output, a->output);
    return status ? status : point(b->scratch, a->scratch);
}

static dnnl_status_t run_reorder(const product *p, const binding *b, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(p->reorder, b->stream, 2, arguments);
}

static dnnl_status_t execute_bound(const product *p, const binding *b)
{
    const dnnl_exec_arg_t arguments[] = {{p->input_role, b->input},
                                         {p->weights_role, b->weights},
                                         {p->output_role, b->made ? b->made : b->output},
                                         {DNNL_ARG_SCRATCHPAD, b->scratch},
                                         {DNNL_ARG_BIAS, b->bias}};
    dnnl_status_t status = b->file ? run_reorder(p, b, b->file, b->weights) : dnnl_success;
    status =
        status ? status : dnnl_primitive_execute(p->primitive, b->stream, p->request.bias ? 5 : 4, arguments);
    if (!status && b->made)
        status = run_reorder(p, b, b->made, b->output);
    return status ? status : dnnl_stream_wait(b->stream);
}

static dnnl_status_t execute(product *p, const product_arguments *a)
{
    binding *b = atomic_exchange(&p->spare, NULL);
    dnnl_status_t status = b ? dnnl_success : binding_new(p, &b);
    status = status ? status : bind(p, b, a);
    status = status ? status : execute_bound(p, b);
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

void product_plain(const plain_product *p, const float *a, const float *b, float *c)
{
    int64_t a_step = p->left == 'N' ? p->depth : p->rows, b_step = p->right == 'N' ? p->columns : p->depth;
    int before = set_threads(1);
    /* It fails for sizes below zero only. */
    (void)dnnl_sgemm(p->left, p->right, p->rows, p->columns, p->depth, p->alpha, a, a_step, b, b_step,
                     p->beta, c, p->columns);
    set_threads(before);
}

bool products_have_blocks(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}
