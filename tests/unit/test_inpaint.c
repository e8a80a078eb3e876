/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_inpaint.c - parts of pictures drawn anew, and pictures gone on with, through the public interface: what is not meant
 * keeps its very samples whatever the picture's form, the mask's rules, refusals, recipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "kiln/edit.h"
#include "unit/tiny_session.h"

#include <math.h>

static kiln_image *select_box(const kiln_image *picture, int x, int y, int width, int height)
{
    kiln_image *mask = NULL;
    kiln_selection s = {.x = x, .y = y, .width = width, .height = height};
    assert_ok(kiln_select(picture, &s, &mask, err));
    return mask;
}

static kiln_inpaint_options options_of(const kiln_image *picture, const kiln_image *mask)
{
    kiln_inpaint_options o = kiln_inpaint_defaults();
    o.draw.prompt = "a red door";
    o.draw.steps = 2;
    o.draw.seed = 5;
    o.mask_blur = 1;
    o.picture = picture;
    o.mask = mask;
    return o;
}

static kiln_image *inpaint(const kiln_inpaint_options *o)
{
    kiln_image *out = NULL;
    assert_ok(kiln_inpaint(session, o, &out, err));
    return out;
}

static size_t pixel_bytes(const kiln_image *k)
{
    return (size_t)kiln_image_channels(k) * (size_t)(kiln_image_bits(k) / 8);
}

static const uint8_t *pixel(const kiln_image *k, int x, int y)
{
    return (const uint8_t *)kiln_image_pixels(k) +
           ((size_t)y * (size_t)kiln_image_width(k) + (size_t)x) * pixel_bytes(k);
}

/* Same form; equal outside of the box, and how many pixels differ within. */
static int changed_in(const kiln_image *before, const kiln_image *after, int x0, int y0, int width,
                      int height)
{
    int changed = 0;
    assert_int_equal(kiln_image_width(before), kiln_image_width(after));
    assert_int_equal(kiln_image_height(before), kiln_image_height(after));
    assert_int_equal(kiln_image_channels(before), kiln_image_channels(after));
    assert_int_equal(kiln_image_bits(before), kiln_image_bits(after));
    for (int y = 0; y < kiln_image_height(before); y++)
        for (int x = 0; x < kiln_image_width(before); x++) {
            bool same = memcmp(pixel(before, x, y), pixel(after, x, y), pixel_bytes(before)) == 0;
            bool in = x >= x0 && x < x0 + width && y >= y0 && y < y0 + height;
            assert_true(in || same);
            changed += !same;
        }
    return changed;
}

/* ------------------------------------------------------------------------------------ what stays */

/* The blur of 1 px reaches three pixels out: 2 round(2.5) + 1 taps. */
static void what_is_not_masked_stays_bit_for_bit(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++)
        for (int bits = 8; bits <= 16; bits += 8)
            for (int only_masked = 0; only_masked < 2; only_masked++) {
                kiln_image *picture = picture_of(37, 29, channels, bits),
                           *mask = select_box(picture, 9, 8, 12, 10);
                kiln_inpaint_options o = options_of(picture, mask);
                o.only_masked = only_masked;
                kiln_image *out = inpaint(&o);
                assert_true(changed_in(picture, out, 6, 5, 18, 16) > 60);
                kiln_image_free(out);
                kiln_image_free(mask);
                kiln_image_free(picture);
            }
}

