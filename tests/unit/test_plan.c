/* floors: base tensor graph ops backend plan
 *
 * test_plan.c - the graph and the plan: names in both dialects, sticky errors, fusion and memory reuse that change no
 * result, taps, cancellation. Everything runs on the reference backend. */
#include "ops/ops.h"
#include "plan/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* last: it defines a macro called fail */

/* Parameters filled from their name, so that every plan of a model sees the same numbers. */
static kiln_status read_named(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)err;
    uint32_t state = 12345;
    for (const char *c = p->canonical; *c; c++)
        state = state * 31 + (unsigned char)*c;
    for (int64_t i = 0; i < shape_count(p->shape); i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = ((float)(state >> 8) / 16777216.0f - 0.5f) * 0.6f;
    }
    return KILN_OK;
}

static value conv(at a, value x, int out, int size)
{
    conv2d_attributes c = {.stride = 1,
                           .upsample = 1,
                           .pad_top = size / 2,
                           .pad_bottom = size / 2,
                           .pad_left = size / 2,
                           .pad_right = size / 2};
    return op_conv2d(a, x,
                     graph_parameter(a, "weight", SHAPE4(out, value_channels(a, x), size, size), ROLE_WEIGHT),
                     graph_parameter(a, "bias", SHAPE1(out), ROLE_BIAS), &c);
}

static value linear(at a, value x, int out)
{
    return op_linear(a, x, graph_parameter(a, "weight", SHAPE2(out, value_channels(a, x)), ROLE_WEIGHT),
                     graph_parameter(a, "bias", SHAPE1(out), ROLE_BIAS));
}

static value norm(at a, value x, int groups)
{
    int64_t c = value_channels(a, x);
    return op_group_norm(a, x, graph_parameter(a, "weight", SHAPE1(c), ROLE_NORM),
                         graph_parameter(a, "bias", SHAPE1(c), ROLE_NORM), groups, 1e-5f);
}

static value resnet(at a, value x, value time, int channels)
{
    value h = conv(same(a, "conv1"), op_silu(a, norm(same(a, "norm1"), x, 2)), channels, 3);
    h = op_add_channels(a, h, linear(same(a, "time"), op_silu(a, time), channels));
    h = conv(same(a, "conv2"), op_silu(a, norm(same(a, "norm2"), h, 2)), channels, 3);
    if (value_channels(a, x) != channels)
        x = conv(same(a, "shortcut"), x, channels, 1);
    return graph_tap(a, op_add(a, x, h));
}

static value attention(at a, value x)
{
    shape s = value_shape(a, x);
    value t = op_reshape(a, x, SHAPE3(s.dim[0], s.dim[1] * s.dim[2], s.dim[3]));
    value y = op_attention(a, linear(same(a, "q"), t, 8), linear(same(a, "k"), t, 8),
                           linear(same(a, "v"), t, 8), 2, false);
    y = op_add(a, linear(same(a, "out"), y, (int)s.dim[3]), t);
    y = op_add(a, linear(same(a, "ff2"), op_geglu(a, linear(same(a, "ff1"), y, 12)), (int)s.dim[3]), y);
    return op_reshape(a, y, s);
}

static graph *draw(void)
{
    graph *g = graph_new();
    at a = graph_root(g);
    value x = graph_input(g, "x", SHAPE4(2, 6, 5, 4), DTYPE_F32),
          t = graph_input(g, "t", SHAPE1(2), DTYPE_F32);
    value time =
        op_timestep_embedding(a, t, 8, &(timestep_attributes){.cosine_first = true, .max_period = 10000});
    value h1 = resnet(same(a, "r1"), x, time, 6),
          h2 = attention(same(a, "a1"), resnet(same(a, "r2"), h1, time, 6));
    value h3 = resnet(same(a, "r3"), op_concat(a, 2, (value[]){h1, h2}, -1), time, 4);
    value up = conv(same(a, "up"), op_upsample(a, h3, 2), 4, 3);
    graph_output(g, "out",
                 op_add(a, op_slice(a, up, 1, 1, 6), op_scale(a, op_slice(a, up, 1, 3, 6), 0.5f, 0.1f)));
    graph_output(g, "h3", h3);
    value joined = conv(same(a, "joined"), op_concat(a, 3, (value[]){h1, h3, h2}, -1), 4, 3);
    graph_output(g, "joined", op_add(a, op_scale(a, joined, 0.2f, 0), h3));
    return g;
}

