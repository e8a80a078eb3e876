/* test_emoji_tokenizer.c - training a tokenizer: the same text gives the same files, and they work.
 * floors: base tensor text */
#include "emoji/bpe.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const captions[] = {
    "a red apple",         "a green cat left of a rocket on a pink background",
    "Three red apples!",   "a big rocket above a small cat",
    "two cats in a row",   "a pi\xC3\xB1\x61ta on a green background",
    "a cat's red balloon", "an apple, a cat and a rocket on a red background",
};

enum { CAPTIONS = sizeof captions / sizeof *captions };

static bpe *trained(int vocabulary, bool backwards)
{
    kiln_error err = {0};
    bpe *b;
    assert_int_equal(bpe_new(&b, &err), KILN_OK);
    for (int i = 0; i < CAPTIONS; i++)
        assert_int_equal(bpe_add(b, captions[backwards ? CAPTIONS - 1 - i : i], &err), KILN_OK);
    assert_int_equal(bpe_train(b, vocabulary, &err), KILN_OK);
    return b;
}

static void order_does_not_matter(void **state)
{
    (void)state;
    bpe *a = trained(535, false), *b = trained(535, true);
    char *x = bpe_vocabulary_json(a), *y = bpe_vocabulary_json(b), *m = bpe_merges_text(a),
         *n = bpe_merges_text(b);
    assert_non_null(x);
    assert_string_equal(x, y);
    assert_string_equal(m, n);
    assert_int_equal(bpe_vocabulary(a), 535);
    assert_int_equal(bpe_merge_count(a), 535 - 514);
    free(x);
    free(y);
    free(m);
    free(n);
    bpe_free(a);
    bpe_free(b);
}

/* "ab" twice and "cd" twice: the tie goes to the letters that come first. */
static void ties_are_settled(void **state)
{
    (void)state;
    kiln_error err = {0};
    bpe *b;
    assert_int_equal(bpe_new(&b, &err), KILN_OK);
    assert_int_equal(bpe_add(b, "cdx aby cdz abw", &err), KILN_OK);
    assert_int_equal(bpe_train(b, 515, &err), KILN_OK);
    char *merges = bpe_merges_text(b);
    assert_string_equal(merges, "#version: 0.2\na b\n");
    free(merges);
    bpe_free(b);
}

static void files_open_and_round_trip(void **state)
{
    (void)state;
    char folder[] = "/tmp/kiln-emoji-XXXXXX", path[64];
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    kiln_error err = {0};
    assert_non_null(mkdtemp(folder));
    bpe *b = trained(600, false);
    size_t entries = bpe_vocabulary(b);
    assert_int_equal(bpe_write(b, folder, 32, &err), KILN_OK);
    bpe_free(b);
    tokenizer *t;
    kiln_status status = tokenizer_open(folder, &t, &err);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    rmdir(folder);
    if (status)
        fail_msg("%s", err.text);
    assert_int_equal(tokenizer_size(t), entries);
    assert_int_equal(tokenizer_end_id(t), entries - 1);
    assert_int_equal(tokenizer_start_id(t), entries - 2);
    assert_int_equal(tokenizer_pad_id(t), entries - 1);
    assert_int_equal(tokenizer_max_length(t), 32);
    for (int32_t i = 0; i < tokenizer_size(t); i++)
        assert_non_null(tokenizer_piece(t, i));
    token_list ids = {0};
    char *text;
    assert_int_equal(tokenizer_encode(t, "a red rocket on a zebra", &ids, &err), KILN_OK);
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, &text, &err), KILN_OK);
    assert_string_equal(text, "a red rocket on a zebra");
    free(text);
    ids.count = 0;
    assert_int_equal(tokenizer_encode(t, "a red cat", &ids, &err), KILN_OK);
    assert_int_equal(ids.count, 3); /* words that occur often are one token each */
    token_list_free(&ids);
    tokenizer_close(t);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    kiln_error err = {0};
    bpe *b;
    assert_int_equal(bpe_new(&b, &err), KILN_OK);
    assert_int_equal(bpe_add(b, "a \xFF cat", &err), KILN_BAD_ARGUMENT);
    assert_int_equal(bpe_train(b, 100, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(bpe_train(b, 1000, &err), KILN_OK); /* without any text: the letters */
    assert_int_equal(bpe_vocabulary(b), 514);
    bpe_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(ties_are_settled),
        cmocka_unit_test(files_open_and_round_trip),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
