/* test_prompt_template.c - wildcards, variants and styles: what a template becomes, worked out by hand; the choices of seeds are
 * Python's (random.Random(seed).choice and random), noted from it.
 * floors: base tensor formats text */
#include "formats/csv.h"
#include "text/prompt_template.h"
#include "text/styles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------------------------ chance */

static void chance_is_pythons(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t below[7]; /* 3, 4, 5, 6, 7, 100, 1000 */
        double share;
    } known[] = {
        {0, {1, 3, 0, 2, 4, 62, 414}, 0.9182343317851318},
        {1, {0, 0, 2, 0, 3, 97, 460}, 0.47224524357611664},
        {2, {0, 0, 0, 2, 6, 21, 753}, 0.8089620446393668},
        {4294967296, {0, 2, 3, 0, 0, 78, 897}, 0.8056470212514185},
        {1099511627783, {2, 3, 2, 4, 1, 66, 384}, 0.5213358306867372},
    };
    static const uint32_t counts[7] = {3, 4, 5, 6, 7, 100, 1000};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        prompt_chance c;
        prompt_chance_init(&c, known[i].seed);
        for (int k = 0; k < 7; k++)
            assert_int_equal(prompt_chance_below(&c, counts[k]), known[i].below[k]);
        assert_true(prompt_chance_share(&c) == known[i].share);
    }
}

/* ------------------------------------------------------------------------------------ templates */

static const wildcard_line colours[] = {{"red", "colour.txt"},
                                        {"green", "colour.txt"},
                                        {"blue", "colour.txt"}},
                           only[] = {{"one", "only.txt"}},
                           outer[] = {{"an __only__ and __only__", "outer.txt"}},
                           loop[] = {{"x __back__", "loop.txt"}}, back[] = {{"__loop__", "back.txt"}},
                           weighted[] = {{"0::never", "weighted.txt"}, {"2.5::ever", "weighted.txt"}},
                           doubled[] = {{"__doubled2__ __doubled2__", "d.txt"}},
                           doubled2[] = {{"0123456789 0123456789 0123456789", "d2.txt"}};

static kiln_status find(void *self, const char *name, wildcard_lines *out, kiln_error *err)
{
    static const struct {
        const char *name;
        wildcard_lines lines;
    } all[] = {{"colour", {colours, 3}},    {"only", {only, 1}},       {"sub/outer", {outer, 1}},
               {"loop", {loop, 1}},         {"back", {back, 1}},       {"a_b", {only, 1}},
               {"weighted", {weighted, 2}}, {"doubled", {doubled, 1}}, {"doubled2", {doubled2, 1}}};
    (void)self;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i].lines;
            return KILN_OK;
        }
    return (fail)(err, KILN_NOT_FOUND, "there is no '%s'", name);
}

static const template_rules none = {0}, wildcards = {.wildcards = {NULL, find}},
                            variants = {.variants = true},
                            both = {.wildcards = {NULL, find}, .variants = true};

static kiln_status fill(const char *text, const template_rules *rules, uint64_t seed, char **out,
                        kiln_error *err)
{
    prompt_chance c;
    prompt_chance_init(&c, seed);
    return template_fill(text, rules, &c, out, err);
}

static void assert_becomes(const char *text, const template_rules *rules, uint64_t seed, const char *expected)
{
    char *out = NULL;
    kiln_error err = {0};
    if (fill(text, rules, seed, &out, &err) != KILN_OK)
        fail_msg("'%s': %s", text, err.text);
    if (strcmp(out, expected) != 0)
        fail_msg("'%s' became '%s', expected '%s'", text, out, expected);
    free(out);
}