static void fill_inputs(run *r)
{
    float *x = run_input(r, "x"), *t = run_input(r, "t");
    assert_non_null(x);
    for (int i = 0; i < 2 * 6 * 5 * 4; i++)
        x[i] = sinf((float)i * 0.37f);
    t[0] = 3;
    t[1] = 801;
}

static plan *compiled(const graph *g, packed_store *store, bool fuse, bool taps, dtype compute)
{
    plan_options o = {
        .backend = &backend_reference, .compute = compute, .threads = 1, .fuse = fuse, .taps = taps};
    plan *p = NULL;
    kiln_error err = {0};
    if (plan_compile(g, &o, store, &p, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return p;
}

static double largest_difference(const float *a, const float *b, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}

/* The plain plan that keeps every tap against the fused one that reuses memory: same numbers, less memory, and a second
 * run of the same plan gives the same bytes. */
static void fusion_and_reuse_change_nothing(void **state)
{
    (void)state;
    graph *g = draw();
    packed_store *store = packed_store_new((parameter_source){.read = read_named});
    plan *plain = compiled(g, store, false, true, DTYPE_F32),
         *fused = compiled(g, store, true, false, DTYPE_F32);
    run *a, *b;
    assert_int_equal(run_new(plain, &a, NULL), KILN_OK);
    assert_int_equal(run_new(fused, &b, NULL), KILN_OK);
    fill_inputs(a);
    fill_inputs(b);
    assert_int_equal(plan_run(plain, a, NULL, NULL, NULL, NULL), KILN_OK);
    assert_int_equal(plan_run(fused, b, NULL, NULL, NULL, NULL), KILN_OK);
    int64_t n = 2 * 6 * 10 * 4;
    assert_true(largest_difference(run_output(a, "out"), run_output(b, "out"), n) < 1e-6);
    assert_true(largest_difference(run_output(a, "h3"), run_output(b, "h3"), 2 * 6 * 5 * 4) < 1e-6);
    assert_true(largest_difference(run_output(a, "joined"), run_output(b, "joined"), 2 * 6 * 5 * 4) < 1e-6);
    assert_true(fabsf(run_output(b, "out")[7]) > 1e-6f);
    assert_non_null(run_output(a, "r2"));
    assert_null(run_output(b, "r2"));
    assert_true(plan_step_count(fused) < plan_step_count(plain));
    assert_true(plan_arena_bytes(fused) < plan_arena_bytes(plain));
    float *first = malloc((size_t)n * sizeof *first);
    memcpy(first, run_output(b, "out"), (size_t)n * sizeof *first);
    assert_int_equal(plan_run(fused, b, NULL, NULL, NULL, NULL), KILN_OK);
    assert_memory_equal(first, run_output(b, "out"), (size_t)n * sizeof *first);
    free(first);
    run_free(a);
    run_free(b);
    plan_free(plain);
    assert_true(packed_store_bytes(store) > 0);
    plan_free(fused);
    assert_int_equal(packed_store_bytes(store), 0);
    packed_store_free(store);
    graph_free(g);
}

static void bf16_storage_stays_close(void **state)
{
    (void)state;
    graph *g = draw();
    packed_store *store = packed_store_new((parameter_source){.read = read_named});
    plan *exact = compiled(g, store, true, false, DTYPE_F32),
         *coarse = compiled(g, store, true, false, DTYPE_BF16);
    run *a, *b;
    assert_int_equal(run_new(exact, &a, NULL), KILN_OK);
    assert_int_equal(run_new(coarse, &b, NULL), KILN_OK);
    fill_inputs(a);
    fill_inputs(b);
    assert_int_equal(plan_run(exact, a, NULL, NULL, NULL, NULL), KILN_OK);
    assert_int_equal(plan_run(coarse, b, NULL, NULL, NULL, NULL), KILN_OK);
    double d = largest_difference(run_output(a, "out"), run_output(b, "out"), 2 * 6 * 10 * 4);
    assert_true(d > 0 && d < 0.1);
    run_free(a);
    run_free(b);
    plan_free(exact);
    plan_free(coarse);
    packed_store_free(store);
    graph_free(g);
}

/* A sum is kept in f32 though the plan is one of bf16. A reshape of it is the same bytes under another shape: taken for
 * bf16, they would be read as twice as many numbers of half the size. */
static void a_reshape_has_the_type_of_what_it_views(void **state)
{
    (void)state;
    graph *g = graph_new();
    at a = graph_root(g);
    value x = graph_input(g, "x", SHAPE2(4, 6), DTYPE_F32);
    value sums = op_sum_rows(a, x);
    value viewed = op_reshape(a, op_reshape(a, sums, SHAPE2(2, 3)), SHAPE2(3, 2));
    graph_output(g, "viewed", viewed);
    graph_output(g, "scaled", op_scale(a, viewed, 2.0f, 0.0f));
    packed_store *store = packed_store_new((parameter_source){.read = read_named});
    plan *p = compiled(g, store, true, false, DTYPE_BF16);
    run *r;
    assert_int_equal(run_new(p, &r, NULL), KILN_OK);
    float *in = run_input(r, "x");
    for (int i = 0; i < 24; i++)
        in[i] = (float)(i + 1); /* exact in bf16 */
    assert_int_equal(plan_run(p, r, NULL, NULL, NULL, NULL), KILN_OK);
    const float *viewed_sums = run_output(r, "viewed"), *scaled = run_output(r, "scaled");
    for (int i = 0; i < 6; i++) {
        float sum = (float)(4 * (i + 1) + 36);
        assert_true(viewed_sums[i] == sum);
        assert_true(scaled[i] == 2 * sum);
    }
    run_free(r);
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
}

/* Parts of a value in one piece are not copied, whoever else reads the value, and through a reshape; other parts are. */
static void parts_are_looked_at(void **state)
{
    (void)state;
    graph *g = graph_new();
    at a = graph_root(g);
    value x = graph_input(g, "x", SHAPE2(6, 16), DTYPE_F32), y = op_scale(a, x, 2, 1);
    value flat = op_reshape(a, y, SHAPE1(96));
    graph_output(g, "part", op_slice(a, y, 0, 2, 3));
    graph_output(g, "part of a part", op_slice(a, op_slice(a, flat, 0, 32, 48), 0, 16, 16));
    graph_output(g, "changed", op_scale(a, op_slice(a, y, 0, 4, 2), -1, 0));
    graph_output(g, "whole", op_scale(a, y, 3, 0));
    packed_store *store = packed_store_new((parameter_source){.read = read_named});
    plan *p = compiled(g, store, false, false, DTYPE_F32);
    assert_int_equal(plan_step_count(p), 3); /* the scales */
    graph_output(g, "askew", op_slice(a, flat, 0, 3, 5));
    plan *with_copy = compiled(g, store, false, false, DTYPE_F32);
    assert_int_equal(plan_step_count(with_copy), 4);
    run *r;
    assert_int_equal(run_new(with_copy, &r, NULL), KILN_OK);
    float *in = run_input(r, "x");
    for (int i = 0; i < 96; i++)
        in[i] = (float)i;
    assert_int_equal(plan_run(with_copy, r, NULL, NULL, NULL, NULL), KILN_OK);
    for (int i = 0; i < 48; i++)
        assert_true(fabsf(run_output(r, "part")[i] - (float)(2 * (32 + i) + 1)) < 1e-6f);
    for (int i = 0; i < 16; i++)
        assert_true(fabsf(run_output(r, "part of a part")[i] - (float)(2 * (48 + i) + 1)) < 1e-6f);
    for (int i = 0; i < 32; i++)
        assert_true(fabsf(run_output(r, "changed")[i] + (float)(2 * (64 + i) + 1)) < 1e-6f);
    for (int i = 0; i < 96; i++)
        assert_true(fabsf(run_output(r, "whole")[i] - (float)(3 * (2 * i + 1))) < 1e-6f);
    for (int i = 0; i < 5; i++)
        assert_true(fabsf(run_output(r, "askew")[i] - (float)(2 * (3 + i) + 1)) < 1e-6f);
    run_free(r);
    plan_free(p);
    plan_free(with_copy);
    packed_store_free(store);
    graph_free(g);
}

static void errors_name_the_place(void **state)
{
    (void)state;
    graph *g = graph_new();
    at a = same(same(graph_root(g), "down_blocks.0"), "resnets.1");
    value x = graph_input(g, "x", SHAPE4(1, 4, 4, 5), DTYPE_F32);
    value y = norm(same(a, "norm1"), x, 2);
    assert_int_equal(y.index, 0);
    assert_int_equal(conv(a, y, 8, 3).index, 0);
    kiln_error err = {0};
    assert_int_equal(graph_finish(g, &err), KILN_MISMATCH);
    assert_string_equal(
        err.text, "down_blocks.0.resnets.1.norm1: group_norm: 5 channels cannot be split into 2 groups");
    graph_free(g);
}

static void parameters_have_both_names(void **state)
{
    (void)state;
    graph *g = graph_new();
    at a = in(graph_root(g), "text_model", "");
    at attn = in(in(a, "encoder.layers.3", "transformer.resblocks.3"), "self_attn", "attn");
    graph_parameter(in(attn, "k_proj", "in_proj_*[1/3]"), "weight", SHAPE2(4, 4), ROLE_WEIGHT);
    graph_parameter(in(a, "embeddings.position_embedding", "positional_embedding!"), "weight", SHAPE2(77, 4),
                    ROLE_EMBEDDING);
    graph_parameter(in(graph_root(g), "text_projection", "text_projection!^T"), "weight", SHAPE2(4, 4),
                    ROLE_WEIGHT);
    value again = graph_parameter(in(graph_root(g), "text_projection", "text_projection!^T"), "weight",
                                  SHAPE2(4, 4), ROLE_WEIGHT);
    assert_int_equal(g->parameter_count, 3);
    assert_int_equal(again.index, g->parameters[2].value.index);
    assert_string_equal(g->parameters[0].canonical, "text_model.encoder.layers.3.self_attn.k_proj.weight");
    assert_string_equal(g->parameters[0].original, "transformer.resblocks.3.attn.in_proj_weight[1/3]");
    assert_string_equal(g->parameters[1].original, "positional_embedding");
    assert_string_equal(g->parameters[2].original, "text_projection^T");
    assert_int_equal(graph_find_parameter(g, "text_projection.weight"), 2);
    graph_free(g);
}

static void counting(void *self, const trace_row *row)
{
    (void)row;
    ++*(int *)self;
}

static void cancel_stops_and_trace_sees_all(void **state)
{
    (void)state;
    graph *g = draw();
    packed_store *store = packed_store_new((parameter_source){.read = read_named});
    plan *p = compiled(g, store, true, false, DTYPE_F32);
    run *r;
    int rows = 0;
    assert_int_equal(run_new(p, &r, NULL), KILN_OK);
    fill_inputs(r);
    assert_int_equal(plan_run(p, r, NULL, counting, &rows, NULL), KILN_OK);
    assert_int_equal(rows, plan_step_count(p));
    atomic_bool cancel = true;
    kiln_error err = {0};
    assert_int_equal(plan_run(p, r, &cancel, NULL, NULL, &err), KILN_CANCELLED);
    run_free(r);
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
}

static kiln_status read_nan(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    kiln_status status = read_named(self, p, index, to, err);
    to[0] = strcmp(p->canonical, "r2.conv1.weight") == 0 ? NAN : to[0];
    return status;
}

static void weights_with_nan_are_refused(void **state)
{
    (void)state;
    graph *g = draw();
    packed_store *store = packed_store_new((parameter_source){.read = read_nan});
    plan_options o = {.backend = &backend_reference, .compute = DTYPE_F32, .threads = 1, .fuse = true};
    plan *p = NULL;
    kiln_error err = {0};
    assert_int_equal(plan_compile(g, &o, store, &p, &err), KILN_BAD_FORMAT);
    assert_null(p);
    assert_non_null(strstr(err.text, "'r2.conv1.weight'"));
    assert_int_equal(packed_store_bytes(store), 0);
    packed_store_free(store);
    graph_free(g);
}

/* out = in + in + in, of n numbers. */
static graph *draw_sum(int n)
{
    graph *g = graph_new();
    at a = graph_root(g);
    value x = graph_input(g, "x", SHAPE1(n), DTYPE_F32);
    graph_output(g, "y", op_add(a, op_add(a, x, x), x));
    return g;
}

static void check_sum(const plan *p, run *r, int n)
{
    kiln_error err = {0};
    float *x = run_input(r, "x");
    for (int i = 0; i < n; i++)
        x[i] = (float)i;
    assert_int_equal(plan_run(p, r, NULL, NULL, NULL, &err), KILN_OK);
    for (int i = 0; i < n; i++)
        assert_true(run_output(r, "y")[i] == 3 * (float)i);
}

static void runs_take_turns_in_one_memory(void **state)
{
    (void)state;
    static const int sizes[] = {1000, 50000, 10};
    kiln_error err = {0};
    graph *g[3];
    plan *p[3];
    run *r[3];
    run_memory *memory = run_memory_new();
    assert_non_null(memory);
    int before = 0;
    for (int i = 0; i < 3; i++) {
        g[i] = draw_sum(sizes[i]);
        p[i] = compiled(g[i], NULL, false, false, DTYPE_F32);
        before = run_memory_generation(memory);
        assert_int_equal(run_new_within(p[i], memory, &r[i], &err), KILN_OK);
        /* It moves for a larger run only. */
        assert_true((run_memory_generation(memory) != before) == (i < 2));
        for (int k = 0; k <= i; k++)
            check_sum(p[k], r[k], sizes[k]);
    }
    assert_ptr_equal(run_input(r[0], "x"), run_input(r[1], "x"));
    for (int i = 0; i < 3; i++) {
        run_free(r[i]);
        plan_free(p[i]);
        graph_free(g[i]);
    }
    run_memory_free(memory);
    run_memory_free(NULL);
}

/* ------------------------------------------------------------------------------------ notes */

/* silu leaves a note, scale says what it found of it: 1 the note, 0 none, -1 something else. */
enum { NOTE = 1000 };

static kiln_status leave(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)k;
    (void)err;
    memset(a->output, 0, 100 * sizeof(float));
    if (a->note)
        memset(a->note, 0x5A, NOTE);
    return KILN_OK;
}

static kiln_status find(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)k;
    (void)err;
    float found = a->note ? 1 : 0;
    for (int i = 0; a->note && i < NOTE; i++)
        if (((const unsigned char *)a->note)[i] != 0x5A)
            found = -1;
    for (int i = 0; i < 100; i++)
        ((float *)a->output)[i] = found;
    return KILN_OK;
}

