/* floors: base tensor graph ops backend plan
 *
 * test_gradient.c - gradients against finite differences: every op that has a rule (gradient_cases.h), and a chain of a
 * ResNet block, attention and a feed-forward. And what a gradient costs: nothing for what is frozen.
 *
 * The derivative of f at x is taken from four points, (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h, whose error is
 * h^4/30 of the fifth derivative; f is the sum, in double, of the result's elements times random weights. */
#include "ops/gradient.h"
#include "ops/op.h"
#include "plan/plan.h"

#include "gradient_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* last of the headers of others: it defines a macro called fail */

#include "gradient_subject.h"

/* Steps, and the largest error allowed, relative to the largest element of the gradient. */
typedef struct tolerance {
    double step, limit;
} tolerance;

/* Ops whose result is linear in each single element (kinks are farther away than two steps). Results are f32: their
 * rounding, up to 6e-8 of each, divided by the step is all the error. Measured: up to 1.5e-6. */
static const tolerance straight = {0.04, 5e-6};
/* Smooth ops: at this step the fourth-order error is of the size of the rounding. Measured: up to 8e-6. */
static const tolerance smooth = {0.04, 2e-5};
/* Norms over as few as 5 numbers bend the most: moving one moves the variance. A shorter step, so more rounding.
 * Measured: up to 2e-5. */
static const tolerance bent = {0.008, 5e-5};
/* Lengths over as few as 5 numbers, but scores of small differences: between the two. Measured: 4e-5. */
static const tolerance lengths = {0.02, 1e-4};
/* A network: the results of some ten nodes in a row are rounded. Measured: 9e-5. */
static const tolerance chain = {0.02, 3e-4};

static tolerance tolerance_of(op_kind op)
{
    switch (op) {
    case OP_GROUP_NORM:
    case OP_LAYER_NORM:
        return bent;
    case OP_CHANNEL_ATTENTION:
        return lengths;
    case OP_ATTENTION:
    case OP_WINDOW_ATTENTION:
    case OP_ACTIVATION:
    case OP_GEGLU:
    case OP_EXP:
    case OP_MULTIPLY:
    case OP_MEAN_SQUARED_ERROR:
    case OP_MEAN_ABSOLUTE_ERROR:
        return smooth;
    default:
        return straight;
    }
}

/* ------------------------------------------------------------------------------------ finite differences */

static double loss_at(subject *s, float *element, float x)
{
    float kept = *element;
    *element = x;
    run_once(s);
    *element = kept;
    const float *y = run_output(s->run, "y"), *weighting = run_input(s->run, "weighting");
    int64_t n = shape_count(graph_node(s->graph, s->y)->shape);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)y[i] * weighting[i];
    return sum / (double)n;
}

/* The step as taken is that between the rounded points. */
static double derivative(subject *s, float *element, double step)
{
    float x = *element, h = (float)step;
    double near =
        (loss_at(s, element, x + h) - loss_at(s, element, x - h)) / ((double)(x + h) - (double)(x - h));
    double far = (loss_at(s, element, x + 2 * h) - loss_at(s, element, x - 2 * h)) /
                 ((double)(x + 2 * h) - (double)(x - 2 * h));
    return (4 * near - far) / 3;
}

/* The largest error of the gradient by input i over the largest element of the gradient. */
static double gradient_error(subject *forward, subject *both, int i, double step)
{
    char name[16];
    const float *gradient = run_output(both->run, numbered(name, "d", i));
    float *x = run_input(forward->run, numbered(name, "in", i));
    int64_t n = shape_count(graph_node(forward->graph, forward->input[i])->shape);
    double largest = 0, scale = 0;
    for (int64_t k = 0; k < n; k++) {
        double expected = derivative(forward, x + k, step), d = fabs((double)gradient[k] - expected);
        largest = d <= largest ? largest : d; /* a NaN becomes the largest */
        scale = fmax(scale, fabs(expected));
    }
    assert_true(scale > 1e-6);
    return largest / scale;
}