static void every_content_and_way_keeps_it(void **state)
{
    (void)state;
    static const char *const contents[] = {"original", "fill", "latent noise", "latent nothing"};
    static const char *const samplers[] = {"DPM++ 2M", "DDIM", "model", "Euler a", "Heun"};
    kiln_image *picture = picture_of(40, 32, 3, 8), *mask = select_box(picture, 9, 8, 12, 10);
    kiln_image *last = NULL;
    for (int k = 0; k < 5; k++) {
        kiln_inpaint_options o = options_of(picture, mask);
        o.content = contents[k % 4];
        o.draw.sampler = samplers[k];
        o.draw.strength = k == 2 ? 1 : 0.75;
        o.soft = k == 3;
        kiln_image *out = inpaint(&o);
        assert_true(changed_in(picture, out, 6, 5, 18, 16) > 60 || o.soft);
        assert_true(!last || !same_pixels(last, out));
        kiln_image_free(last);
        last = out;
    }
    kiln_image_free(last);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

/* Whether a pixel of the mask within `reach` rows and columns is light. */
static bool white_near(const kiln_image *mask, int x, int y, int reach)
{
    for (int v = y - reach; v <= y + reach; v++)
        for (int u = x - reach; u <= x + reach; u++)
            if (u >= 0 && v >= 0 && u < kiln_image_width(mask) && v < kiln_image_height(mask) &&
                pixel(mask, u, v)[0] >= 127)
                return true;
    return false;
}

/* Pictures and masks that others made, grey and coloured masks alike. */
static void real_pairs_keep_what_is_not_masked(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a1111_img2img_basic.png", "a1111_mask_basic.png"},
        {"bertrand-gabioud-CpuFzIsHYJ0.png", "bertrand-gabioud-CpuFzIsHYJ0_mask.png"},
        {"overture-creations-5sI6fQgYIuo.png", "overture-creations-5sI6fQgYIuo_mask.png"},
        {"photo-1583445095369-9c651e7e5d34.png", "photo-1583445095369-9c651e7e5d34_mask.png"}};
    if (access(TEST_SHARED "/real/inpaint_pairs", R_OK) != 0) {
        print_message("skipped: no ../shared/real\n");
        skip();
    }
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        char path[400];
        kiln_image *picture = NULL, *mask = NULL;
        snprintf(path, sizeof path, TEST_SHARED "/real/inpaint_pairs/%s", pairs[k][0]);
        assert_ok(kiln_image_read(path, &picture, err));
        snprintf(path, sizeof path, TEST_SHARED "/real/inpaint_pairs/%s", pairs[k][1]);
        assert_ok(kiln_image_read(path, &mask, err));
        kiln_inpaint_options o = options_of(picture, mask);
        o.draw.width = o.draw.height = 64;
        o.mask_blur = 2; /* 5 px to each side */
        for (int only_masked = 0; only_masked < 2; only_masked++) {
            o.only_masked = only_masked;
            kiln_image *out = inpaint(&o);
            int kept = 0, changed = 0;
            for (int y = 0; y < kiln_image_height(picture); y++)
                for (int x = 0; x < kiln_image_width(picture); x++) {
                    bool same = memcmp(pixel(picture, x, y), pixel(out, x, y), pixel_bytes(picture)) == 0;
                    changed += !same;
                    kept += same;
                    assert_true(same || white_near(mask, x, y, 5));
                }
            assert_true(kept > 100 && changed > 100);
            kiln_image_free(out);
        }
        kiln_image_free(mask);
        kiln_image_free(picture);
    }
}

