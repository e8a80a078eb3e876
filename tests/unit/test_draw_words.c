/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_draw_words.c - prompts, semantic maps and recipes through the public interface: a picture's own text draws it again,
 * a saved map draws what its prompt draws, hostile maps and odd prompts are refused or drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

#include <math.h>

static const char words[] = "a quiet harbour at dawn, oil on canvas";
static const char map_path[] = "test_draw_words_map.safetensors";

/* ------------------------------------------------------------------------------------ recipes */

/* Read the picture's text, draw by it, and compare picture and text. */
static void assert_repeats(const kiln_draw_options *o)
{
    kiln_image *first = tiny_draw(session, o);
    const char *text = kiln_image_text(first, "parameters");
    assert_non_null(text);
    kiln_recipe *recipe = NULL;
    assert_ok(kiln_recipe_read(text, &recipe, err));
    kiln_draw_options again = kiln_draw_defaults();
    again.init = o->init;
    kiln_recipe_apply(recipe, &again);
    kiln_image *second = tiny_draw(session, &again);
    if (!same_pixels(first, second) || strcmp(text, kiln_image_text(second, "parameters")) != 0)
        fail_msg("the recipe draws another picture:\n%s\nthen\n%s", text,
                 kiln_image_text(second, "parameters"));
    kiln_recipe_free(recipe);
    kiln_image_free(first);
    kiln_image_free(second);
}