static void what_is_one_text_is_that_text(void **state)
{
    (void)state;
    const struct {
        const template_rules *rules;
        const char *text, *expected;
    } cases[] = {
        {&none, "a __only__ {a|b} # __gone__", "a __only__ {a|b} # __gone__"},
        {&wildcards, "", ""},
        {&wildcards, "a __only__ fox", "a one fox"},
        {&wildcards, "__only__", "one"},
        {&wildcards, "__only____only__", "oneone"},
        {&wildcards, "a__only__b", "aoneb"},
        {&wildcards, "__sub/outer__!", "an one and one!"},
        {&wildcards, "__a_b__", "one"},
        {&wildcards, "____only__", "__one"},
        {&wildcards, "__ only __ __only__", "__ only __ one"},
        {&wildcards, "__only", "__only"},
        {&wildcards, "__only_", "__only_"},
        {&wildcards, "_only__", "_only__"},
        {&wildcards, "snake_case __only__", "snake_case one"},
        {&wildcards, "\\__only__ \\_\\_only\\_\\_", "\\__only__ \\_\\_only\\_\\_"},
        {&wildcards, "a # __gone__\n__only__", "a # __gone__\none"},
        {&wildcards, "<lora:add__detail__v2:0.8> __only__", "<lora:add__detail__v2:0.8> one"},
        {&wildcards, "<lora:__only__:0.8>", "<lora:one:0.8>"},
        {&wildcards, "{__only__|__only__}", "{one|one}"},
        {&wildcards, "(__only__:1.2) [a:__only__:3]", "(one:1.2) [a:one:3]"},
        {&variants, "a {b} c", "a b c"},
        {&variants, "{ b }", "b"},
        {&variants, "{}", ""},
        {&variants, "{b|b}", "b"},
        {&variants, "{{b|b}|{b}}", "b"},
        {&variants, "{0::a|b}", "b"},
        {&variants, "{0::a|1.5::b|0::c}", "b"},
        {&variants, "{2$$a|a}", "a, a"},
        {&variants, "{2$$ and $$a|a}", "a and a"},
        {&variants, "{2$$$$a|a}", "aa"},
        {&variants, "{5$$a|a}", "a, a"},
        {&variants, "{2-5$$a|a}", "a, a"},
        {&variants, "{0$$a|b}", ""},
        {&variants, "{-1$$a}", "a"},
        {&variants, "{1-$$a}", "a"},
        {&variants, "{3-4$$a|a|a}", "a, a, a"},
        {&variants, "{[a|b]|[a|b]}", "[a|b]"},
        {&variants, "{a:b|a:b}", "a:b"},
        {&variants, "a { b", "a { b"},
        {&variants, "a } b", "a } b"},
        {&variants, "\\{a|b\\}", "\\{a|b\\}"},
        {&variants, "# {a|b}", "# {a|b}"},
        {&variants, "__only__ {b}", "__only__ b"},
        {&variants, "5$$ {b} 3::c", "5$$ b 3::c"},
        {&both, "{__only__|__only__} {2$$__only__}", "one one"},
        {&both, "__weighted__", "ever"},
        {&both, "{2$$__only__|__only__}", "one, one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t seed = 0; seed < 5; seed++)
            assert_becomes(cases[i].text, cases[i].rules, seed, cases[i].expected);
}

/* Python: [random.Random(s).choice(["red", "green", "blue"]) for s in range(8)], and three in a row of seed 3. */
static void seeds_choose(void **state)
{
    (void)state;
    static const char *const first[] = {"green", "red", "red", "red", "red", "blue", "blue", "green"};
    for (uint64_t seed = 0; seed < 8; seed++)
        assert_becomes("__colour__", &wildcards, seed, first[seed]);
    assert_becomes("__colour__ __colour__ __colour__", &wildcards, 3, "red blue blue");
    assert_becomes("a {red|green|blue} fox", &variants, 5, "a blue fox");
}

/* How often each of three texts comes of 3,000 seeds. */
static void count(const char *text, const template_rules *rules, const char *const texts[3], int counts[3])
{
    memset(counts, 0, 3 * sizeof *counts);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char *out = NULL;
        int found = -1;
        assert_int_equal(fill(text, rules, seed, &out, NULL), KILN_OK);
        for (int i = 0; i < 3; i++)
            found = strcmp(out, texts[i]) == 0 ? i : found;
        if (found < 0)
            fail_msg("'%s' became '%s'", text, out);
        counts[found]++;
        free(out);
    }
}

/* Four deviations of a binomial of 3,000 with a third are 103; with a quarter 95. */
static void all_are_as_likely_as_they_should_be(void **state)
{
    (void)state;
    static const char *const names[] = {"red", "green", "blue"}, *const pairs[] = {"red, green, blue",
                                                                                   "red, blue, green",
                                                                                   "green, red, blue"};
    int counts[3];
    count("__colour__", &wildcards, names, counts);
    for (int i = 0; i < 3; i++)
        assert_true(abs(counts[i] - 1000) < 103);
    count("{2::red|green|blue}", &variants, names, counts);
    assert_true(abs(counts[0] - 1500) < 110 && abs(counts[1] - 750) < 95 && abs(counts[2] - 750) < 95);
    /* An order is one of six; the seeds' first choices fall among three texts. */
    int different = 0;
    for (uint64_t seed = 0; seed < 600; seed++) {
        char *out = NULL;
        assert_int_equal(fill("{3$$__colour__}", &both, seed, &out, NULL), KILN_OK);
        assert_int_equal(strlen(out), strlen("red, green, blue"));
        assert_true(strstr(out, "red") && strstr(out, "green") && strstr(out, "blue"));
        different += strcmp(out, pairs[0]) == 0;
        free(out);
    }
    assert_true(abs(different - 100) < 37);
}

static void how_many_varies(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "a and a", "a and a and a"};
    int counts[3];
    count("{1-3$$ and $$a|a|a}", &variants, texts, counts);
    for (int i = 0; i < 3; i++)
        assert_true(abs(counts[i] - 1000) < 103);
}

