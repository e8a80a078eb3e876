/* test_chunks.c - prompts as windows of 77 ids.
 * floors: base tensor text */
#include "text/chunks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A vocabulary of single letters: one id each, so that a prompt's tokens can be counted by eye. */
enum { A = 1, B = 2, COMMA = 3, START = 20, END = 21 };

static int open_letters(void **state)
{
    static const char words[] = "{\"a</w>\": 1, \"b</w>\": 2, \",</w>\": 3, \"!\": 0,"
                                "\"<|startoftext|>\": 20, \"<|endoftext|>\": 21}";
    tokenizer_files files = {
        .name = "letters", .vocabulary = {words, sizeof words - 1}, .merges = {"#\n", 2}};
    tokenizer *t;
    kiln_error err = {0};
    if (tokenizer_open_memory(&files, &t, &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = t;
    return 0;
}

static int close_letters(void **state)
{
    tokenizer_close(*state);
    return 0;
}

/* "a a a ..." with `commas` as the positions (ending with -1) that hold a comma instead. */
static char *prompt_of(int count, const int *commas)
{
    char *text = calloc((size_t)count + 1, 2);
    assert_non_null(text);
    for (int i = 0; i < count; i++)
        memcpy(text + 2 * i, "a ", 2);
    for (; *commas >= 0; commas++)
        text[2 * *commas] = ',';
    return text;
}

/* The windows have these numbers of tokens (ending with -1), each framed and padded. */
static void expect_lengths(const token_chunks *c, int32_t pad, const int *lengths)
{
    int i = 0;
    for (; lengths[i] >= 0; i++) {
        assert_true(i < c->count);
        assert_int_equal(c->length[i], lengths[i]);
        assert_int_equal(c->end[i], lengths[i] + 1);
        assert_int_equal(c->ids[i][0], START);
        assert_int_equal(c->ids[i][lengths[i] + 1], END);
        for (int k = lengths[i] + 2; k < CHUNK_LENGTH; k++)
            assert_int_equal(c->ids[i][k], pad);
    }
    assert_int_equal(c->count, i);
}

static void expect_windows(const tokenizer *t, const char *prompt, const int *lengths)
{
    token_chunks c;
    kiln_error err = {0};
    assert_int_equal(chunks_of_prompt(t, prompt, NULL, &c, &err), KILN_OK);
    expect_lengths(&c, END, lengths);
    chunks_free(&c);
}

static void test_lengths(void **state)
{
    static const int none[] = {-1};
    static const struct {
        int tokens, lengths[4];
    } cases[] = {{1, {1, -1}},      {74, {74, -1}},      {75, {75, -1}},        {76, {75, 1, -1}},
                 {77, {75, 2, -1}}, {150, {75, 75, -1}}, {151, {75, 75, 1, -1}}};
    expect_windows(*state, "", (const int[]){0, -1});
    expect_windows(*state, "  \n ", (const int[]){0, -1});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *prompt = prompt_of(cases[i].tokens, none);
        expect_windows(*state, prompt, cases[i].lengths);
        free(prompt);
    }
}

static void test_commas(void **state)
{
    static const struct {
        int tokens, commas[3], lengths[4];
    } cases[] = {
        {76, {70, -1}, {71, 5, -1}},     /* what follows the comma moves on */
        {75, {70, -1}, {75, -1}},        /* nothing to move: it fits */
        {76, {55, -1}, {56, 20, -1}},    /* twenty back is near enough */
        {76, {54, -1}, {75, 1, -1}},     /* twenty-one is not */
        {76, {74, -1}, {75, 1, -1}},     /* the comma is last: a plain cut after it */
        {76, {75, -1}, {75, 1, -1}},     /* the comma is what does not fit: it opens the next window */
        {76, {60, 70, -1}, {71, 5, -1}}, /* the last comma counts */
        {77, {70, 75, -1}, {75, 2, -1}}, /* a comma at the cut never moves what is before it */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *prompt = prompt_of(cases[i].tokens, cases[i].commas);
        expect_windows(*state, prompt, cases[i].lengths);
        free(prompt);
    }
}

static void test_break(void **state)
{
    expect_windows(*state, "a a BREAK b", (const int[]){2, 1, -1});
    expect_windows(*state, "a a BREAK", (const int[]){2, -1});
    expect_windows(*state, "BREAK b", (const int[]){0, 1, -1});
    expect_windows(*state, "a BREAK BREAK b", (const int[]){1, 0, 1, -1});
    expect_windows(*state, "a,BREAK,b", (const int[]){2, 2, -1});
    /* Part of a longer word, or in other letters, it is a word like any other. */
    static const char *const words[] = {"a BREAKb",
                                        "aBREAK",
                                        "BREAK_",
                                        "1BREAK",
                                        "\xC3\xA9"
                                        "BREAK",
                                        "BREAK\xCE\xA3",
                                        "a break"};
    token_chunks c;
    assert_int_equal(chunks_of_prompt(*state, "a a BREAK b", NULL, &c, NULL), KILN_OK);
    assert_int_equal(c.ids[0][1], A);
    assert_int_equal(c.ids[1][1], B);
    chunks_free(&c);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_int_equal(chunks_of_prompt(*state, words[i], NULL, &c, NULL), KILN_OK);
        assert_int_equal(c.count, 1);
        assert_in_range(c.length[0], 6, 7);
        chunks_free(&c);
    }
}