static void a_recipe_draws_the_picture_again(void **state)
{
    (void)state;
    static const char *const prompts[] = {
        "",
        "a fox",
        "a, b: c, Steps: 3, Seed: 4",
        "\"quoted\", \\ back\\slash",
        "two\nlines, and\n\na third",
        "line\nSteps: 9, Sampler: Euler",
        "h\xc3\xa9ron \xe9\xb7\xba \xf0\x9f\xa6\xa2",
        "(weight:1.2) [less] {x|y}",
        "ends: ",
        " starts",
        "tab\there",
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8",
        "a BREAK b",
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
        for (size_t k = 0; k < 3; k++) {
            kiln_draw_options o = tiny_options(prompts[i], 77 + i);
            o.negative = k == 0 ? NULL : k == 1 ? "" : prompts[(i + 3) % (sizeof prompts / sizeof *prompts)];
            o.width = o.height = 16;
            o.steps = 2;
            assert_repeats(&o);
        }
}

static void a_recipe_holds_every_number(void **state)
{
    (void)state;
    kiln_image *init = tiny_picture(32, 32, 3);
    kiln_draw_options o = tiny_options(words, UINT64_MAX);
    o.rng = "nv";
    o.cfg = 6.123456789012345;
    o.cfg_rescale = 0.7000000000000001;
    o.eta = 1.0 / 3;
    o.sampler = "Euler a";
    o.schedule = "Exponential";
    o.clip_skip = 2;
    o.width = 48;
    o.height = 20;
    assert_repeats(&o);
    o.init = init;
    o.strength = 0.29999999999999999;
    o.steps = 10;
    assert_repeats(&o);
    o.strength = 1;
    o.cfg = 1;
    assert_repeats(&o);
    o.cfg = 0;
    assert_repeats(&o);
    kiln_image_free(init);
}

static void a_recipe_holds_every_sampler(void **state)
{
    (void)state;
    kiln_image *init = tiny_picture(32, 32, 3);
    for (int i = -1; i < 0 || kiln_sampler_name(i); i++)
        for (int k = 0; k < 2; k++) {
            kiln_draw_options o = tiny_options(words, 9);
            o.sampler = i < 0 ? "model" : kiln_sampler_name(i);
            o.init = k ? init : NULL;
            o.width = o.height = 16;
            o.steps = 3;
            assert_repeats(&o);
        }
    for (int i = 0; kiln_schedule_name(i); i++) {
        kiln_draw_options o = tiny_options(words, 9);
        o.sampler = "DPM++ 2M";
        o.width = o.height = 16;
        o.schedule = kiln_schedule_name(i);
        assert_repeats(&o);
    }
    kiln_image_free(init);
}

static void texts_without_a_recipe(void **state)
{
    (void)state;
    kiln_recipe *r = NULL;
    assert_refused(kiln_recipe_read("a fox", &r, err), KILN_BAD_FORMAT, "no recipe");
    assert_null(r);
    assert_refused(kiln_recipe_read("", &r, err), KILN_BAD_FORMAT, "no recipe");
    assert_refused(kiln_recipe_read("\xff\xfe", &r, err), KILN_BAD_FORMAT, "UTF-8");
    assert_refused(kiln_recipe_read(NULL, &r, err), KILN_BAD_ARGUMENT, "no text");
    assert_int_equal(kiln_recipe_read("a fox", &r, NULL), KILN_BAD_FORMAT);
    /* Fields that are no numbers leave the options alone. */
    kiln_draw_options o = kiln_draw_defaults(), defaults = o;
    assert_ok(kiln_recipe_read(
        "x\nSteps: many, Sampler: Euler, CFG scale: nan, Seed: 7, Size: 64x, Clip skip: 1e99", &r, err));
    kiln_recipe_apply(r, &o);
    assert_int_equal(o.steps, defaults.steps);
    assert_true(o.cfg == defaults.cfg && o.width == 0 && o.height == 0 && o.clip_skip == 1 && o.seed == 7);
    assert_string_equal(kiln_recipe_field(r, "Size"), "64x");
    assert_null(kiln_recipe_field(r, "Nothing"));
    kiln_recipe_free(r);
    kiln_recipe_free(NULL);
}

/* ------------------------------------------------------------------------------------ maps */

static void a_saved_map_draws_what_its_prompt_draws(void **state)
{
    (void)state;
    kiln_map *fresh = NULL, *loaded = NULL, *negative = NULL;
    kiln_draw_options o = tiny_options(words, 4);
    o.negative = "blurry";
    kiln_image *by_prompt = tiny_draw(session, &o);
    assert_ok(kiln_encode_text(session, words, 1, NULL, &fresh, err));
    assert_ok(kiln_encode_text(session, "blurry", 1, NULL, &negative, err));
    assert_ok(kiln_map_save(fresh, map_path, err));
    assert_ok(kiln_map_load(map_path, &loaded, err));
    remove(map_path);
    assert_int_equal(kiln_map_count(loaded), 1);
    assert_null(kiln_map_tensor(loaded, 1, NULL, NULL, NULL));
    assert_null(kiln_map_tensor(loaded, -1, NULL, NULL, NULL));
    o.prompt = NULL;
    o.conditioning = loaded;
    kiln_image *by_map = tiny_draw(session, &o);
    assert_true(same_pixels(by_prompt, by_map));
    o.negative = NULL;
    o.negative_conditioning = negative;
    kiln_image *by_maps = tiny_draw(session, &o);
    assert_true(same_pixels(by_prompt, by_maps));
    kiln_image_free(by_prompt);
    kiln_image_free(by_map);
    kiln_image_free(by_maps);
    kiln_map_free(fresh);
    kiln_map_free(loaded);
    kiln_map_free(negative);
    kiln_map_free(NULL);
}

/* A safetensors file of one f32 tensor, every element `value`. */
static kiln_map *map_of(const char *kind, const char *name, const char *shape, int elements, float value)
{
    char header[512];
    int length = snprintf(header, sizeof header,
                          "{\"__metadata__\":{\"kiln.kind\":\"%s\"},\"%s\":{\"dtype\":\"F32\",\"shape\":%s,"
                          "\"data_offsets\":[0,%d]}}",
                          kind, name, shape, elements * 4);
    uint64_t size = (uint64_t)length;
    FILE *f = fopen(map_path, "wb");
    assert_non_null(f);
    fwrite(&size, sizeof size, 1, f);
    fwrite(header, 1, (size_t)length, f);
    for (int i = 0; i < elements; i++)
        fwrite(&value, sizeof value, 1, f);
    fclose(f);
    kiln_map *m = NULL;
    assert_ok(kiln_map_load(map_path, &m, err));
    remove(map_path);
    return m;
}

static void maps_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *name, *shape;
        int elements;
        float value;
        kiln_status status;
        const char *word;
    } cases[] = {
        {"conditioning", "context", "[1,7,32]", 7 * 32, 1, KILN_OK, ""},
        {"conditioning", "context", "[1,77,31]", 77 * 31, 1, KILN_MISMATCH, "width 31"},
        {"conditioning", "context", "[2,77,32]", 2 * 77 * 32, 1, KILN_BAD_ARGUMENT, "context"},
        {"conditioning", "context", "[77,32]", 77 * 32, 1, KILN_BAD_ARGUMENT, "context"},
        {"conditioning", "other", "[1,77,32]", 77 * 32, 1, KILN_BAD_ARGUMENT, "context"},
        {"latents", "context", "[1,77,32]", 77 * 32, 1, KILN_BAD_ARGUMENT, "not a conditioning"},
        {"conditioning", "context", "[1,77,32]", 77 * 32, NAN, KILN_BAD_FORMAT, "NaN"},
        {"conditioning", "context", "[1,77,32]", 77 * 32, INFINITY, KILN_BAD_FORMAT, "NaN"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_map *m = map_of(cases[i].kind, cases[i].name, cases[i].shape, cases[i].elements, cases[i].value);
        for (int negative = 0; negative < 2; negative++) {
            kiln_draw_options o = tiny_options(words, 4);
            kiln_memory_plan plan;
            kiln_image *out = NULL;
            *(negative ? &o.negative_conditioning : &o.conditioning) = m;
            if (cases[i].status == KILN_OK) {
                kiln_image_free(tiny_draw(session, &o));
                continue;
            }
            assert_refused(kiln_draw_plan(session, &o, &plan, err), cases[i].status, cases[i].word);
            assert_refused(kiln_draw(session, &o, &out, err), cases[i].status, cases[i].word);
            assert_null(out);
        }
        kiln_map_free(m);
    }
}