static kiln_status prepare_noting(const kernel_request *r, kernel *out, kiln_error *err)
{
    (void)err;
    if (r->node->op == OP_ACTIVATION)
        *out = (kernel){.label = "leaves", .run = leave, .in_place = -1, .note_bytes = NOTE};
    if (r->node->op == OP_SCALE)
        *out = (kernel){.label = "finds", .run = find, .in_place = -1, .note_bytes = NOTE, .note_of = 1};
    return KILN_OK;
}

/* A note lives until it is read, whatever lies between; where none was left, none is found. */
static void notes_reach_their_readers(void **state)
{
    (void)state;
    static const backend noting = {.name = "noting", .prepare = prepare_noting};
    kiln_error err = {0};
    graph *g = graph_new();
    assert_non_null(g);
    at a = graph_root(g);
    value x = graph_input(g, "x", SHAPE1(100), DTYPE_F32), noted = op_silu(a, x), h = x;
    for (int i = 0; i < 6; i++) /* what comes and goes meanwhile */
        h = op_add(a, op_add(a, h, x), op_add(a, x, x));
    graph_output(g, "y", op_add(a, op_scale(a, noted, 2, 0), op_scale(a, op_scale(a, h, 2, 0), 2, 0)));
    graph_output(g, "none", op_scale(a, h, 2, 0));
    plan_options o = {.backend = &noting, .compute = DTYPE_F32, .threads = 1};
    plan *p = NULL;
    run *r = NULL;
    assert_int_equal(plan_compile(g, &o, NULL, &p, &err), KILN_OK);
    assert_int_equal(run_new(p, &r, &err), KILN_OK);
    memset(run_input(r, "x"), 0, 100 * sizeof(float));
    assert_int_equal(plan_run(p, r, NULL, NULL, NULL, &err), KILN_OK);
    assert_true(run_output(r, "y")[7] == 1);
    assert_true(run_output(r, "none")[7] == 0);
    run_free(r);
    plan_free(p);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fusion_and_reuse_change_nothing),
        cmocka_unit_test(bf16_storage_stays_close),
        cmocka_unit_test(a_reshape_has_the_type_of_what_it_views),
        cmocka_unit_test(parts_are_looked_at),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(parameters_have_both_names),
        cmocka_unit_test(cancel_stops_and_trace_sees_all),
        cmocka_unit_test(weights_with_nan_are_refused),
        cmocka_unit_test(runs_take_turns_in_one_memory),
        cmocka_unit_test(notes_reach_their_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