static double check_inputs(subject *forward, subject *both, const char *op, const char *what, tolerance t)
{
    double worst = 0;
    run_once(both);
    for (int i = 0; i < forward->inputs; i++) {
        if (forward->filling[i] == FIXED || forward->filling[i] == IDS)
            continue;
        double error = gradient_error(forward, both, i, t.step);
        if (!(error <= t.limit))
            fail_msg("%s %s: the gradient by input %d is off by %.2e (limit %.1e)", op, what, i, error,
                     t.limit);
        worst = fmax(worst, error);
    }
    return worst;
}

static subject drawn_case(const gradient_case *c, bool with_gradient)
{
    subject s = {.graph = graph_new()};
    value in[CASE_INPUTS] = {NO_VALUE};
    assert_non_null(s.graph);
    for (int i = 0; i < CASE_INPUTS && c->in[i].shape.rank; i++)
        in[i] = add_input(&s, c->in[i].shape, c->in[i].filling);
    finish_drawing(&s, c->draw(graph_root(s.graph), in));
    if (with_gradient)
        differentiate(&s);
    return s;
}

static void rules_agree_with_finite_differences(void **state)
{
    (void)state;
    double worst[OP_COUNT] = {0};
    for (int i = 0; i < GRADIENT_CASE_COUNT; i++) {
        const gradient_case *c = &gradient_cases[i];
        subject forward = drawn_case(c, false), both = drawn_case(c, true);
        compile(&forward, &backend_reference, false);
        compile(&both, &backend_reference, false);
        double error = check_inputs(&forward, &both, op_find(c->op)->name, c->what, tolerance_of(c->op));
        worst[c->op] = fmax(worst[c->op], error);
        subject_free(&forward);
        subject_free(&both);
    }
    for (int op = 0; op < OP_COUNT; op++)
        if (op_find((op_kind)op)->gradient)
            print_message("%-20s worst error %.1e (limit %.1e)\n", op_find((op_kind)op)->name, worst[op],
                          tolerance_of((op_kind)op).limit);
}

/* ------------------------------------------------------------------------------------ the table */

static void every_row_has_a_rule_or_a_reason(void **state)
{
    (void)state;
    static const char *const names[] = {
#define OP_NAME(name, text) text,
        OP_MAP(OP_NAME)
#undef OP_NAME
    };
    for (int i = 0; i < OP_COUNT; i++) {
        const op_row *row = op_find((op_kind)i);
        assert_int_equal(row->op, i);
        assert_string_equal(row->name, names[i]);
        if (!row->gradient && !(row->no_gradient && strlen(row->no_gradient) > 10))
            fail_msg("%s has neither a gradient rule nor a reason", row->name);
        if (row->gradient && row->no_gradient)
            fail_msg("%s has a rule and a reason for none", row->name);
        if (!row->reference && i != OP_NONE && i != OP_INPUT && i != OP_PARAMETER)
            fail_msg("%s has no reference kernel", row->name);
    }
}

/* Every rule has a case whose graph holds the op, and every op of the reverse pass is drawn by some rule. */
static void every_rule_has_a_case(void **state)
{
    (void)state;
    bool tried[OP_COUNT] = {false}, drawn[OP_COUNT] = {false};
    for (int i = 0; i < GRADIENT_CASE_COUNT; i++) {
        subject s = drawn_case(&gradient_cases[i], true);
        for (int k = 1; k < s.graph->node_count; k++) {
            drawn[s.graph->nodes[k].op] = true;
            tried[gradient_cases[i].op] |= s.graph->nodes[k].op == gradient_cases[i].op;
        }
        subject_free(&s);
    }
    for (int op = OP_CAST; op < OP_COUNT; op++) {
        const op_row *row = op_find((op_kind)op);
        if (row->gradient && !tried[op])
            fail_msg("%s has a rule, but no case tries it", row->name);
        /* Detaching has no gradient: test_lora_draw draws it. */
        if (op != OP_TIMESTEP_EMBEDDING && op != OP_DETACH && !drawn[op])
            fail_msg("%s appears in no case", row->name);
    }
}