static void test_one_window(void **state)
{
    static const int comma[] = {70, -1};
    char *prompt = prompt_of(80, comma);
    chunk_options options = {.pad_id = 0, .one_window = true};
    token_chunks c;
    assert_int_equal(chunks_of_prompt(*state, prompt, &options, &c, NULL), KILN_OK);
    expect_lengths(&c, 0, (const int[]){75, -1});
    assert_int_equal(c.dropped, 5);
    chunks_free(&c);
    free(prompt);
    assert_int_equal(chunks_of_prompt(*state, "a BREAK b", &options, &c, NULL), KILN_OK);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.length[0], 7);
    assert_int_equal(c.dropped, 0);
    chunks_free(&c);
}

static void test_padding_and_extension(void **state)
{
    chunk_options options = chunk_options_of(*state);
    assert_int_equal(options.pad_id, END);
    options.pad_id = 0;
    token_chunks c;
    assert_int_equal(chunks_of_prompt(*state, "a b , a", &options, &c, NULL), KILN_OK);
    assert_int_equal(chunks_extend(*state, &c, 5, &options, NULL), KILN_OK);
    expect_lengths(&c, 0, (const int[]){4, 0, 0, 0, 0, -1});
    assert_int_equal(chunks_extend(*state, &c, 2, &options, NULL), KILN_OK);
    assert_int_equal(c.count, 5);
    chunks_free(&c);
    /* An end-of-text in the prompt itself is where the pooled vector is read, as in transformers. */
    assert_int_equal(chunks_of_prompt(*state, "a <|endoftext|> b", &options, &c, NULL), KILN_OK);
    assert_int_equal(c.length[0], 3);
    assert_int_equal(c.end[0], 2);
    chunks_free(&c);
}

static void test_bad_prompts(void **state)
{
    token_chunks c;
    kiln_error err = {0};
    assert_int_equal(chunks_of_prompt(*state, "a BREAK \x80", NULL, &c, &err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "position 8"));
    assert_int_equal(c.count, 0);
    assert_null(c.ids);
}

/* Five thousand words. */
static void test_long_prompt(void **state)
{
    static const int none[] = {-1};
    char *prompt = prompt_of(5000, none);
    token_chunks c;
    assert_int_equal(chunks_of_prompt(*state, prompt, NULL, &c, NULL), KILN_OK);
    assert_int_equal(c.count, 67);
    assert_int_equal(c.length[66], 50);
    chunks_free(&c);
    free(prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_commas),
        cmocka_unit_test(test_break),
        cmocka_unit_test(test_one_window),
        cmocka_unit_test(test_padding_and_extension),
        cmocka_unit_test(test_bad_prompts),
        cmocka_unit_test(test_long_prompt),
    };
    return cmocka_run_group_tests(tests, open_letters, close_letters);
}
