/* test_tokenizer.c - CLIP's tokenizer against reference ids, and against files that are not tokenizers.
 * floors: base tensor text */
#include "text/tokenizer.h"

#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define REAL TEST_SHARED "/real/tokenizer/"
#define TINY TEST_SHARED "/golden/models/"
#define CLIP_MERGES TEST_ROOT "/data/clip/bpe_simple_vocab_16e6.txt.gz"

static bool have(const char *path)
{
    return access(path, R_OK) == 0;
}

#define NEEDS(path)                                                                                          \
    do {                                                                                                     \
        if (!have(path)) {                                                                                   \
            print_message("skipped: %s is not here\n", path);                                                \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* The tokenizer of SD 1.x from its four files, whose names in the reference folder have a prefix. */
static tokenizer *open_sd1(void)
{
    char folder[] = "/tmp/kiln-tokenizer-XXXXXX", path[512];
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 4; i++) {
        char target[PATH_MAX + 1], from[512];
        snprintf(from, sizeof from, REAL "sd1_%s", names[i]);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_non_null(realpath(from, target));
        assert_int_equal(symlink(target, path), 0);
    }
    tokenizer *t;
    kiln_error err = {0};
    kiln_status status = tokenizer_open(folder, &t, &err);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    if (status)
        fail_msg("%s", err.text);
    return t;
}

static bool same_ids(const token_list *got, const json_t *expected)
{
    if (got->count != json_array_size(expected))
        return false;
    for (size_t i = 0; i < got->count; i++)
        if (got->ids[i] != json_integer_value(json_array_get(expected, i)))
            return false;
    return true;
}

static void check_golden(const tokenizer *t)
{
    json_t *root = json_load_file(TEST_SHARED "/golden/tokens.json", 0, NULL), *prompt;
    assert_non_null(root);
    size_t i, checked = 0, wrong = 0;
    json_array_foreach(json_object_get(root, "prompts"), i, prompt)
    {
        if (json_is_true(json_object_get(prompt, "ftfy_sensitive")))
            continue;
        const char *text = json_string_value(json_object_get(prompt, "text"));
        json_t *ids = json_object_get(prompt, "hf_ids");
        token_list got = {0};
        assert_int_equal(tokenizer_encode(t, text, &got, NULL), KILN_OK);
        checked++;
        if (!same_ids(&got, ids ? ids : json_object_get(prompt, "ids"))) {
            print_error("other ids than the reference: %s\n", text);
            wrong++;
        }
        token_list_free(&got);
    }
    json_decref(root);
    print_message("%zu prompts compared\n", checked);
    assert_int_equal(wrong, 0);
    assert_true(checked > 100);
}

static void test_golden_sd1(void **state)
{
    (void)state;
    NEEDS(REAL "sd1_vocab.json");
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    tokenizer *t = open_sd1();
    clock_gettime(CLOCK_MONOTONIC, &after);
    print_message("opened in %.1f ms\n", (double)(after.tv_sec - before.tv_sec) * 1e3 +
                                             (double)(after.tv_nsec - before.tv_nsec) * 1e-6);
    assert_int_equal(tokenizer_size(t), 49408);
    assert_int_equal(tokenizer_start_id(t), 49406);
    assert_int_equal(tokenizer_end_id(t), 49407);
    assert_int_equal(tokenizer_pad_id(t), 49407);
    check_golden(t);
    tokenizer_close(t);
}

static tokenizer *open_clip(void)
{
    tokenizer *t;
    kiln_error err = {0};
    if (tokenizer_open_gz(CLIP_MERGES, &t, &err))
        fail_msg("%s", err.text);
    return t;
}

static void test_golden_merges(void **state)
{
    (void)state;
    NEEDS(TEST_SHARED "/golden/tokens.json");
    tokenizer *t = open_clip();
    assert_int_equal(tokenizer_size(t), 49408);
    check_golden(t);
    tokenizer_close(t);
}

/* Every id means the same in both forms. */
static void test_forms_agree(void **state)
{
    (void)state;
    NEEDS(REAL "sd1_vocab.json");
    tokenizer *folder = open_sd1(), *merges = open_clip();
    for (int32_t id = 0; id < 49408; id++)
        assert_string_equal(tokenizer_piece(folder, id), tokenizer_piece(merges, id));
    assert_null(tokenizer_piece(folder, 49408));
    assert_null(tokenizer_piece(folder, -1));
    tokenizer_close(folder);
    tokenizer_close(merges);
}

static void expect_ids(const tokenizer *t, const char *text, const int32_t *ids, size_t count)
{
    token_list got = {0};
    assert_int_equal(tokenizer_encode(t, text, &got, NULL), KILN_OK);
    assert_int_equal(got.count, count);
    if (count)
        assert_memory_equal(got.ids, ids, count * sizeof *ids);
    token_list_free(&got);
}

static void test_tiny_models(void **state)
{
    (void)state;
    NEEDS(TINY "sd1-tiny/tokenizer/vocab.json");
    static const struct {
        const char *folder;
        int32_t pad, exclamation;
    } models[] = {{TINY "sd1-tiny/tokenizer", 999, 256},
                  {TINY "sd2v-tiny/tokenizer", 0, 0}, /* "!" is its pad token, so it is cut out of the text */
                  {TINY "sdxl-tiny/tokenizer", 999, 256},
                  {TINY "sdxl-tiny/tokenizer_2", 0, 0}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        tokenizer *t;
        assert_int_equal(tokenizer_open(models[i].folder, &t, NULL), KILN_OK);
        assert_int_equal(tokenizer_start_id(t), 998);
        assert_int_equal(tokenizer_end_id(t), 999);
        assert_int_equal(tokenizer_pad_id(t), models[i].pad);
        assert_int_equal(tokenizer_max_length(t), 77);
        expect_ids(t, "( !", (const int32_t[]){tokenizer_lookup(t, "(</w>"), models[i].exclamation}, 2);
        tokenizer_close(t);
    }
}

static void test_other_kinds_refused(void **state)
{
    (void)state;
    NEEDS(REAL "tokenizer.json");
    tokenizer *t;
    kiln_error err = {0};
    /* A folder with T5's tokenizer.json. */
    assert_int_equal(tokenizer_open(REAL, &t, &err), KILN_UNSUPPORTED);
    assert_null(t);
    assert_non_null(strstr(err.text, "tokenizer.json"));
    assert_int_equal(tokenizer_open(TEST_SHARED "/golden", &t, &err), KILN_NOT_FOUND);
    assert_int_equal(tokenizer_open_gz(REAL "nothing.gz", &t, &err), KILN_NOT_FOUND);
    assert_int_equal(tokenizer_open_gz(REAL "t5_spiece.model", &t, &err), KILN_BAD_FORMAT);
    assert_int_equal(tokenizer_open_gz(REAL, &t, &err), KILN_IO);
    assert_null(t);
}

/* Files of which only the beginning arrived. */
static void test_cut_files(void **state)
{
    (void)state;
    char cut[] = "/tmp/kiln-merges-XXXXXX";
    static char bytes[1 << 20];
    FILE *whole = fopen(CLIP_MERGES, "rb");
    assert_non_null(whole);
    /* Of the 1.3 MiB, the first fifth or so is what CLIP uses. */
    size_t size = fread(bytes, 1, 100000, whole);
    fclose(whole);
    int file = mkstemp(cut);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, size), size);
    close(file);
    tokenizer *t;
    kiln_error err = {0};
    assert_int_equal(tokenizer_open_gz(cut, &t, &err), KILN_BAD_FORMAT);
    assert_null(t);
    unlink(cut);

    NEEDS(TINY "sd1-tiny/tokenizer/vocab.json");
    static char merges[1 << 16], words[1 << 16];
    FILE *a = fopen(TINY "sd1-tiny/tokenizer/merges.txt", "rb");
    FILE *b = fopen(TINY "sd1-tiny/tokenizer/vocab.json", "rb");
    assert_true(a && b);
    tokenizer_files files = {.name = "cut"};
    files.merges = (tokenizer_text){merges, fread(merges, 1, sizeof merges, a)};
    files.vocabulary = (tokenizer_text){words, fread(words, 1, sizeof words, b)};
    fclose(a);
    fclose(b);
    assert_int_equal(tokenizer_open_memory(&files, &t, &err), KILN_OK);
    tokenizer_close(t);
    files.merges.size /= 2;
    assert_int_equal(tokenizer_open_memory(&files, &t, &err), KILN_BAD_FORMAT);
    assert_non_null(strstr(err.text, "cut short"));
}

