/* test_prompt.c - the prompt language: weights, schedules and parts of the cases in data/prompts/cases.txt.
 * floors: base tensor text */
#include "text/chunks.h"
#include "text/prompt_attention.h"
#include "text/prompt_parts.h"
#include "text/prompt_schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_LINE = 4096, MAX_COLUMNS = 64, MAX_STEPS = 100 };

static int cases, wrong;

static void complain(const char *prompt, const char *what)
{
    print_error("%s: %s\n", prompt, what);
    wrong++;
}

/* U+2424 becomes a new line. */
static void put_new_lines(char *text)
{
    char *at;
    while ((at = strstr(text, "\xe2\x90\xa4"))) {
        *at = '\n';
        memmove(at + 1, at + 3, strlen(at + 3) + 1);
    }
}

static int split(char *line, char **columns)
{
    int count = 0;
    for (char *at = line; at && count < MAX_COLUMNS; count++) {
        columns[count] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
        put_new_lines(columns[count]);
    }
    return count;
}

/* "number=text" is what is expected. */
static bool same(const char *expected, double number, const char *text, size_t length)
{
    const char *mark = strchr(expected, '=');
    return mark && strtod(expected, NULL) == number && strlen(mark + 1) == length &&
           memcmp(mark + 1, text, length) == 0;
}

static void check_schedule(char **columns, int count)
{
    prompt_schedule s;
    int steps = atoi(columns[1]);
    assert_int_equal(prompt_schedule_of(columns[2], steps, &s, NULL), KILN_OK);
    bool good = s.count == count - 3;
    for (int i = 0; good && i < s.count; i++) {
        const char *text = s.texts[s.periods[i].text];
        good = same(columns[i + 3], s.periods[i].until, text, strlen(text));
    }
    for (int i = 0; !good && i < s.count; i++)
        print_error("  %d=%s\n", s.periods[i].until, s.texts[s.periods[i].text]);
    if (!good)
        complain(columns[2], "another schedule");
    for (int i = 0; i < s.text_count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(s.texts[i], s.texts[k]) == 0)
                complain(columns[2], "a text is there twice");
    prompt_schedule_free(&s);
}

static void check_weights(char **columns, int count)
{
    prompt_pieces p;
    assert_int_equal(prompt_pieces_of(columns[1], &p, NULL), KILN_OK);
    bool good = (int)p.count == count - 2;
    for (size_t i = 0; good && i < p.count; i++)
        good = p.pieces[i].ends_window
                   ? strcmp(columns[i + 2], "BREAK") == 0
                   : same(columns[i + 2], p.pieces[i].weight, p.text + p.pieces[i].begin, p.pieces[i].length);
    for (size_t i = 0; !good && i < p.count; i++)
        print_error("  %.17g=%.*s\n", p.pieces[i].weight, (int)p.pieces[i].length,
                    p.text + p.pieces[i].begin);
    if (!good)
        complain(columns[1], "other weights");
    prompt_pieces_free(&p);
}

static void check_parts(char **columns, int count)
{
    prompt_parts p;
    assert_int_equal(prompt_parts_of(columns[1], &p, NULL), KILN_OK);
    bool good = p.count == count - 2;
    for (int i = 0; good && i < p.count; i++)
        good = same(columns[i + 2], p.part[i].weight, p.part[i].text, strlen(p.part[i].text));
    for (int i = 0; !good && i < p.count; i++)
        print_error("  %.17g=%s\n", p.part[i].weight, p.part[i].text);
    if (!good)
        complain(columns[1], "other parts");
    prompt_parts_free(&p);
}

static void every_case(void **state)
{
    (void)state;
    char line[MAX_LINE], *columns[MAX_COLUMNS];
    FILE *f = fopen(TEST_DATA "/prompts/cases.txt", "r");
    assert_non_null(f);
    cases = wrong = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#')
            continue;
        int count = split(line, columns);
        cases++;
        if (strcmp(columns[0], "schedule") == 0)
            check_schedule(columns, count);
        else if (strcmp(columns[0], "weights") == 0)
            check_weights(columns, count);
        else if (strcmp(columns[0], "and") == 0)
            check_parts(columns, count);
        else
            complain(columns[0], "no such kind of case");
    }
    (void)fclose(f);
    print_message("%d cases, %d wrong\n", cases, wrong);
    assert_true(cases >= 150);
    assert_int_equal(wrong, 0);
}