static void latents_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        int elements;
        float value;
        kiln_status status;
        const char *word;
    } cases[] = {
        {"[1,4,3,5]", 60, 0.5f, KILN_OK, ""},
        {"[1,3,4,5]", 60, 0.5f, KILN_MISMATCH, "[1,4,h,w]"},
        {"[4,3,5]", 60, 0.5f, KILN_MISMATCH, "[1,4"},
        {"[2,4,3,5]", 120, 0.5f, KILN_MISMATCH, "[1,4"},
        {"[1,4,3,5]", 60, NAN, KILN_BAD_FORMAT, "not a number"},
        {"[1,4,1,40000]", 160000, 0.5f, KILN_BAD_ARGUMENT, "too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_map *m = map_of("latents", "latents", cases[i].shape, cases[i].elements, cases[i].value);
        kiln_image *out = NULL;
        if (cases[i].status == KILN_OK)
            assert_ok(kiln_decode_latents(session, m, &out, err));
        else
            assert_refused(kiln_decode_latents(session, m, &out, err), cases[i].status, cases[i].word);
        kiln_image_free(out);
        kiln_map_free(m);
    }
}

static void files_that_are_no_maps(void **state)
{
    (void)state;
    kiln_map *m = NULL;
    assert_refused(kiln_map_load(TINY_PATH "/unet/diffusion_pytorch_model.safetensors", &m, err),
                   KILN_BAD_FORMAT, "not a semantic map");
    assert_null(m);
    assert_refused(kiln_map_load(TINY_PATH "/unet/config.json", &m, err), KILN_BAD_FORMAT, "config.json");
    assert_refused(kiln_map_load("nowhere/at.all", &m, err), KILN_NOT_FOUND, "nowhere/at.all");
    assert_ok(kiln_encode_text(session, words, 1, NULL, &m, err));
    assert_refused(kiln_map_save(m, "nowhere/at.all", err), KILN_NOT_FOUND, "nowhere/at.all");
    kiln_map_free(m);
}

/* ------------------------------------------------------------------------------------ prompts */