static void assert_refusal(const char *text, const template_rules *rules, kiln_status status,
                           const char *word)
{
    char *out = NULL;
    kiln_error err = {0};
    assert_int_equal(fill(text, rules, 1, &out, &err), status);
    assert_null(out);
    if (!strstr(err.text, word))
        fail_msg("'%s': %s", text, err.text);
}

static void refused(void **state)
{
    (void)state;
    assert_refusal("a __gone__", &wildcards, KILN_NOT_FOUND, "'gone'");
    assert_refusal("__loop__", &wildcards, KILN_BAD_ARGUMENT, "loop.txt");
    assert_refusal("{0::a|0::b}", &variants, KILN_BAD_ARGUMENT, "weights");
    assert_refusal("{3-2$$a|b}", &variants, KILN_BAD_ARGUMENT, "3 to 2");
    assert_refusal("${x=red} ${x}", &variants, KILN_UNSUPPORTED, "variable");
    assert_refusal("{2$$__gone__}", &both, KILN_NOT_FOUND, "'gone'");
    char *text = calloc(1, 200001);
    assert_non_null(text);
    memset(text, 'a', 200000);
    assert_refusal(text, &none, KILN_BAD_ARGUMENT, "longer");
    /* Each of them is 132 bytes, and one more choice. */
    for (int i = 0; i < 100000; i += 11)
        memcpy(text + i, "__doubled__", 12);
    assert_refusal(text, &wildcards, KILN_BAD_ARGUMENT, "longer");
    for (int i = 0; i < 100000; i += 8)
        memcpy(text + i, "__only__", 9);
    assert_refusal(text, &wildcards, KILN_BAD_ARGUMENT, "10000 choices");
    free(text);
}

/* As deep and as unbalanced as a prompt can be, in time and without a stack of that depth. */
static void hostile_nesting(void **state)
{
    (void)state;
    static const char *const patterns[] = {"{", "{a|", "}", "__", "_", "<a:", "{2$$", "\\", "#", "$$", "0::"};
    enum { SIZE = 100000 };
    char *text = malloc(SIZE + 2);
    assert_non_null(text);
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        for (size_t i = 0, length = strlen(patterns[k]); i < SIZE; i++)
            text[i] = patterns[k][i % length];
        text[SIZE] = '\0';
        char *out = NULL;
        assert_int_equal(fill(text, &both, 1, &out, NULL), KILN_OK);
        assert_string_equal(out, text);
        free(out);
    }
    for (int i = 0; i < SIZE / 2; i++)
        text[i] = '{';
    memset(text + SIZE / 2, '}', SIZE / 2);
    assert_refusal(text, &variants, KILN_BAD_ARGUMENT, "nested");
    free(text);
}

/* ------------------------------------------------------------------------------------ styles */

static void assert_merged(const char *own, const char *prompt, const char *expected)
{
    char *out = NULL;
    assert_int_equal(style_merge(own, prompt, &out, NULL), KILN_OK);
    assert_string_equal(out, expected);
    free(out);
}

static void styles_are_merged(void **state)
{
    (void)state;
    assert_merged("oil", "a fox", "a fox, oil");
    assert_merged(" oil ", "  a fox\n", "a fox, oil");
    assert_merged("", "a fox ", "a fox");
    assert_merged("oil", "", "oil");
    assert_merged("", "", "");
    assert_merged("ink of {prompt}, fine", " a fox", "ink of  a fox, fine");
    assert_merged("{prompt} {prompt}", "x", "x x");
    assert_merged("{prompt", "x", "x, {prompt");
    assert_merged("{prompt}", "{prompt}", "{prompt}");
    assert_merged(" {prompt} ", "", "  ");
    char *long_text = calloc(1, 140001), *out = NULL;
    assert_non_null(long_text);
    memset(long_text, 'x', 140000);
    assert_int_equal(style_merge(long_text, "a", &out, NULL), KILN_BAD_ARGUMENT);
    assert_null(out);
    long_text[1000] = '\0';
    char many[2001] = "";
    for (int i = 0; i < 200; i++)
        strcat(many, "{prompt}");
    assert_int_equal(style_merge(many, long_text, &out, NULL), KILN_BAD_ARGUMENT);
    free(long_text);
}

static kiln_status read_styles(styles *all, const char *text, kiln_error *err)
{
    return styles_add(all, text, strlen(text), "styles.csv", err);
}