static void inverted_is_everything_else(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(32, 32, 3, 8), *mask = select_box(picture, 8, 8, 16, 16);
    kiln_inpaint_options o = options_of(picture, mask);
    o.invert = true;
    o.mask_blur = 0;
    kiln_image *out = inpaint(&o);
    for (int y = 8; y < 24; y++)
        for (int x = 8; x < 24; x++)
            assert_memory_equal(pixel(picture, x, y), pixel(out, x, y), 3);
    o.mask_grow = -3;
    kiln_image *less = inpaint(&o);
    for (int y = 5; y < 27; y++)
        for (int x = 8; x < 24; x++)
            assert_memory_equal(pixel(picture, x, y), pixel(less, x, y), 3);
    kiln_image_free(less);
    kiln_image_free(out);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

/* A mask of a pixel, a picture of a pixel, a mask of everything. */
static void odd_sizes_are_drawn(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 40}, {33, 3}, {32, 32}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int width = sizes[k][0], height = sizes[k][1];
        kiln_image *picture = picture_of(width, height, 3, 8),
                   *mask = select_box(picture, width / 2, height / 2, 1, 1), *all = NULL;
        kiln_selection s = {.width = 1000, .height = 1000};
        assert_ok(kiln_select(picture, &s, &all, err));
        kiln_inpaint_options o = options_of(picture, mask);
        o.mask_blur = 0;
        for (int only_masked = 0; only_masked < 2; only_masked++) {
            o.only_masked = only_masked;
            o.mask = mask;
            kiln_image *out = inpaint(&o);
            assert_int_equal(changed_in(picture, out, width / 2, height / 2, 1, 1), 1);
            kiln_image_free(out);
            o.mask = all;
            out = inpaint(&o);
            assert_true(changed_in(picture, out, 0, 0, width, height) >= width * height / 2);
            kiln_image_free(out);
        }
        kiln_image_free(all);
        kiln_image_free(mask);
        kiln_image_free(picture);
    }
}

static void what_is_drawn_is_opaque(void **state)
{
    (void)state;
    uint8_t pixels[32 * 32 * 4] = {0};
    kiln_image *picture = NULL, *mask = NULL;
    for (int i = 0; i < 32 * 32; i++)
        pixels[i * 4 + 3] = i % 32 < 16 ? 255 : 0;
    assert_ok(kiln_image_new(32, 32, 4, 8, pixels, &picture, err));
    assert_ok(kiln_select(picture, &(kiln_selection){.transparent = true}, &mask, err));
    kiln_inpaint_options o = options_of(picture, mask);
    o.mask_blur = 0;
    kiln_image *out = inpaint(&o);
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++)
            assert_int_equal(pixel(out, x, y)[3], 255);
    assert_true(changed_in(picture, out, 16, 0, 16, 32) == 16 * 32);
    kiln_image_free(out);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