static char *repeated(const char *word, int count)
{
    size_t length = strlen(word);
    char *text = malloc(length * (size_t)count + 1);
    assert_non_null(text);
    for (int i = 0; i < count; i++)
        memcpy(text + length * (size_t)i, word, length);
    text[length * (size_t)count] = '\0';
    return text;
}

static void prompts_of_any_length(void **state)
{
    (void)state;
    char *words_5000 = repeated("harbour ", 5000), *endless = repeated("harbour ", 20000);
    kiln_draw_options o = tiny_options(words_5000, 4);
    kiln_image *out = NULL, *same[3];
    o.steps = 2;
    o.negative = "blurry"; /* another number of windows: two passes */
    same[0] = tiny_draw(session, &o);
    o.negative = words_5000;
    o.prompt = "";
    same[1] = tiny_draw(session, &o);
    o.prompt = o.negative;
    same[2] = tiny_draw(session, &o); /* guidance between equals */
    assert_false(same_pixels(same[0], same[1]));
    for (int i = 0; i < 3; i++)
        kiln_image_free(same[i]);
    o.prompt = endless;
    assert_refused(kiln_draw(session, &o, &out, err), KILN_BAD_ARGUMENT, "prompt");
    assert_null(out);
    free(words_5000);
    free(endless);
}

static void prompts_that_are_no_text(void **state)
{
    (void)state;
    kiln_map *map = NULL;
    assert_ok(kiln_encode_text(session, words, 1, NULL, &map, err));
    for (int k = 0; k < 4; k++) {
        kiln_draw_options o = tiny_options(words, 4);
        kiln_memory_plan plan;
        kiln_image *out = NULL;
        *(k & 1 ? &o.negative : &o.prompt) = "caf\xe9";
        o.cfg = k == 3 ? 1 : 7; /* a negative prompt that is not used is recorded all the same */
        o.conditioning = k == 2 ? map : NULL; /* so is a prompt beside a map */
        assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_BAD_ARGUMENT, "UTF-8");
        assert_refused(kiln_draw(session, &o, &out, err), KILN_BAD_ARGUMENT, "UTF-8");
        assert_null(out);
    }
    kiln_draw_options o = tiny_options(NULL, 4);
    kiln_image *out = NULL;
    assert_refused(kiln_draw(session, &o, &out, err), KILN_BAD_ARGUMENT, "neither a prompt");
    kiln_map *none = map;
    assert_refused(kiln_encode_text(session, "\xff", 1, NULL, &none, err), KILN_BAD_ARGUMENT, "UTF-8");
    assert_null(none);
    assert_refused(kiln_encode_text(session, words, 0, NULL, &none, err), KILN_BAD_ARGUMENT, "clip_skip");
    assert_refused(kiln_encode_text(session, words, 1000, NULL, &none, err), KILN_BAD_ARGUMENT, "clip_skip");
    assert_refused(kiln_encode_text(session, NULL, 1, NULL, &none, err), KILN_BAD_ARGUMENT, "no prompt");
    kiln_map_free(map);
}

static void words_matter(void **state)
{
    (void)state;
    kiln_draw_options a = tiny_options("a fox", 4), b = tiny_options("a boat", 4), c = a;
    c.negative = "a boat";
    kiln_image *x = tiny_draw(session, &a), *y = tiny_draw(session, &b), *z = tiny_draw(session, &c);
    assert_false(same_pixels(x, y));
    assert_false(same_pixels(x, z));
    kiln_image_free(x);
    kiln_image_free(y);
    kiln_image_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_matter),
        cmocka_unit_test(a_recipe_draws_the_picture_again),
        cmocka_unit_test(a_recipe_holds_every_number),
        cmocka_unit_test(a_recipe_holds_every_sampler),
        cmocka_unit_test(texts_without_a_recipe),
        cmocka_unit_test(a_saved_map_draws_what_its_prompt_draws),
        cmocka_unit_test(maps_that_do_not_fit),
        cmocka_unit_test(latents_that_do_not_fit),
        cmocka_unit_test(files_that_are_no_maps),
        cmocka_unit_test(prompts_of_any_length),
        cmocka_unit_test(prompts_that_are_no_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