/* The web UI counts evaluations from 0 and takes the first period with step <= until. */
static void the_text_of_a_step(void **state)
{
    (void)state;
    prompt_schedule s;
    assert_int_equal(prompt_schedule_of("[a:b:2]", 4, &s, NULL), KILN_OK);
    const char *const expected[] = {"a", "a", "a", "b", "b"};
    for (int i = 0; i < 5; i++)
        assert_string_equal(s.texts[prompt_schedule_text(&s, i)], expected[i]);
    prompt_schedule_free(&s);
}

/* Nested as deep as a prompt can be long, in time and without a stack of that depth. */
static void hostile_nesting(void **state)
{
    (void)state;
    static const char *const patterns[] = {"[",        "(",       "[(", "[a:",  "[a|",
                                           "[[a:b:3]", "(a:1.5)", "\\", "[:::", "([a|b]"};
    enum { SIZE = 100000 };
    char *text = malloc(SIZE + 1);
    assert_non_null(text);
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        size_t length = strlen(patterns[k]);
        for (size_t i = 0; i < SIZE; i++)
            text[i] = patterns[k][i % length];
        text[SIZE] = '\0';
        prompt_schedule s;
        prompt_pieces p;
        kiln_error err;
        assert_int_equal(prompt_schedule_of(text, 20, &s, &err), KILN_OK);
        assert_int_equal(prompt_pieces_of(text, &p, &err), KILN_OK);
        prompt_schedule_free(&s);
        prompt_pieces_free(&p);
    }
    free(text);
}

static void refused(void **state)
{
    (void)state;
    prompt_schedule s;
    prompt_parts p;
    kiln_error err = {0};
    assert_int_equal(prompt_schedule_of("a", 0, &s, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(prompt_parts_of("a:2000", &p, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(
        prompt_parts_of("AND AND AND AND AND AND AND AND AND AND AND AND AND AND AND AND AND", &p, &err),
        KILN_BAD_ARGUMENT);
    assert_int_equal(p.count, 0);
}

static void weights_of_tokens(void **state)
{
    (void)state;
    static const char words[] = "{\"a</w>\": 1, \"b</w>\": 2, \",</w>\": 3, \"!\": 0,"
                                "\"<|startoftext|>\": 20, \"<|endoftext|>\": 21}";
    tokenizer_files files = {
        .name = "letters", .vocabulary = {words, sizeof words - 1}, .merges = {"#\n", 2}};
    tokenizer *t;
    prompt_pieces p;
    token_chunks c;
    assert_int_equal(tokenizer_open_memory(&files, &t, NULL), KILN_OK);
    assert_int_equal(prompt_pieces_of("a (b a:1.5) BREAK [a]", &p, NULL), KILN_OK);
    assert_int_equal(chunks_of_pieces(t, &p, NULL, &c, NULL), KILN_OK);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.length[0], 3);
    const float expected[] = {1, 1, 1.5F, 1.5F, 1};
    for (int i = 0; i < 5; i++)
        assert_true(c.weights[0][i] == expected[i]);
    assert_true(c.weights[1][1] == (float)(1 / 1.1) && c.weights[1][2] == 1);
    assert_int_equal(chunks_extend(t, &c, 3, NULL, NULL), KILN_OK);
    assert_true(c.weights[2][5] == 1);
    chunks_free(&c);
    prompt_pieces_free(&p);
    assert_int_equal(prompt_pieces_of("a \\(b\\)", &p, NULL), KILN_OK);
    assert_false(p.weighted);
    prompt_pieces_free(&p);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case), cmocka_unit_test(the_text_of_a_step), cmocka_unit_test(hostile_nesting),
        cmocka_unit_test(refused),    cmocka_unit_test(weights_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
