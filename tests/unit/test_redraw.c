/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_redraw.c - the second, larger pass of a drawing, and pictures drawn again by tiles: their recipes, their form, what they
 * take of memory, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kiln/edit.h"
#include "unit/tiny_session.h"

static size_t pixel_bytes(const kiln_image *k)
{
    return (size_t)kiln_image_channels(k) * (size_t)(kiln_image_bits(k) / 8);
}

/* ------------------------------------------------------------------------------------ the second pass */

static void a_second_pass_is_larger(void **state)
{
    (void)state;
    static const char *const upscalers[] = {
        "Latent",           "Latent (antialiased)",   "Latent (bicubic)", "Latent (bicubic antialiased)",
        "Latent (nearest)", "Latent (nearest-exact)", "Lanczos"};
    kiln_image *last = NULL;
    for (int k = 0; k < 7; k++) {
        kiln_draw_options o = tiny_options("a quiet harbour", 3);
        o.width = o.height = 16;
        o.hires_scale = 2;
        o.hires_steps = 2;
        o.hires_upscaler = upscalers[k];
        kiln_image *out = tiny_draw(session, &o);
        assert_int_equal(kiln_image_width(out), 32);
        kiln_recipe *recipe = NULL;
        kiln_draw_options again = kiln_draw_defaults();
        assert_ok(kiln_recipe_read(kiln_image_text(out, "parameters"), &recipe, err));
        kiln_recipe_apply(recipe, &again);
        assert_true(again.hires_scale == 2 && again.hires_steps == 2 && again.width == 16);
        kiln_image *repeated = tiny_draw(session, &again);
        assert_true(same_pixels(out, repeated));
        /* Enlarging, antialiasing changes nothing; twice, both kinds of nearest are one. */
        assert_true(!last || same_pixels(last, out) == (k == 1 || k == 5));
        kiln_image_free(last);
        last = out;
        kiln_image_free(repeated);
        kiln_recipe_free(recipe);
    }
    kiln_image_free(last);
}

static void a_second_pass_is_checked(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a quiet harbour", 3);
    kiln_image *out = NULL, *init = tiny_picture(32, 32, 3);
    o.hires_scale = 0.5;
    assert_refused(kiln_draw(session, &o, &out, err), KILN_BAD_ARGUMENT, "hires_scale");
    o.hires_scale = 2;
    o.init = init;
    assert_refused(kiln_draw(session, &o, &out, err), KILN_BAD_ARGUMENT, "second pass");
    o.init = NULL;
    o.hires_upscaler = "/nowhere/at.all";
    assert_int_not_equal(kiln_draw(session, &o, &out, NULL), KILN_OK);
    assert_null(out);
    kiln_image_free(init);
}

/* ------------------------------------------------------------------------------------ drawn again, larger */

static void a_redrawing_keeps_form_and_alpha(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++) {
        kiln_image *picture = picture_of(21, 17, channels, channels < 3 ? 8 : 16), *out = NULL, *again = NULL;
        kiln_redraw_options o = kiln_redraw_defaults(), back = kiln_redraw_defaults();
        kiln_recipe *recipe = NULL;
        o.draw.prompt = "a red door";
        o.draw.steps = 2;
        o.draw.seed = 4;
        o.overlap = 8;
        o.picture = picture;
        assert_ok(kiln_redraw(session, &o, &out, err));
        assert_int_equal(kiln_image_width(out), 42);
        assert_int_equal(kiln_image_height(out), 34);
        assert_int_equal(kiln_image_channels(out), channels);
        assert_int_equal(kiln_image_bits(out), kiln_image_bits(picture));
        assert_ok(kiln_recipe_read(kiln_image_text(out, "parameters"), &recipe, err));
        kiln_recipe_apply_redraw(recipe, &back);
        assert_true(back.overlap == 8 && back.width == 42 && back.draw.strength == 0.35);
        back.picture = picture;
        assert_ok(kiln_redraw(session, &back, &again, err));
        assert_memory_equal(kiln_image_pixels(out), kiln_image_pixels(again), 42 * 34 * pixel_bytes(out));
        kiln_recipe_free(recipe);
        kiln_image_free(again);
        kiln_image_free(out);
        kiln_image_free(picture);
    }
}

static void redrawings_are_checked(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(21, 17, 3, 8), *out = NULL;
    kiln_redraw_options o = kiln_redraw_defaults();
    o.draw.prompt = "";
    assert_refused(kiln_redraw(session, &o, &out, err), KILN_BAD_ARGUMENT, "picture");
    o.picture = picture;
    o.scale = 17;
    assert_refused(kiln_redraw(session, &o, &out, err), KILN_BAD_ARGUMENT, "scale");
    o.scale = 0;
    o.draw.batch = 2;
    assert_refused(kiln_redraw(session, &o, &out, err), KILN_BAD_ARGUMENT, "batch");
    o.draw.batch = 1;
    o.draw.width = 33;
    assert_refused(kiln_redraw(session, &o, &out, err), KILN_BAD_ARGUMENT, "tile");
    kiln_image_free(picture);
}

/* A limit that the plan names is kept to, and one below is refused before anything is drawn. */
static void second_passes_and_redrawings_are_planned(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a quiet harbour", 3);
    kiln_memory_plan plain, second, enlarged, tiles, large;
    kiln_image *out = NULL, *picture = picture_of(64, 48, 3, 8);
    o.width = o.height = 64;
    assert_ok(kiln_draw_plan(session, &o, &plain, err));
    o.hires_scale = 8;
    assert_ok(kiln_draw_plan(session, &o, &second, err));
    assert_true(second.activations > 4 * plain.activations && second.peak > plain.peak);
    o.hires_upscaler = TEST_DATA "/upscale/compact-x3.safetensors";
    assert_ok(kiln_draw_plan(session, &o, &enlarged, err));
    assert_true(enlarged.weights > second.weights);
    o.memory_limit = plain.peak + (second.peak - plain.peak) / 2;
    assert_refused(kiln_draw_plan(session, &o, &large, err), KILN_NO_MEMORY, "allowed");
    assert_refused(kiln_draw(session, &o, &out, err), KILN_NO_MEMORY, "allowed");
    kiln_redraw_options r = kiln_redraw_defaults();
    r.draw.prompt = "";
    r.picture = picture;
    assert_ok(kiln_redraw_plan(session, &r, &tiles, err));
    r.width = r.height = 6000;
    assert_ok(kiln_redraw_plan(session, &r, &large, err));
    assert_true(large.peak - tiles.peak > (int64_t)6000 * 6000 * 18);
    assert_int_equal(large.activations, tiles.activations);
    r.draw.memory_limit = large.peak / 2;
    assert_refused(kiln_redraw(session, &r, &out, err), KILN_NO_MEMORY, "allowed");
    r.draw.memory_limit = 0;
    r.upscaler = "/nowhere/at.all";
    assert_int_not_equal(kiln_redraw_plan(session, &r, &large, NULL), KILN_OK);
    kiln_image_free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_pass_is_larger),
        cmocka_unit_test(a_second_pass_is_checked),
        cmocka_unit_test(a_redrawing_keeps_form_and_alpha),
        cmocka_unit_test(redrawings_are_checked),
        cmocka_unit_test(second_passes_and_redrawings_are_planned),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