/* Where a derivative jumps, ours is torch's. */
static void kinks_are_those_of_torch(void **state)
{
    (void)state;
    assert_true(activation_slope(ACTIVATION_RELU, 0, 0) == 0);
    assert_true(activation_slope(ACTIVATION_LEAKY_RELU, 0, 0.25f) == 0.25);
    assert_true(activation_slope(ACTIVATION_NONE, 3, 0) == 1);
    for (int kind = 0; kind < ACTIVATION_COUNT; kind++) /* far out nothing overflows into a NaN */
        for (int x = -1000; x <= 1000; x += 100)
            assert_true(isfinite(activation_slope((activation_kind)kind, x, 0.5f)));
    const float x[] = {-0.5f, 0.5f, 0.75f, -0.75f}, dy[] = {1, 2, 3, 4};
    float dx[4];
    node n = {.op = OP_CLAMP_BACKWARD, .attributes.clamp = {-0.5f, 0.5f}};
    op_find(OP_CLAMP_BACKWARD)
        ->reference(&(op_call){.node = &n, .shape = SHAPE1(4), .input = {x, dy}, .output = dx});
    assert_true(dx[0] == 1 && dx[1] == 2 && dx[2] == 0 && dx[3] == 0);
}

/* ------------------------------------------------------------------------------------ a network */

static value conv(subject *s, at a, value x, int out, int size)
{
    conv2d_attributes c = {.stride = 1,
                           .upsample = 1,
                           .pad_top = size / 2,
                           .pad_bottom = size / 2,
                           .pad_left = size / 2,
                           .pad_right = size / 2};
    value w = add_input(s, SHAPE4(out, value_channels(a, x), size, size), SMOOTH);
    return op_conv2d(a, x, w, add_input(s, SHAPE1(out), SMOOTH), &c);
}

static value linear(subject *s, at a, value x, int out, filling how)
{
    return op_linear(a, x, add_input(s, SHAPE2(out, value_channels(a, x)), how), NO_VALUE);
}

static value resnet(subject *s, at a, value x, value time, value norm_weight)
{
    value zeros = op_fill(a, SHAPE1(4), 0);
    value h = conv(s, same(a, "conv1"), op_silu(a, op_group_norm(a, x, norm_weight, zeros, 2, 1e-5f)), 4, 3);
    h = op_add_channels(a, h, linear(s, a, op_silu(a, time), 4, SMOOTH));
    h = op_silu(a, op_group_norm(a, h, norm_weight, zeros, 2, 1e-5f)); /* one weight in two places */
    return op_add(a, x, conv(s, same(a, "conv2"), h, 4, 1));
}

/* x [2,3,3,4] through a ResNet block, attention over its positions, and a feed-forward; mean squared error. */
static subject drawn_chain(bool with_gradient)
{
    subject s = {.graph = graph_new()};
    assert_non_null(s.graph);
    at a = graph_root(s.graph);
    value x = add_input(&s, SHAPE4(2, 3, 3, 4), SMOOTH), time = add_input(&s, SHAPE2(2, 3), SMOOTH);
    value weight = add_input(&s, SHAPE1(4), SMOOTH);
    value t = op_reshape(a, resnet(&s, same(a, "resnet"), x, time, weight), SHAPE3(2, 9, 4));
    value n = op_layer_norm(a, t, weight, op_fill(a, SHAPE1(4), 0.25f), 1e-5f);
    value y = op_attention(a, linear(&s, a, n, 4, SMOOTH), linear(&s, a, n, 4, FIXED),
                           linear(&s, a, n, 4, SMOOTH), 2, false);
    y = op_add(a, t, linear(&s, a, y, 4, SMOOTH));
    y = op_add(a, y, linear(&s, a, op_geglu(a, linear(&s, a, y, 6, SMOOTH)), 4, FIXED));
    value target = add_input(&s, SHAPE3(2, 9, 4), FIXED), by_sample = add_input(&s, SHAPE1(2), FIXED);
    finish_drawing(&s, op_mean_squared_error(a, y, target, by_sample));
    if (with_gradient)
        differentiate(&s);
    return s;
}