/* --------------------------------------------------------------------- small ones made here */

#define SPECIALS "\"<|startoftext|>\": 20, \"<|endoftext|>\": 21"
#define TEXT_OF(literal)                                                                                     \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

static kiln_status open_small(tokenizer_text vocabulary, tokenizer_text merges, tokenizer_text config,
                              tokenizer **out, kiln_error *err)
{
    tokenizer_files files = {.name = "small", .vocabulary = vocabulary, .merges = merges, .config = config};
    return tokenizer_open_memory(&files, out, err);
}

static const tokenizer_text no_file = {0};

/* The order of merging: all pairs of the lowest rank first, left to right, whatever they bring about. */
static void test_merging_order(void **state)
{
    (void)state;
    tokenizer_text words = TEXT_OF("{\"a\":0,\"a</w>\":1,\"b\":2,\"b</w>\":3,\"aa\":4,\"aaa</w>\":5,\"ab\":6,"
                                   "\"aab</w>\":7,\"aaaa\":8,\"aa</w>\":9," SPECIALS "}");
    /* The rank of (aa, aa) is below that of (a, a): it may only act once all (a, a) are merged. */
    tokenizer_text merges = TEXT_OF("#version: 0.2\naa aa\na a\naa a</w>\nthree words here\naa b</w>\n");
    tokenizer *t;
    kiln_error err = {0};
    assert_int_equal(open_small(words, merges, no_file, &t, &err), KILN_OK);
    expect_ids(t, "aaaab aaa aaaaaab A", (const int32_t[]){8, 3, 5, 8, 7, 1}, 6);
    expect_ids(t, "aaaaaaa", (const int32_t[]){8, 5}, 2);
    /* A word that is not in the vocabulary becomes the unknown token. */
    expect_ids(t, "aca", (const int32_t[]){0, 21, 1}, 3);
    expect_ids(t, "", NULL, 0);
    expect_ids(t, " \t\n\xC2\xA0 ", NULL, 0);
    tokenizer_close(t);
}