static void styles_are_read(void **state)
{
    (void)state;
    styles all = {0};
    kiln_error err = {0};
    static const char file[] = "\xef\xbb\xbfname,prompt,negative_prompt\r\n"
                               "Ink,\"ink of {prompt}, \"\"fine\"\" lines\",\"colour,\r\nphoto\"\r\n"
                               "# a remark,x,y\r\n"
                               "\r\n"
                               "Oil, \"oil, thick\",\r\n"
                               "Bare,a \"quoted\" word\r\n"
                               ",no name,x\r\n"
                               "Oil,oil,blue,,\r\n"
                               "\"na, me\",p,n";
    assert_int_equal(read_styles(&all, file, &err), KILN_OK);
    assert_int_equal(all.count, 4);
    const style *s = styles_find(&all, "Ink");
    assert_string_equal(s->prompt, "ink of {prompt}, \"fine\" lines");
    assert_string_equal(s->negative, "colour,\r\nphoto");
    s = styles_find(&all, "Oil");
    assert_string_equal(s->prompt, "oil");
    assert_string_equal(s->negative, "blue");
    assert_string_equal(styles_find(&all, "Bare")->prompt, "a \"quoted\" word");
    assert_string_equal(styles_find(&all, "Bare")->negative, "");
    assert_string_equal(styles_find(&all, "na, me")->negative, "n");
    assert_null(styles_find(&all, "ink"));
    char like[100];
    styles_like(&all, "ink", like, sizeof like);
    assert_string_equal(like, "'Ink'");
    styles_like(&all, "Bear", like, sizeof like);
    assert_string_equal(like, "'Bare'");
    styles_like(&all, "Watercolour", like, sizeof like);
    assert_string_equal(like, "");
    /* Another file's count; columns in any order, and the old name of one. */
    assert_int_equal(read_styles(&all, "text,extra,name\nnew oil,x,Oil\n", &err), KILN_OK);
    assert_int_equal(all.count, 4);
    assert_string_equal(styles_find(&all, "Oil")->prompt, "new oil");
    assert_string_equal(styles_find(&all, "Oil")->negative, "");
    styles_free(&all);
}

static void styles_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "'prompt'"},
        {"a,b\nc,d\n", "styles.csv"},
        {"name\nx\n", "'prompt'"},
        {"name,prompt\na,\"b\n", "line 2 is never closed"},
        {"name,prompt\n\na,\"b\"c\n", "line 3"},
        {"name,prompt\na,b, with a comma\n", "more fields"},
        {"name,prompt\na,\xff\n", "line 2 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        styles all = {0};
        kiln_error err = {0};
        assert_int_equal(read_styles(&all, cases[i].text, &err), KILN_BAD_FORMAT);
        if (!strstr(err.text, cases[i].word) || !strstr(err.text, "styles.csv"))
            fail_msg("%zu: %s", i, err.text);
        styles_free(&all);
    }
    styles all = {0};
    kiln_error err = {0};
    assert_int_equal(styles_add(&all, "name,prompt\na,\0", 15, "zero.csv", &err), KILN_BAD_FORMAT);
    styles_free(&all);
    char wide[200] = "a";
    for (int i = 0; i < CSV_MAX_FIELDS; i++)
        strcat(wide, ",");
    assert_int_equal(read_styles(&all, wide, &err), KILN_BAD_FORMAT);
    assert_non_null(strstr(err.text, "64 fields"));
    styles_free(&all);
}

static void tables_are_read(void **state)
{
    (void)state;
    static const char text[] = "a,b\r\rc,\"d\r\n\re\"\n\n\"\",\n\"x\"";
    csv t = {0};
    assert_int_equal(csv_parse(text, sizeof text - 1, "t", &t, NULL), KILN_OK);
    assert_int_equal(t.count, 4);
    static const int counts[] = {2, 2, 2, 1}, lines[] = {1, 3, 7, 8};
    static const char *const fields[] = {"a", "b", "c", "d\r\n\re", "", "", "x"};
    for (int i = 0, k = 0; i < t.count; i++) {
        assert_int_equal(t.rows[i].count, counts[i]);
        assert_int_equal(t.rows[i].line, lines[i]);
        for (int f = 0; f < counts[i]; f++)
            assert_string_equal(t.rows[i].fields[f], fields[k++]);
    }
    csv_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_is_pythons), cmocka_unit_test(what_is_one_text_is_that_text),
        cmocka_unit_test(seeds_choose),      cmocka_unit_test(all_are_as_likely_as_they_should_be),
        cmocka_unit_test(how_many_varies),   cmocka_unit_test(refused),
        cmocka_unit_test(hostile_nesting),   cmocka_unit_test(styles_are_merged),
        cmocka_unit_test(styles_are_read),   cmocka_unit_test(styles_are_refused),
        cmocka_unit_test(tables_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
