/* sliced_gradient.c - see sliced_gradient.h. dy is copied slice by slice, because oneDNN wants its channels side by side; a
 * slice of dw lies in one piece already. */
#include "backend/cpu/sliced_gradient.h"

#include "backend/cpu/products.h"

#include "base/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { WHOLE, REST, KINDS }; /* slices of full width, and a last narrower one */

struct sliced_gradient {
    product *product[KINDS];
    int64_t channels, width, slices;
    int64_t positions;   /* of dy */
    int64_t weights;     /* of one output channel */
    size_t element;      /* bytes of one of dy */
    size_t copy, stride; /* bytes of a thread's slice of dy, and of all its scratch */
    int threads;
};

/* Few enough channels that threads have something to share, enough that x is not read too often. */
static int64_t slice_width(int64_t channels)
{
    return channels >= 256 ? 64 : channels >= 128 ? 32 : 16;
}

static kiln_status make_product(const product_request *r, int64_t width, product **out, kiln_error *err)
{
    product_request slice = *r;
    slice.out_channels = width;
    slice.threads = 1;
    return width ? product_new(&slice, out, err) : KILN_OK;
}

static void lay_out(sliced_gradient *g)
{
    size_t inner = 0;
    for (int k = 0; k < KINDS; k++)
        if (g->product[k] && product_scratch_bytes(g->product[k]) > inner)
            inner = product_scratch_bytes(g->product[k]);
    g->copy = scratch_rounded((size_t)(g->positions * g->width) * g->element);
    g->stride = g->copy + scratch_rounded(inner);
}

kiln_status sliced_gradient_new(const product_request *r, sliced_gradient **out, kiln_error *err)
{
    *out = NULL;
    sliced_gradient *g = calloc(1, sizeof *g);
    if (!g)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    int64_t width = slice_width(r->out_channels);
    *g = (sliced_gradient){.channels = r->out_channels,
                           .width = width,
                           .slices = (r->out_channels + width - 1) / width,
                           .positions = r->convolution ? r->batch * r->out_height * r->out_width : r->rows,
                           .weights =
                               r->in_channels * (r->convolution ? r->kernel_height * r->kernel_width : 1),
                           .element = dtype_size(r->weight_type),
                           .threads = r->threads};
    kiln_status status = make_product(r, r->out_channels >= width ? width : 0, &g->product[WHOLE], err);
    if (!status)
        status = make_product(r, r->out_channels % width, &g->product[REST], err);
    bool missing =
        (r->out_channels >= width && !g->product[WHOLE]) || (r->out_channels % width && !g->product[REST]);
    if (status || missing) {
        sliced_gradient_free(g);
        return status;
    }
    lay_out(g);
    *out = g;
    return KILN_OK;
}

void sliced_gradient_free(sliced_gradient *g)
{
    for (int k = 0; g && k < KINDS; k++)
        product_free(g->product[k]);
    free(g);
}

size_t sliced_gradient_scratch(const sliced_gradient *g)
{
    return g->stride * (size_t)(g->slices < g->threads ? g->slices : g->threads);
}

static kiln_status run_slice(const sliced_gradient *g, int64_t slice, const void *x, const char *dy,
                             float *dw, char *scratch, kiln_error *err)
{
    int64_t first = slice * g->width, left = g->channels - first, width = left < g->width ? left : g->width;
    size_t row = (size_t)g->channels * g->element, part = (size_t)width * g->element;
    for (int64_t i = 0; i < g->positions; i++)
        memcpy(scratch + (size_t)i * part, dy + (size_t)i * row + (size_t)first * g->element, part);
    const product_arguments arguments = {
        .input = x, .weights = scratch, .output = dw + first * g->weights, .scratch = scratch + g->copy};
    return product_run(g->product[width < g->width ? REST : WHOLE], &arguments, err);
}

kiln_status sliced_gradient_run(const sliced_gradient *g, const void *x, const void *dy, float *dw,
                                void *scratch, int threads, kiln_error *err)
{
    int teams = threads < g->threads ? threads : g->threads;
    teams = teams < g->slices ? teams : (int)g->slices;
    kiln_status status = KILN_OK;
    atomic_flag told = ATOMIC_FLAG_INIT; /* the first that fails tells why */
#pragma omp parallel for schedule(static, 1) num_threads(teams)
    for (int team = 0; team < teams; team++) {
        kiln_error own;
        kiln_status bad = KILN_OK;
        for (int64_t slice = team; slice < g->slices && !bad; slice += teams)
            bad = run_slice(g, slice, x, dy, dw, (char *)scratch + (size_t)team * g->stride, &own);
        if (bad && !atomic_flag_test_and_set(&told)) {
            status = bad;
            *err = own;
        }
    }
    return status;
}
