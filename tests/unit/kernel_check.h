/* kernel_check.h - one kernel of the fast backend against the reference of its op: errors, guards around its memory,
 * bytes with one thread and with two, in place and out of it. For tests only. */
#ifndef KILN_TESTS_KERNEL_CHECK_H
#define KILN_TESTS_KERNEL_CHECK_H

#include "backend/backend.h"
#include "base/error.h"
#include "ops/ops.h"
#include "ops/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* About normal, deterministic by seed; rounded to bf16 so that both precisions start from the same
 * numbers. */
static void fill(float *x, int64_t n, uint32_t seed, float scale)
{
    uint32_t state = seed * 2654435761u + 12345u;
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++)
            sum += (float)next_random(&state) / 16777216.0f - 0.5f;
        x[i] = bf16_to_f32(f32_to_bf16(sum * 1.7f * scale));
    }
}

static float weight_scale(shape s)
{
    int64_t fan = s.rank > 1 ? shape_count(s) / s.dim[0] : 1;
    return 1.0f / sqrtf((float)fan);
}

static kiln_status read_parameter(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self, (void)err;
    fill(to, shape_count(p->shape), 100u + (uint32_t)index, weight_scale(p->shape));
    return KILN_OK;
}

static void *aligned(size_t bytes, int poison)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, (bytes + 191) / 64 * 64), 0);
    memset(p, poison, (bytes + 191) / 64 * 64);
    return p;
}

/* What a check does besides. */
typedef struct check_options {
    double f32, bf16;    /* largest error allowed, as a share of the largest reference value */
    bool live;           /* parameters come with the run, as plain f32 */
    bool f32_result;     /* the result is f32 in a bf16 plan too */
    uint32_t f32_inputs; /* bit k: so is input k */
} check_options;

typedef struct data {
    float *plain[OP_MAX_INPUTS]; /* f32, or I32 bits */
    void *stored[OP_MAX_INPUTS]; /* as the kernel gets it */
    size_t bytes[OP_MAX_INPUTS];
    float *reference;
} data;

/* The last node's reference: it is slow, and the same for both precisions and for live weights, which start from the
 * same numbers. WITH_GRAPH forgets it. */
static struct {
    ptrdiff_t node;
    float *values; /* NULL: none */
} last_reference;

static void forget_reference(void)
{
    free(last_reference.values);
    last_reference.values = NULL;
}

static bool known_reference(const graph *g, const node *n, float *out)
{
    if (!last_reference.values || last_reference.node != n - g->nodes)
        return false;
    memcpy(out, last_reference.values, (size_t)shape_count(n->shape) * 4);
    return true;
}

static void keep_reference(const graph *g, const node *n, const float *values)
{
    size_t bytes = (size_t)shape_count(n->shape) * 4;
    forget_reference();
    last_reference.values = malloc(bytes);
    assert_non_null(last_reference.values);
    memcpy(last_reference.values, values, bytes);
    last_reference.node = n - g->nodes;
}

static void make_data(const graph *g, const node *n, const check_options *o, kernel_request *r, data *d)
{
    for (int i = 0; i < n->input_count; i++) {
        r->parameter[i] = -1;
        if (!n->input[i].index)
            continue;
        const node *in = graph_node(g, n->input[i]);
        int64_t count = shape_count(in->shape);
        d->plain[i] = aligned((size_t)count * 4, 0);
        r->input_shape[i] = in->shape;
        bool f32 = in->op == OP_PARAMETER || (o->f32_inputs >> i & 1);
        r->input_type[i] = in->type == DTYPE_I32 ? DTYPE_I32 : f32 ? DTYPE_F32 : r->compute;
        r->parameter[i] = in->op == OP_PARAMETER && !o->live ? in->parameter : -1;
        if (in->op == OP_PARAMETER)
            read_parameter(NULL, &g->parameters[in->parameter], in->parameter, d->plain[i], NULL);
        else if (in->type == DTYPE_I32)
            for (int64_t k = 0; k < count; k++)
                ((int32_t *)(void *)d->plain[i])[k] = (int32_t)(k * 7 % 11) - 1;
        else
            fill(d->plain[i], count, 7u + (uint32_t)i, 1);
        d->bytes[i] = (size_t)count * dtype_size(r->input_type[i]);
        d->stored[i] = aligned(d->bytes[i], 0);
        if (r->input_type[i] == DTYPE_BF16)
            convert_from_f32(d->plain[i], d->stored[i], DTYPE_BF16, (size_t)count);
        else
            memcpy(d->stored[i], d->plain[i], (size_t)count * 4);
    }
    d->reference = aligned((size_t)shape_count(n->shape) * 4, 0);
    if (known_reference(g, n, d->reference))
        return;
    op_call call = {.node = n, .shape = n->shape, .output = d->reference};
    for (int i = 0; i < n->input_count; i++) {
        call.input_shape[i] = r->input_shape[i];
        call.input[i] = d->plain[i];
    }
    op_find(n->op)->reference(&call);
    keep_reference(g, n, d->reference);
}