static void test_added_tokens(void **state)
{
    (void)state;
    tokenizer_text words = TEXT_OF("{\"a\":0,\"a</w>\":1,\"!\":2,\"!</w>\":3," SPECIALS "}");
    tokenizer_text merges = TEXT_OF("#version\n");
    tokenizer_text config = TEXT_OF("{\"model_max_length\": 1e30, \"pad_token\": {\"content\": \"!\"},"
                                    "\"added_tokens_decoder\": {\"40\": {\"content\": \"<cat>\"},"
                                    "\"41\": {\"content\": \"<cat>s\"}}}");
    tokenizer *t;
    kiln_error err = {0};
    assert_int_equal(open_small(words, merges, config, &t, &err), KILN_OK);
    assert_int_equal(tokenizer_pad_id(t), 2);
    assert_int_equal(tokenizer_size(t), 42);
    assert_int_equal(tokenizer_max_length(t), 77);
    expect_ids(t, "a<cat>a <cat>s!a!<|endoftext|><|STARTofText|>",
               (const int32_t[]){1, 40, 1, 41, 2, 1, 2, 21, 20}, 9);
    assert_string_equal(tokenizer_piece(t, 41), "<cat>s");
    char *text;
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){1, 40, 0, 1}, 4, &text, &err), KILN_OK);
    assert_string_equal(text, "a <cat> aa");
    free(text);
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){1, 99}, 2, &text, &err), KILN_BAD_ARGUMENT);
    assert_null(text);
    tokenizer_close(t);
}

