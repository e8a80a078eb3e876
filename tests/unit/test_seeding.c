/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_seeding.c - variation seeds, seeds of another size, ENSD: against torch's numbers, in pictures, in recipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/seeding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

/* Shape [2, 8, 6]. Made with torch 1.13: randn of a generator for each seed, the arc and the placing in its float arithmetic. */
static const struct {
    uint64_t seed, variation;
    double strength;
    int width, height; /* resized from; 0: no */
    float at[10], sum; /* at the places below; and of number i times i + 1 */
} torch_says[] = {
    {1,
     9,
     0.3,
     0,
     0,
     {-1.521267f, -0.7551926f, -1.906031f, 1.201199f, 0.2597151f, -0.9524425f, -1.40362f, -1.059297f,
      -0.02782077f, 1.864954f},
     -404.1714f},
    {5,
     6,
     1,
     0,
     0,
     {-1.211305f, 0.6303586f, 0.3264293f, 0.1456578f, -0.4460289f, -0.7613316f, 0.1276754f, -1.434697f,
      0.8299046f, -0.04202818f},
     -367.7276f},
    {1,
     1,
     0.25,
     0,
     0,
     {-1.525596f, -0.7502318f, -1.609096f, 0.8656924f, -0.07213178f, -0.6298472f, -0.9273917f, -0.8695876f,
      -0.5600824f, 1.990704f},
     -561.8344f},
    {3,
     0,
     0,
     6,
     4,
     {-0.07664429f, 0.3598815f, -1.596708f, -0.05168096f, 0.522187f, 0.8194592f, -0.455424f, 2.256557f,
      0.1416285f, -0.3093895f},
     605.6599f},
    {3,
     11,
     0.5,
     6,
     4,
     {-0.07664429f, 0.3598815f, -1.596708f, -0.2567822f, -0.5478075f, 0.8194592f, -0.455424f, 1.693995f,
      -0.3960215f, -0.3093895f},
     780.0255f},
    {3,
     11,
     0.5,
     3,
     9,
     {-0.07664429f, 0.1200896f, 1.088205f, 0.3269931f, 0.5342579f, 0.8194592f, -0.455424f, 1.092427f,
      -0.7893384f, -0.3093895f},
     470.4147f},
    {7,
     2,
     0.1,
     13,
     11,
     {-1.36146f, -1.073394f, -0.4722664f, -0.4590932f, 1.106766f, 0.2600362f, 0.0402568f, -2.338932f,
      -0.3865778f, 1.420551f},
     -354.6043f},
};
static const int places[10] = {0, 1, 7, 20, 33, 47, 48, 61, 77, 95};

static void noise_is_that_of_torch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof torch_says / sizeof *torch_says; i++) {
        kiln_draw_options o = kiln_draw_defaults();
        o.seed = torch_says[i].seed;
        o.seeding = (kiln_seeding){.variation_strength = torch_says[i].strength,
                                   .variation_seed = torch_says[i].variation,
                                   .resize_width = torch_says[i].width * 8,
                                   .resize_height = torch_says[i].height * 8};
        noise_source stream;
        float x[96];
        double sum = 0;
        noise_init(&stream, NOISE_TORCH, o.seed);
        assert_ok(seeding_start(&o, NOISE_TORCH, 0, (noise_shape){2, 8, 6}, 8, &stream, x, err));
        for (int k = 0; k < 10; k++)
            assert_true(fabsf(x[places[k]] - torch_says[i].at[k]) < 2e-6f);
        for (int k = 0; k < 96; k++)
            sum += (double)x[k] * (k + 1);
        assert_true(fabs(sum - (double)torch_says[i].sum) < 1e-3);
    }
}

/* The noise keeps its spread along the whole way, which a straight line would lose. */
static void the_arc_keeps_the_spread(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    noise_source stream;
    static float x[SIDE * SIDE];
    for (int i = 0; i <= 4; i++) {
        kiln_draw_options o = kiln_draw_defaults();
        double squares = 0;
        o.seeding = (kiln_seeding){.variation_strength = i / 4.0, .variation_seed = 5};
        noise_init(&stream, NOISE_TORCH, o.seed);
        assert_ok(seeding_start(&o, NOISE_TORCH, 0, (noise_shape){1, SIDE, SIDE}, 8, &stream, x, err));
        for (int k = 0; k < SIDE * SIDE; k++)
            squares += (double)x[k] * (double)x[k];
        assert_true(fabs(squares / (SIDE * SIDE) - 1) < 0.06);
    }
}