static void a_batch_is_its_pictures_drawn_alone(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(32, 32, 3, 8), *mask = select_box(picture, 8, 8, 16, 16),
               *batch[3] = {NULL};
    kiln_inpaint_options o = options_of(picture, mask);
    o.content = "latent noise";
    o.draw.batch = 3;
    assert_ok(kiln_inpaint(session, &o, batch, err));
    o.draw.batch = 1;
    o.draw.seed = 7;
    kiln_image *alone = inpaint(&o);
    assert_true(same_pixels(alone, batch[2]));
    assert_string_equal(kiln_image_text(alone, "parameters"), kiln_image_text(batch[2], "parameters"));
    for (int k = 0; k < 3; k++)
        kiln_image_free(batch[k]);
    kiln_image_free(alone);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

/* ------------------------------------------------------------------------------------ recipes, refusals */

static void recipes_are_read_back(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(48, 40, 3, 8), *mask = select_box(picture, 8, 8, 16, 16);
    for (int k = 0; k < 2; k++) {
        kiln_inpaint_options o = options_of(picture, mask), again = kiln_inpaint_defaults();
        o.mask_grow = 2;
        o.content = "fill";
        o.only_masked = k;
        o.padding = 9;
        o.soft = k;
        o.soft_threshold = 0.25;
        o.draw.rng = "cpu";
        kiln_image *out = inpaint(&o);
        const char *text = kiln_image_text(out, "parameters");
        kiln_recipe *recipe = NULL;
        assert_ok(kiln_recipe_read(text, &recipe, err));
        kiln_recipe_apply_inpaint(recipe, &again);
        again.picture = picture;
        again.mask = mask;
        kiln_image *repeated = inpaint(&again);
        assert_true(same_pixels(out, repeated));
        assert_string_equal(kiln_recipe_field(recipe, "Masked content"), "fill");
        assert_string_equal(kiln_recipe_field(recipe, "Inpaint area"), k ? "Only masked" : "Whole picture");
        assert_string_equal(kiln_recipe_field(recipe, "Denoising strength"), "0.75");
        kiln_recipe_free(recipe);
        kiln_image_free(repeated);
        kiln_image_free(out);
    }
    kiln_image_free(mask);
    kiln_image_free(picture);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(32, 32, 3, 8), *other = picture_of(31, 32, 1, 8), *black = NULL,
               *out = NULL;
    assert_ok(kiln_image_new(32, 32, 1, 8, NULL, &black, err));
    kiln_inpaint_options o = options_of(picture, other);
    assert_refused(kiln_inpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "31x32");
    o.mask = black;
    assert_refused(kiln_inpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "selects nothing");
    assert_null(out);
    o.invert = true;
    o.mask_grow = -100;
    o.content = "what";
    assert_refused(kiln_inpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "latent nothing");
    o.content = "fill";
    o.mask_blur = NAN;
    assert_refused(kiln_inpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "mask_blur");
    o.mask_blur = 4;
    o.mask = NULL;
    assert_refused(kiln_inpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "mask");
    kiln_selection s = {.transparent = true};
    assert_refused(kiln_select(picture, &s, &out, err), KILN_BAD_ARGUMENT, "transparency");
    s = (kiln_selection){.width = 5};
    assert_refused(kiln_select(picture, &s, &out, err), KILN_BAD_ARGUMENT, "rectangle");
    s = (kiln_selection){.point_count = 2, .points = (kiln_point[2]){{0}}};
    assert_refused(kiln_select(picture, &s, &out, err), KILN_BAD_ARGUMENT, "polygon");
    kiln_image_free(picture);
    kiln_image_free(other);
    kiln_image_free(black);
}

/* ------------------------------------------------------------------------------------ outpainting */

static kiln_outpaint_options outward(const kiln_image *picture)
{
    kiln_outpaint_options o = kiln_outpaint_defaults();
    o.draw.prompt = "a beach";
    o.draw.steps = 2;
    o.draw.seed = 9;
    o.feather = 8;
    o.picture = picture;
    return o;
}

/* The picture lies at (left, up) in the canvas, to the bit, and the rest of the canvas is drawn. */
static void assert_inside(const kiln_image *picture, const kiln_image *canvas, int left, int up)
{
    int width = kiln_image_width(picture);
    for (int y = 0; y < kiln_image_height(picture); y++)
        assert_memory_equal(pixel(picture, 0, y), pixel(canvas, left, up + y),
                            (size_t)width * pixel_bytes(picture));
    int channels = kiln_image_channels(canvas);
    bool alpha = channels == 2 || channels == 4, wide = kiln_image_bits(canvas) == 16;
    for (int y = 0; alpha && y < kiln_image_height(canvas); y++)
        for (int x = 0; x < kiln_image_width(canvas); x++) {
            if (x >= left && x < left + width && y >= up && y < up + kiln_image_height(picture))
                continue;
            const uint8_t *p = pixel(canvas, x, y);
            assert_int_equal(wide ? ((const uint16_t *)(const void *)p)[channels - 1] : p[channels - 1],
                             wide ? 65535 : 255);
        }
}

static void outpainting_keeps_the_picture(void **state)
{
    (void)state;
    static const char *const fills[] = {"edge", "mirror", "blurred", "noise", "latent noise"};
    for (int k = 0; k < 5; k++) {
        kiln_image *picture = picture_of(21 + 5 * k, 30 - k, 1 + k % 4, k < 3 ? 8 : 16), *out = NULL;
        kiln_outpaint_options o = outward(picture);
        o.fill = fills[k];
        o.left = 5;
        o.right = k % 2 ? 40 : 0;
        o.up = k == 2 ? 9 : 0;
        o.down = 3 * k;
        o.repeat = 1 + (k == 0);
        assert_ok(kiln_outpaint(session, &o, &out, err));
        assert_int_equal(kiln_image_width(out), kiln_image_width(picture) + o.repeat * (o.left + o.right));
        assert_int_equal(kiln_image_height(out), kiln_image_height(picture) + o.repeat * (o.up + o.down));
        assert_int_equal(kiln_image_channels(out), kiln_image_channels(picture));
        assert_inside(picture, out, o.repeat * o.left, o.repeat * o.up);
        kiln_image_free(out);
        kiln_image_free(picture);
    }
}

static void outpainting_is_repeated_by_its_recipe(void **state)
{
    (void)state;
    kiln_image *picture = picture_of(32, 32, 3, 8), *out = NULL, *again = NULL;
    kiln_outpaint_options o = outward(picture), back = kiln_outpaint_defaults();
    kiln_recipe *recipe = NULL;
    o.right = 20;
    o.up = 6;
    o.draw.negative = "people";
    assert_ok(kiln_outpaint(session, &o, &out, err));
    assert_ok(kiln_recipe_read(kiln_image_text(out, "parameters"), &recipe, err));
    kiln_recipe_apply_outpaint(recipe, &back);
    assert_null(kiln_recipe_field(recipe, "Conditioning"));
    back.picture = picture;
    assert_ok(kiln_outpaint(session, &back, &again, err));
    assert_true(same_pixels(out, again));
    assert_string_equal(kiln_image_text(out, "parameters"), kiln_image_text(again, "parameters"));
    kiln_recipe_free(recipe);
    kiln_image_free(picture);
    kiln_image_free(again);
    kiln_image_free(out);
}

static void targets_are_met(void **state)
{
    (void)state;
    kiln_outpaint_options o = kiln_outpaint_defaults();
    assert_ok(kiln_outpaint_to(&o, 512, 512, 16, 9, true, NULL, err));
    assert_true(o.left == 199 && o.right == 200 && o.up == 0 && o.down == 0);
    assert_ok(kiln_outpaint_to(&o, 512, 512, 9, 16, true, "bottom", err));
    assert_true(o.up == 399 && o.down == 0 && o.left == 0 && o.right == 0);
    assert_ok(kiln_outpaint_to(&o, 100, 50, 130, 80, false, "top-right", err));
    assert_true(o.left == 30 && o.right == 0 && o.up == 0 && o.down == 30);
    assert_refused(kiln_outpaint_to(&o, 100, 50, 90, 80, false, NULL, err), KILN_BAD_ARGUMENT, "fit");
    assert_refused(kiln_outpaint_to(&o, 100, 50, 200, 80, false, "middle", err), KILN_BAD_ARGUMENT, "anchor");
    assert_refused(kiln_outpaint_to(&o, 60000, 50, 1, 9000, true, NULL, err), KILN_BAD_ARGUMENT, "large");
    kiln_image *picture = picture_of(32, 32, 3, 8), *out = NULL;
    o = outward(picture);
    assert_refused(kiln_outpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "nothing");
    o.left = 8;
    o.fill = "hot water";
    assert_refused(kiln_outpaint(session, &o, &out, err), KILN_BAD_ARGUMENT, "fill");
    kiln_image_free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_masked_stays_bit_for_bit),
        cmocka_unit_test(real_pairs_keep_what_is_not_masked),
        cmocka_unit_test(every_content_and_way_keeps_it),
        cmocka_unit_test(inverted_is_everything_else),
        cmocka_unit_test(odd_sizes_are_drawn),
        cmocka_unit_test(what_is_drawn_is_opaque),
        cmocka_unit_test(a_batch_is_its_pictures_drawn_alone),
        cmocka_unit_test(recipes_are_read_back),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(outpainting_keeps_the_picture),
        cmocka_unit_test(outpainting_is_repeated_by_its_recipe),
        cmocka_unit_test(targets_are_met),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