static void test_fast_file(void **state)
{
    (void)state;
    static const char *const forms[] = {"\"merges\": [\"a a</w>\"]", "\"merges\": [[\"a\", \"a</w>\"]]"};
    for (int i = 0; i < 2; i++) {
        char text[512];
        int size = snprintf(
            text, sizeof text,
            "{\"added_tokens\": [{\"id\": 5, \"content\": \"<x>\"}], \"model\": {\"type\": \"BPE\","
            "\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0, \"a</w>\": 1, \"aa</w>\": 2," SPECIALS
            "}, %s}}",
            forms[i]);
        tokenizer_files files = {.name = "small", .fast = {text, (size_t)size}};
        tokenizer *t;
        kiln_error err = {0};
        assert_int_equal(tokenizer_open_memory(&files, &t, &err), KILN_OK);
        expect_ids(t, "aa <x>a", (const int32_t[]){2, 5, 1}, 3);
        tokenizer_close(t);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        tokenizer_text vocabulary, config;
        kiln_status status;
        const char *says;
    } cases[] = {
        {TEXT_OF("{\"a\": 0"), {0}, KILN_BAD_FORMAT, "vocab.json"},
        {TEXT_OF("[1]"), {0}, KILN_BAD_FORMAT, "not a JSON object"},
        {TEXT_OF("{}"), {0}, KILN_BAD_FORMAT, "no words"},
        {TEXT_OF("{\"a\": \"b\"}"), {0}, KILN_BAD_FORMAT, "not a whole number"},
        {TEXT_OF("{\"a\": -1}"), {0}, KILN_BAD_FORMAT, "ids are from 0"},
        {TEXT_OF("{\"a\": 99999999999}"), {0}, KILN_BAD_FORMAT, "ids are from 0"},
        {TEXT_OF("{\"a\": 0}"), {0}, KILN_MISMATCH, "not in the vocabulary"},
        {TEXT_OF("{" SPECIALS "}"), TEXT_OF("{\"eos_token\": 4}"), KILN_BAD_FORMAT, "eos_token"},
        {TEXT_OF("{" SPECIALS "}"), TEXT_OF("{\"bos_token\": null}"), KILN_BAD_FORMAT, "no start"},
        {TEXT_OF("{" SPECIALS "}"), TEXT_OF("{\"added_tokens_decoder\": []}"), KILN_BAD_FORMAT, "decoder"},
        {TEXT_OF("{" SPECIALS "}"), TEXT_OF("{\"added_tokens_decoder\": {\"x\": \"y\"}}"), KILN_BAD_FORMAT,
         "'x'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t = (tokenizer *)"";
        kiln_error err = {0};
        tokenizer_text merges = TEXT_OF("#\n");
        assert_int_equal(open_small(cases[i].vocabulary, merges, cases[i].config, &t, &err), cases[i].status);
        assert_null(t);
        if (!strstr(err.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].says);
    }
}

/* ------------------------------------------------------------------------------------- texts */

static void test_texts(void **state)
{
    (void)state;
    tokenizer *t = open_clip();
    token_list got = {0};
    kiln_error err = {0};
    assert_int_equal(tokenizer_encode(t, "a\xFFz", &got, &err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "0xFF at position 1"));
    assert_int_equal(tokenizer_encode(t, "\xED\xA0\x80", &got, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(got.count, 0);

    /* Decoding gives back what encoding saw, bytes of a cut character included. */
    char *text;
    assert_int_equal(tokenizer_encode(t, "A  Cat,\n\xF0\x9F\x98\x80 caf\xC3\xA9!", &got, &err), KILN_OK);
    assert_int_equal(tokenizer_decode(t, got.ids, got.count, &text, &err), KILN_OK);
    assert_string_equal(text, "a cat , \xF0\x9F\x98\x80 caf\xC3\xA9 !");
    free(text);
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){tokenizer_lookup(t, "\xC3\xB0")}, 1, &text, &err),
                     KILN_OK);
    assert_string_equal(text, "\xEF\xBF\xBD");
    free(text);
    token_list_free(&got);
    tokenizer_close(t);
}

static void test_long_texts(void **state)
{
    (void)state;
    tokenizer *t = open_clip();
    token_list got = {0};
    kiln_error err = {0};
    char *text = malloc(TOKENIZER_MAX_TEXT + 2);
    assert_non_null(text);
    memset(text, 'a', TOKENIZER_MAX_TEXT + 1);
    text[TOKENIZER_MAX_TEXT + 1] = '\0';
    assert_int_equal(tokenizer_encode(t, text, &got, &err), KILN_BAD_ARGUMENT);
    text[TOKENIZER_MAX_TEXT] = '\0'; /* one word of 128 KiB */
    assert_int_equal(tokenizer_encode(t, text, &got, &err), KILN_OK);
    assert_true(got.count > 1000);
    token_list_free(&got);
    free(text);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_sd1),
        cmocka_unit_test(test_golden_merges),
        cmocka_unit_test(test_forms_agree),
        cmocka_unit_test(test_tiny_models),
        cmocka_unit_test(test_other_kinds_refused),
        cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_merging_order),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_fast_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