static void a_network_agrees_with_finite_differences(void **state)
{
    (void)state;
    subject forward = drawn_chain(false), both = drawn_chain(true);
    compile(&forward, &backend_reference, false);
    compile(&both, &backend_reference, false);
    print_message("network: worst error %.1e\n", check_inputs(&forward, &both, "network", "", chain));
    subject_free(&forward);
    subject_free(&both);
}

/* Largest difference of all gradients of two compiled chains, over the largest gradient of each. */
static double chain_difference(subject *one, subject *other)
{
    double worst = 0;
    run_once(one);
    run_once(other);
    for (int i = 0; i < one->inputs; i++) {
        char name[16];
        const float *p = run_output(one->run, numbered(name, "d", i)), *q = run_output(other->run, name);
        double largest = 0, scale = 0;
        for (int64_t k = 0; p && k < shape_count(graph_node(one->graph, one->input[i])->shape); k++) {
            double d = fabs((double)p[k] - q[k]);
            largest = d <= largest ? largest : d;
            scale = fmax(scale, fabs((double)p[k]));
        }
        worst = fmax(worst, p ? largest / scale : 0);
    }
    return worst;
}

/* Fusion may not touch what the reverse pass reads; it still finds something to do. So does the fast backend. */
static void fusion_and_backend_change_nothing(void **state)
{
    (void)state;
    subject plain = drawn_chain(true), fused = drawn_chain(true), fast = drawn_chain(true);
    compile(&plain, &backend_reference, false);
    compile(&fused, &backend_reference, true);
    compile(&fast, &backend_cpu, true);
    double by_fusion = chain_difference(&plain, &fused), by_backend = chain_difference(&plain, &fast);
    print_message("fused: %.1e, %d steps of %d; fast backend: %.1e\n", by_fusion, plan_step_count(fused.plan),
                  plan_step_count(plain.plan), by_backend);
    assert_true(plan_step_count(fused.plan) < plan_step_count(plain.plan));
    assert_true(by_fusion <= 2e-6);  /* the same sums in double, rounded at other places */
    assert_true(by_backend <= 1e-4); /* sums in f32 */
    subject_free(&plain);
    subject_free(&fused);
    subject_free(&fast);
}

/* Every value between, forward and backward, rounded to 8 bits: the direction stays. */
static void bf16_storage_stays_close(void **state)
{
    (void)state;
    subject exact = drawn_chain(true), coarse = drawn_chain(true);
    compile(&exact, &backend_reference, false);
    compile_for(&coarse, &backend_reference, true, DTYPE_BF16);
    double d = chain_difference(&exact, &coarse);
    print_message("bf16: %.1e\n", d);
    assert_true(d > 1e-6 && d < 0.1);
    subject_free(&exact);
    subject_free(&coarse);
}

