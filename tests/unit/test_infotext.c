/* floors: base image */
/* test_infotext.c - generation parameters: what A1111 and others write is read, and comes back byte for
 * byte. */
#include "image/infotext.h"
#include "image/picture_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static infotext *parse(const char *text)
{
    infotext *info = NULL;
    kiln_error err = {0};
    if (infotext_parse(text, &info, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return info;
}

static void assert_same_after_building(const char *text)
{
    infotext *info = parse(text);
    char *built = infotext_build(info);
    assert_string_equal(built, text);
    free(built);
    infotext_free(info);
}

static void a_usual_text_is_read(void **state)
{
    (void)state;
    infotext *info =
        parse("a cat,\non a mat\nNegative prompt: dog, \"bad\"\nworse\n"
              "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, "
              "Model: v1-5, Lora hashes: \"a: 0123456789ab, b: \\u00e9\\\"\\\\\", Version: v1.10.1");
    int width, height;
    assert_string_equal(info->prompt, "a cat,\non a mat");
    assert_string_equal(info->negative, "dog, \"bad\"\nworse");
    assert_int_equal(info->count, 9);
    assert_string_equal(infotext_get(info, "Sampler"), "DPM++ 2M");
    assert_string_equal(infotext_get(info, "Schedule type"), "Karras");
    assert_string_equal(infotext_get(info, "Lora hashes"), "a: 0123456789ab, b: \xC3\xA9\"\\");
    assert_true(infotext_get_size(info, "Size", &width, &height));
    assert_int_equal(width, 512);
    assert_int_equal(height, 768);
    assert_false(infotext_get_size(info, "Model", &width, &height));
    assert_false(infotext_get_size(info, "Clip skip", &width, &height));
    assert_null(infotext_get(info, "Clip skip"));
    infotext_free(info);
}

static void canonical_texts_come_back(void **state)
{
    static const char *const texts[] = {
        "",
        "only a prompt",
        "a\n\n b \nNegative prompt: x\nSteps: 1, Seed: 2, Size: 8x8",
        "Steps: 1, Seed: 2, Size: 8x8",
        "Negative prompt: x\nSteps: 1, Seed: 2, Size: 8x8",
        "\xE7\x8C\xAB \xF0\x9F\x90\xB1\nSteps: 1, Seed: 2, Size: 8x8, Model: , RNG: cuda, \xC3\xA9t\xC3\xA9: "
        "1",
        "p: q, r: s\nt\nSteps: 1, Seed: 2, TI hashes: \"a: 1, b: 2\", Note: \"x\\ny\\tz\"",
        "one: 1, two: 2",
        "a\nNegative prompt: b\nNegative prompt: c\nSteps: 1, Seed: 2, Size: 8x8",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_same_after_building(texts[i]);
}

static void any_value_comes_back(void **state)
{
    static const char *const values[] = {
        "",
        "plain",
        "a, b",
        "a: b",
        "a\nb",
        "\"quoted\"",
        "\"",
        "\\",
        " blank ",
        "tab\t",
        "a, \x01\x1f\x7f\b\f\r",
        "\\u0041, x",
        "a, \xF0\x9F\x90\xB1",
        "512x512",
        "{\"json\": [1, 2]}",
        "a\"b",
        "C:\\models\\x",
    };
    (void)state;
    infotext *info = infotext_new("  a prompt \n", "");
    char key[32];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        snprintf(key, sizeof key, "Key %zu", i);
        assert_int_equal(infotext_set(info, key, values[i], NULL), KILN_OK);
    }
    assert_int_equal(infotext_set(info, "None", NULL, NULL), KILN_OK);
    char *text = infotext_build(info);
    infotext *again = parse(text);
    assert_string_equal(again->prompt, info->prompt);
    assert_int_equal(again->count, info->count);
    for (size_t i = 0; i < info->count; i++) {
        assert_string_equal(again->fields[i].key, info->fields[i].key);
        assert_string_equal(again->fields[i].value, info->fields[i].value);
    }
    free(text);
    infotext_free(info);
    infotext_free(again);
}

static void values_are_quoted_only_where_needed(void **state)
{
    (void)state;
    infotext *info = infotext_new("p", "n");
    assert_int_equal(infotext_set(info, "Steps", "20", NULL), KILN_OK);
    assert_int_equal(infotext_set(info, "Model", "a b.c-d (e)", NULL), KILN_OK);
    assert_int_equal(infotext_set(info, "Lora hashes", "a: 1, \xC3\xA9: \"2\"", NULL), KILN_OK);
    assert_int_equal(infotext_set(info, "Steps", "30", NULL), KILN_OK);
    char *text = infotext_build(info);
    assert_string_equal(
        text,
        "p\nNegative prompt: n\nSteps: 30, Model: a b.c-d (e), Lora hashes: \"a: 1, \xC3\xA9: \\\"2\\\"\"");
    free(text);
    infotext_free(info);
}

static void fields_are_put_in_order(void **state)
{
    static const char *const keys[] = {"Version",       "Mask blur", "Seed",     "Size",
                                       "Hires upscale", "Steps",     "Clip skip"};
    (void)state;
    infotext *info = infotext_new("p", NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(infotext_set(info, keys[i], "1", NULL), KILN_OK);
    infotext_sort(info);
    char *text = infotext_build(info);
    assert_string_equal(
        text, "p\nSteps: 1, Seed: 1, Size: 1, Clip skip: 1, Mask blur: 1, Hires upscale: 1, Version: 1");
    free(text);
    infotext_free(info);
}

static void bad_keys_and_texts_are_refused(void **state)
{
    static const char *const keys[] = {"", "x", "a:b", "a, b", " ab", "-ab", "a\nb", "ab:"};
    kiln_error err;
    (void)state;
    infotext *info = infotext_new("p", NULL), *none;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(infotext_set(info, keys[i], "1", &err), KILN_BAD_ARGUMENT);
    assert_int_equal(info->count, 0);
    assert_int_equal(infotext_parse("a\xFF", &none, &err), KILN_BAD_FORMAT);
    assert_null(none);
    infotext_free(info);
}

static void malformed_fields_do_as_a1111_does(void **state)
{
    (void)state;
    infotext *info = parse("p\n,, Steps: 1, ???Seed: 2, Bad: \"\\q\", Open: \"x, Last: \"y\"z, Two words: w");
    assert_string_equal(infotext_get(info, "Steps"), "1");
    assert_string_equal(infotext_get(info, "Seed"), "2");
    assert_string_equal(infotext_get(info, "Bad"), "\"\\q\"");
    assert_string_equal(infotext_get(info, "Open"), "\"x");
    assert_string_equal(infotext_get(info, "Last"), "\"y\"z");
    assert_string_equal(infotext_get(info, "Two words"), "w");
    infotext_free(info);
    info = parse("p\r\nNegative prompt: n\r\nSteps: 1, Seed: 2, Size: 8x8\r\n");
    assert_string_equal(info->prompt, "p");
    assert_string_equal(info->negative, "n");
    assert_string_equal(infotext_get(info, "Size"), "8x8");
    infotext_free(info);
    info = parse("p\nSteps: 1, Hypernet: h, Hypernet strength: 0.5");
    char *prompt = infotext_full_prompt(info);
    assert_string_equal(prompt, "p<hypernet:h:0.5>");
    free(prompt);
    infotext_free(info);
}

static const struct {
    const char *file;
    kiln_status status;
    size_t fields;
    const char *key, *value;
    bool has_negative;
} files[] = {
    {"a1111_card-no-preview.png", KILN_OK, 10, "Model", "dreamlike-photoreal-2.0", true},
    {"axe_lora_tag_14.png", KILN_OK, 9, "Lora hashes", "Pecha_Swords_LORA_V1.2: f4c3c4a69a0e", false},
    {"lava_floor.png", KILN_OK, 10, "Face restoration", "CodeFormer", false},
    {"landscape_beach_day.png", KILN_OK, 0, NULL, NULL, true},
    {"cat_with_sd_cpp_42.png", KILN_OK, 8, "Sampler", "euler", false},
    {"flux1-dev-q8_0_with_lora.png", KILN_OK, 9, "Guidance", "3.500000", false},
    {"gasai_yuno-19000.png", KILN_NOT_FOUND, 0, NULL, NULL, false},
    {"lora_multiple.png", KILN_UNSUPPORTED, 0, NULL, NULL, false},
    {"hypernetwork_example.png", KILN_UNSUPPORTED, 0, NULL, NULL, false},
};

static void check_file(size_t i, const char *path)
{
    image *picture;
    picture_text *text;
    infotext *info;
    kiln_error err = {0};
    assert_int_equal(image_read(path, &picture, &text, &err), KILN_OK);
    assert_int_equal(infotext_from_picture(text, path, &info, &err), files[i].status);
    if (info) {
        char *built = infotext_build(info);
        assert_string_equal(built, picture_text_get(text, PICTURE_TEXT_PARAMETERS));
        free(built);
        if (files[i].fields)
            assert_int_equal(info->count, files[i].fields);
        if (files[i].key)
            assert_string_equal(infotext_get(info, files[i].key), files[i].value);
        assert_int_equal(*info->negative != '\0', files[i].has_negative);
    } else {
        print_message("%s\n", err.text);
    }
    infotext_free(info);
    picture_text_free(text);
    image_free(picture);
}

static void real_pictures_are_read(void **state)
{
    size_t seen = 0;
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        snprintf(path, sizeof path, TEST_SHARED "/real/png_infotext/%s", files[i].file);
        if (access(path, R_OK) != 0)
            continue;
        check_file(i, path);
        seen++;
    }
    print_message("%zu real pictures\n", seen);
    if (seen == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usual_text_is_read),
        cmocka_unit_test(canonical_texts_come_back),
        cmocka_unit_test(any_value_comes_back),
        cmocka_unit_test(values_are_quoted_only_where_needed),
        cmocka_unit_test(fields_are_put_in_order),
        cmocka_unit_test(bad_keys_and_texts_are_refused),
        cmocka_unit_test(malformed_fields_do_as_a1111_does),
        cmocka_unit_test(real_pictures_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
