/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_memory_plan.c - what kiln_draw_plan foresees: figures that make sense and grow with the request, refusals before any
 * work. Whether the figures are the truth is bench/memory's to say, with a model of full size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

#include <math.h>

static kiln_memory_plan plan_of(kiln_session *s, const kiln_draw_options *o)
{
    kiln_memory_plan p = {0};
    assert_ok(kiln_draw_plan(s, o, &p, err));
    assert_true(p.weights > 0 && p.activations > 0);
    assert_true(p.peak >= p.weights); /* the process itself is in the peak */
    return p;
}

static void figures_grow_with_the_size(void **state)
{
    (void)state;
    kiln_memory_plan last = {0};
    for (int side = 64; side <= 1024; side *= 2) {
        kiln_draw_options o = tiny_options("a fox", 1);
        o.width = o.height = side;
        kiln_memory_plan p = plan_of(session, &o);
        /* Four times the pixels: at least three times the activations, once the constant parts are small. */
        assert_true(p.activations > last.activations * (side > 128 ? 3 : 1));
        assert_true(p.peak > last.peak);
        if (last.weights)
            assert_true(llabs(p.weights - last.weights) <= last.weights / 2);
        last = p;
    }
    assert_true(last.activations > (int64_t)1024 * 1024 * 8 * 4); /* the decoder's last feature map alone */
}

static void figures_grow_with_the_request(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 1);
    o.width = o.height = 256;
    o.vae_tile = 64; /* so that the UNet is the widest */
    kiln_memory_plan with = plan_of(session, &o);
    o.cfg = 1;
    kiln_memory_plan without = plan_of(session, &o);
    assert_true(without.activations <= with.activations);
    o.cfg = 7;
    o.batch = 100;
    kiln_memory_plan many = plan_of(session, &o);
    assert_true(many.peak >= with.peak + (int64_t)99 * 256 * 256 * 3 - 65536);
    kiln_image *init = tiny_picture(32, 32, 3);
    o.batch = 1;
    o.init = init;
    assert_true(plan_of(session, &o).peak > with.peak);
    kiln_image_free(init);
}

/* This model's UNet is wider than its decoder: tiles cannot lower the peak, and are not chosen. */
static void tiles_are_chosen_only_where_they_help(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 1);
    o.width = o.height = 128;
    o.steps = 1;
    o.vae_tile = -1;
    kiln_memory_plan whole = plan_of(session, &o);
    o.vae_tile = 64;
    kiln_memory_plan tiled = plan_of(session, &o);
    assert_true(tiled.activations <= whole.activations);
    o.vae_tile = 0;
    o.memory_limit = whole.peak + whole.peak / 4;
    kiln_image *out = tiny_draw(session, &o);
    assert_null(strstr(kiln_image_text(out, "parameters"), "VAE tile"));
    kiln_image_free(out);
}

static void what_does_not_fit_is_refused_first(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 1);
    kiln_memory_plan p;
    kiln_image *out = NULL;
    o.memory_limit = 1000;
    assert_refused(kiln_draw_plan(session, &o, &p, err), KILN_NO_MEMORY, "GB");
    assert_refused(kiln_draw(session, &o, &out, err), KILN_NO_MEMORY, "are allowed");
    assert_refused(kiln_draw(session, &o, &out, err), KILN_NO_MEMORY, "32x32");
    assert_null(out);
    /* More than any machine has: refused by the machine's own limit, and by the plan, not by a failing allocation. */
    o.memory_limit = 0;
    o.width = o.height = 16384;
    assert_refused(kiln_draw_plan(session, &o, &p, err), KILN_NO_MEMORY, "16384x16384");
}

/* What an earlier drawing left in the session is not counted twice, and not forgotten. */
static void a_used_session_plans_the_same(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = tiny_options("a fox", 1);
    o.width = o.height = 64;
    o.steps = 2;
    kiln_memory_plan before = plan_of(s, &o);
    for (int i = 0; i < 3; i++)
        kiln_image_free(tiny_draw(s, &o));
    kiln_memory_plan after = plan_of(s, &o);
    assert_int_equal(before.weights, after.weights);
    assert_int_equal(before.activations, after.activations);
    /* The rest is the process, which has loaded code and kernels by now. */
    assert_true(llabs(after.peak - before.peak) < before.peak / 2);
    o.memory_limit = after.peak + after.peak / 10;
    kiln_image_free(tiny_draw(s, &o));
    kiln_session_free(s);
    kiln_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_grow_with_the_size),
        cmocka_unit_test(figures_grow_with_the_request),
        cmocka_unit_test(tiles_are_chosen_only_where_they_help),
        cmocka_unit_test(what_does_not_fit_is_refused_first),
        cmocka_unit_test(a_used_session_plans_the_same),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