/* Both backward products of a convolution or a linear layer cost what the forward one does. */
static void costs_are_those_of_the_forward_pass(void **state)
{
    (void)state;
    double forward[OP_COUNT] = {0};
    for (int i = 0; i < GRADIENT_CASE_COUNT; i++) {
        subject s = drawn_case(&gradient_cases[i], true);
        for (int op = 0; op < OP_COUNT; op++)
            forward[op] = 0;
        for (int k = 1; k < s.graph->node_count; k++) {
            const node *n = &s.graph->nodes[k];
            double flops = op_flops(s.graph, n);
            assert_true(flops >= 0 && op_bytes(s.graph, n, 4) > 0);
            forward[n->op] = flops;
            if (n->op == OP_CONV2D_BACKWARD_DATA || n->op == OP_CONV2D_BACKWARD_WEIGHTS)
                assert_true(flops == forward[OP_CONV2D]);
            if (n->op == OP_LINEAR_BACKWARD_DATA || n->op == OP_LINEAR_BACKWARD_WEIGHTS)
                assert_true(flops == forward[OP_LINEAR]);
            if (n->op == OP_ATTENTION_BACKWARD)
                assert_true(flops >= 2 * forward[OP_ATTENTION] && flops <= 3 * forward[OP_ATTENTION]);
        }
        subject_free(&s);
    }
}

/* ------------------------------------------------------------------------------------ what is drawn */

static int count_ops(const graph *g, int from, op_kind op)
{
    int count = 0;
    for (int i = from; i < g->node_count; i++)
        count += g->nodes[i].op == op;
    return count;
}

/* Three linear layers: frozen ones add no node, and below the lowest wanted one nothing is drawn at all. */
static void frozen_inputs_cost_nothing(void **state)
{
    (void)state;
    graph *g = graph_new();
    at a = graph_root(g);
    value h = graph_input(g, "x", SHAPE2(2, 3), DTYPE_F32), w[3], gradient[3];
    for (int i = 0; i < 3; i++) {
        w[i] =
            graph_parameter(in_numbered(a, "layer%d", i, "layer%d", i), "weight", SHAPE2(3, 3), ROLE_WEIGHT);
        h = op_silu(a, op_linear(a, h, w[i], NO_VALUE));
    }
    value loss = op_mean(a, h);
    int before = g->node_count;
    assert_int_equal(graph_gradient(g, loss, NULL, 0, NULL, NULL), KILN_OK);
    assert_int_equal(g->node_count, before);
    assert_int_equal(graph_gradient(g, loss, &w[2], 1, gradient, NULL), KILN_OK);
    assert_int_equal(g->node_count - before, 4); /* ones, mean, silu, weights */
    before = g->node_count;
    assert_int_equal(graph_gradient(g, loss, &w[1], 1, gradient, NULL), KILN_OK);
    assert_int_equal(g->node_count - before, 6);
    assert_int_equal(count_ops(g, before, OP_LINEAR_BACKWARD_DATA), 1);
    assert_int_equal(count_ops(g, before, OP_LINEAR_BACKWARD_WEIGHTS), 1);
    before = g->node_count;
    assert_int_equal(graph_gradient(g, loss, w, 3, gradient, NULL), KILN_OK);
    assert_int_equal(count_ops(g, before, OP_LINEAR_BACKWARD_DATA), 2);
    assert_int_equal(count_ops(g, before, OP_LINEAR_BACKWARD_WEIGHTS), 3);
    graph_free(g);
}

/* Values between, the same one twice, the loss itself, and one that has no influence. */
static void any_value_may_be_wanted(void **state)
{
    (void)state;
    subject s = {.graph = graph_new()};
    at a = graph_root(s.graph);
    value x = add_input(&s, SHAPE2(2, 3), SMOOTH), other = add_input(&s, SHAPE2(2, 2), SMOOTH),
          between = op_scale(a, x, 2, 0);
    value loss = op_mean(a, op_multiply(a, between, between)), later = op_scale(a, loss, 3, 0);
    value wanted[] = {between, x, x, loss, other, later}, d[6];
    assert_int_equal(graph_gradient(s.graph, loss, wanted, 6, d, NULL), KILN_OK);
    assert_int_equal(d[1].index, d[2].index);
    static const char *const names[] = {"between", "x", "x again", "loss", "other", "later"};
    for (int i = 0; i < 6; i++)
        graph_output(s.graph, names[i], d[i]);
    finish_drawing(&s, later);
    compile(&s, &backend_reference, false);
    run_once(&s);
    const float *in = run_input(s.run, "in0");
    for (int i = 0; i < 6; i++) {
        assert_true(fabsf(run_output(s.run, "between")[i] - 4 * in[i] / 6) < 1e-6f);
        assert_true(fabsf(run_output(s.run, "x")[i] - 8 * in[i] / 6) < 1e-6f);
    }
    assert_true(run_output(s.run, "loss")[0] == 1);
    assert_true(run_output(s.run, "later")[0] == 0);
    for (int i = 0; i < 4; i++)
        assert_true(run_output(s.run, "other")[i] == 0);
    subject_free(&s);
}