/* Prepare with that many threads and run; the result is malloc'd. */
static void *run_kernel(kernel_request *r, const data *d, int threads, bool in_place)
{
    kiln_error err = {0};
    kernel k = {0};
    r->threads = threads;
    if (backend_cpu.prepare(r, &k, &err) != KILN_OK)
        fail_msg("%s", err.text);
    if (!k.run)
        return NULL;
    size_t bytes = (size_t)shape_count(r->node->shape) * dtype_size(r->output_type);
    char *output = aligned(bytes, 0xFF), *scratch = aligned(k.scratch_bytes, 0xFF);
    kernel_arguments a = {.output = output, .scratch = scratch, .threads = threads};
    for (int i = 0; i < r->node->input_count; i++)
        a.input[i] = k.packed & (1u << i) ? NULL : d->stored[i];
    if (in_place && k.in_place >= 0) {
        memcpy(output, d->stored[k.in_place], d->bytes[k.in_place]);
        a.input[k.in_place] = output;
    }
    for (int pass = 0; pass < (in_place ? 1 : 2); pass++)
        if (k.run(&k, &a, &err) != KILN_OK)
            fail_msg("%s", err.text);
    for (int i = 0; i < 64; i++)
        if ((unsigned char)output[bytes + i] != 0xFF || (unsigned char)scratch[k.scratch_bytes + i] != 0xFF)
            fail_msg("%s writes past the end", k.label);
    if (k.release)
        k.release(&k);
    free(scratch);
    return output;
}

static double compare(const void *y, dtype type, const float *reference, int64_t n)
{
    double largest = 1e-30, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = type == DTYPE_BF16 ? (double)bf16_to_f32(((const uint16_t *)y)[i])
                                      : (double)((const float *)y)[i];
        double e = fabs(v - (double)reference[i]);
        worst = e > worst || isnan(e) ? e : worst;
        largest = fabs((double)reference[i]) > largest ? fabs((double)reference[i]) : largest;
    }
    return worst / largest;
}

/* One precision of check(). */
static void check_type(const graph *g, value v, const char *name, const check_options *o, dtype type)
{
    const node *n = graph_node(g, v);
    dtype result = o->f32_result ? DTYPE_F32 : type;
    kernel_request r = {.graph = g, .node = n, .compute = type, .output_type = result};
    data d = {0};
    r.packed = packed_store_new((parameter_source){.read = read_parameter});
    assert_non_null(r.packed);
    make_data(g, n, o, &r, &d);
    char *one = run_kernel(&r, &d, 1, false), *two = run_kernel(&r, &d, 2, false),
         *taken = run_kernel(&r, &d, 2, true), *again = run_kernel(&r, &d, 2, false);
    if (!one || !two || !taken || !again)
        fail_msg("%s (%s): declined", name, dtype_name(type));
    double error = compare(one, result, d.reference, shape_count(n->shape)),
           second = compare(two, result, d.reference, shape_count(n->shape)),
           allowed = type == DTYPE_BF16 ? o->bf16 : o->f32;
    size_t bytes = (size_t)shape_count(n->shape) * dtype_size(result);
    bool same = !memcmp(one, two, bytes), same_in_place = !memcmp(one, taken, bytes),
         same_again = !memcmp(two, again, bytes);
    print_message("%-52s %-4s error %.2e%s%s%s\n", name, dtype_name(type), error,
                  same ? "" : "  1 and 2 threads DIFFER", same_in_place ? "" : "  in place DIFFERS",
                  same_again ? "" : "  not REPEATABLE");
    if (!(error <= allowed) || !(second <= allowed) || !same || !same_in_place || !same_again)
        fail_msg("%s (%s): error %.3e and %.3e, allowed %.1e", name, dtype_name(type), error, second,
                 allowed);
    free(one), free(two), free(taken), free(again), free(d.reference);
    for (int i = 0; i < OP_MAX_INPUTS; i++)
        free(d.plain[i]), free(d.stored[i]);
    packed_store_free(r.packed);
}

static void check_with(const graph *g, value v, const char *name, const check_options *o)
{
    kiln_error err = {0};
    if (graph_finish(g, &err) != KILN_OK)
        fail_msg("%s: %s", name, err.text);
    check_type(g, v, name, o, DTYPE_F32);
    if (backend_best_precision() == DTYPE_BF16)
        check_type(g, v, name, o, DTYPE_BF16);
}

#define WITH_GRAPH(g, a)                                                                                     \
    graph *g = graph_new();                                                                                  \
    assert_non_null(g);                                                                                      \
    forget_reference();                                                                                      \
    at a = graph_root(g)

#endif