static void a_batch_goes_through_the_variations(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 4);
    kiln_image *batch[3] = {NULL}, *plain = tiny_draw(session, &o);
    o.seeding.variation_seed = 9;
    kiln_image *unvaried = tiny_draw(session, &o);
    assert_true(same_pixels(plain, unvaried));
    o.seeding.variation_strength = 0.4;
    o.batch = 3;
    assert_ok(kiln_draw(session, &o, batch, err));
    o.batch = 1;
    for (int k = 0; k < 3; k++) {
        kiln_image *alone = tiny_draw(session, &o);
        assert_true(same_pixels(batch[k], alone));
        assert_false(same_pixels(batch[k], plain));
        assert_string_equal(kiln_image_text(batch[k], "parameters"), kiln_image_text(alone, "parameters"));
        o.seeding.variation_seed++;
        kiln_image_free(alone);
        kiln_image_free(batch[k]);
    }
    kiln_image_free(unvaried);
    kiln_image_free(plain);
}

static void a_seed_of_the_same_size_is_itself(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 4);
    kiln_image *plain = tiny_draw(session, &o);
    o.seeding.resize_width = kiln_image_width(plain);
    o.seeding.resize_height = kiln_image_height(plain);
    kiln_image *same = tiny_draw(session, &o);
    o.seeding.resize_width /= 2;
    kiln_image *other = tiny_draw(session, &o);
    assert_true(same_pixels(plain, same));
    assert_false(same_pixels(plain, other));
    kiln_image_free(plain);
    kiln_image_free(same);
    kiln_image_free(other);
}

/* ENSD changes what the steps draw, and nothing where they draw nothing of the stream. */
static void the_delta_is_for_steps_with_noise(void **state)
{
    (void)state;
    static const struct {
        const char *sampler;
        bool changes;
    } cases[] = {{"Euler a", true}, {"DPM2 a", true}, {"Euler", false}, {"DPM++ SDE", false}};
    for (int i = 0; i < 4; i++) {
        kiln_draw_options o = tiny_options("a fox", 4);
        o.sampler = cases[i].sampler;
        kiln_image *plain = tiny_draw(session, &o);
        o.seeding.eta_noise_seed_delta = 31337;
        kiln_image *moved = tiny_draw(session, &o);
        assert_int_equal(!same_pixels(plain, moved), cases[i].changes);
        assert_int_equal(strstr(kiln_image_text(moved, "parameters"), "ENSD: 31337") != NULL,
                         cases[i].changes);
        kiln_image_free(plain);
        kiln_image_free(moved);
    }
}

static void recipes_carry_it(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 4), again = kiln_draw_defaults();
    o.sampler = "Euler a";
    o.seeding = (kiln_seeding){.variation_strength = 0.35,
                               .variation_seed = 18446744073709551615u,
                               .resize_width = 24,
                               .resize_height = 40,
                               .eta_noise_seed_delta = -3};
    kiln_image *picture = tiny_draw(session, &o);
    kiln_recipe *recipe = NULL;
    assert_ok(kiln_recipe_read(kiln_image_text(picture, "parameters"), &recipe, err));
    kiln_recipe_apply(recipe, &again);
    assert_memory_equal(&again.seeding, &o.seeding, sizeof o.seeding);
    kiln_image *repeated = tiny_draw(session, &again);
    assert_true(same_pixels(picture, repeated));
    kiln_recipe_free(recipe);
    kiln_image_free(picture);
    kiln_image_free(repeated);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    kiln_memory_plan plan;
    kiln_draw_options o = tiny_options("a fox", 4);
    o.seeding.variation_strength = 1.5;
    assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_BAD_ARGUMENT, "variation_strength");
    o.seeding.variation_strength = (double)NAN;
    assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_BAD_ARGUMENT, "variation_strength");
    o.seeding = (kiln_seeding){.resize_width = 64};
    assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_BAD_ARGUMENT, "width and a height");
    o.seeding = (kiln_seeding){.resize_width = -8, .resize_height = 8};
    assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_BAD_ARGUMENT, "resize_width");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_that_of_torch),
        cmocka_unit_test(the_arc_keeps_the_spread),
        cmocka_unit_test(a_batch_goes_through_the_variations),
        cmocka_unit_test(a_seed_of_the_same_size_is_itself),
        cmocka_unit_test(the_delta_is_for_steps_with_noise),
        cmocka_unit_test(recipes_carry_it),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