static void what_has_no_gradient_is_refused(void **state)
{
    (void)state;
    kiln_error err = {0};
    graph *g = graph_new();
    at a = same(graph_root(g), "time");
    value t = graph_input(g, "t", SHAPE1(2), DTYPE_F32), ids = graph_input(g, "ids", SHAPE1(2), DTYPE_I32),
          d[2];
    value y = op_timestep_embedding(a, t, 4, &(timestep_attributes){.max_period = 10000});
    value w = graph_input(g, "w", SHAPE2(3, 4), DTYPE_F32), loss = op_mean(a, op_linear(a, y, w, NO_VALUE));
    assert_int_equal(graph_gradient(g, loss, (value[]){w, ids}, 2, d, &err), KILN_BAD_ARGUMENT);
    assert_string_equal(err.text, "gradient: 'ids' holds integers");
    assert_int_equal(graph_gradient(g, NO_VALUE, &w, 1, d, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(graph_gradient(g, (value){100000}, &w, 1, d, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(graph_gradient(g, loss, &w, 1, d, &err), KILN_OK); /* t is not on the way */
    assert_int_equal(graph_gradient(g, loss, (value[]){w, t}, 2, d, &err), KILN_MISMATCH);
    assert_string_equal(
        err.text,
        "time: timestep_embedding has no gradient: times are drawn at random or scheduled, never learnt");
    assert_int_equal(d[0].index, 0);
    graph_free(g);
}

static void weights_of_a_loss_have_no_gradient(void **state)
{
    (void)state;
    kiln_error err = {0};
    graph *g = graph_new();
    value p = graph_input(g, "p", SHAPE2(2, 3), DTYPE_F32), w = graph_input(g, "w", SHAPE1(2), DTYPE_F32),
          d[1];
    value loss = op_mean_squared_error(graph_root(g), p, p, w);
    assert_int_equal(graph_gradient(g, loss, &w, 1, d, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "chosen, not learnt"));
    graph_free(g);
    g = graph_new();
    p = graph_input(g, "p", SHAPE2(2, 3), DTYPE_F32);
    assert_int_equal(
        op_mean_squared_error(graph_root(g), p, p, graph_input(g, "w", SHAPE1(3), DTYPE_F32)).index, 0);
    assert_int_equal(graph_finish(g, &err), KILN_MISMATCH);
    assert_string_equal(err.text, "mean_squared_error wants one weight for each of 2 samples, got [3]");
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_a_rule_or_a_reason),
        cmocka_unit_test(every_rule_has_a_case),
        cmocka_unit_test(rules_agree_with_finite_differences),
        cmocka_unit_test(kinks_are_those_of_torch),
        cmocka_unit_test(a_network_agrees_with_finite_differences),
        cmocka_unit_test(fusion_and_backend_change_nothing),
        cmocka_unit_test(bf16_storage_stays_close),
        cmocka_unit_test(costs_are_those_of_the_forward_pass),
        cmocka_unit_test(frozen_inputs_cost_nothing),
        cmocka_unit_test(any_value_may_be_wanted),
        cmocka_unit_test(what_has_no_gradient_is_refused),
        cmocka_unit_test(weights_of_a_loss_have_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
