/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_prompt_draw.c - what the prompt language does to a drawing: each case is one that a plainer prompt draws too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

#include <string.h>

static kiln_draw_options options_of(const char *prompt)
{
    kiln_draw_options o = tiny_options(prompt, 5);
    o.width = o.height = 32;
    o.steps = 4;
    o.sampler = "Euler";
    return o;
}

/* The largest difference of two pictures' bytes. */
static int distance(const kiln_draw_options *a, const kiln_draw_options *b)
{
    kiln_image *x = tiny_draw(session, a), *y = tiny_draw(session, b);
    const uint8_t *p = kiln_image_pixels(x), *q = kiln_image_pixels(y);
    int most = 0;
    for (int i = 0; i < 32 * 32 * 3; i++)
        most = abs(p[i] - q[i]) > most ? abs(p[i] - q[i]) : most;
    kiln_image_free(x);
    kiln_image_free(y);
    return most;
}

static int between(const char *a, const char *b)
{
    kiln_draw_options x = options_of(a), y = options_of(b);
    return distance(&x, &y);
}

static void words_change_over_the_steps(void **state)
{
    (void)state;
    assert_int_equal(between("[a fox:a hen:0]", "a hen"), 0);
    assert_int_equal(between("[a fox:a hen:4]", "a fox"), 0);
    assert_int_equal(between("[a fox:a hen:1.0]", "a fox"), 0);
    assert_int_equal(between("[a fox:a hen:2]", "[a fox:a hen:0.5]"), 0);
    assert_int_equal(between("[a fox|a fox]", "a fox"), 0);
    assert_true(between("[a fox:a hen:2]", "a hen") > 0);
    assert_true(between("[a fox:a hen:2]", "a fox") > 0);
    assert_true(between("[a fox|a hen]", "[a hen|a fox]") > 0);
    kiln_draw_options a = options_of("a fox"), b = a;
    a.negative = "[wood:iron:0]";
    b.negative = "iron";
    assert_int_equal(distance(&a, &b), 0);
    a.negative = "[wood:iron:1]";
    assert_true(distance(&a, &b) > 0);
}

static void parts_are_weighed(void **state)
{
    (void)state;
    assert_true(between("a fox AND a hen :0", "a fox") <= 1);
    assert_true(between("a fox :0.25 AND a fox :0.75", "a fox") <= 1);
    assert_true(between("a fox AND a hen", "a fox") > 1);
    kiln_draw_options a = options_of("a fox :2"), b = options_of("a fox");
    b.cfg = 2 * a.cfg;
    assert_true(distance(&a, &b) <= 1);
    /* In a negative prompt it is a word. */
    a = b = options_of("a fox");
    a.negative = "wood AND iron";
    b.negative = "wood and iron";
    assert_int_equal(distance(&a, &b), 0);
    /* Without guidance, and where it pauses. */
    a = options_of("a fox AND a fox :0.5");
    b = options_of("a fox");
    a.cfg = b.cfg = 1;
    assert_true(distance(&a, &b) <= 1);
    a = options_of("a fox :0.5 AND a fox :0.5");
    b = options_of("a fox");
    a.guidance.skip_early = b.guidance.skip_early = 0.5;
    assert_true(distance(&a, &b) <= 1);
}

static void weights_and_emphasis(void **state)
{
    (void)state;
    assert_int_equal(between("a (fox:1.0)", "a fox"), 0);
    assert_int_equal(between("a \\fox # a remark", "a fox"), 0);
    assert_true(between("a (fox:1.8)", "a fox") > 0);
    kiln_draw_options a = options_of("a (fox:1.8) [hen]"), b = options_of("a fox hen"), c = a;
    a.emphasis = "Ignore";
    assert_int_equal(distance(&a, &b), 0);
    a.emphasis = "No norm";
    assert_true(distance(&a, &b) > 0);
    assert_true(distance(&a, &c) > 0);
    a.emphasis = "None";
    assert_true(distance(&a, &b) > 0);
    a.emphasis = "loud";
    kiln_image *out = NULL;
    assert_refused(kiln_draw(session, &a, &out, err), KILN_BAD_ARGUMENT, "emphasis");
}

static void a_recipe_holds_the_emphasis(void **state)
{
    (void)state;
    kiln_draw_options o = options_of("[a (fox:1.8)|hen] AND b :0.5"), again = kiln_draw_defaults();
    o.emphasis = "No norm";
    kiln_image *first = tiny_draw(session, &o);
    kiln_recipe *recipe = NULL;
    assert_ok(kiln_recipe_read(kiln_image_text(first, "parameters"), &recipe, err));
    kiln_recipe_apply(recipe, &again);
    assert_string_equal(again.emphasis, "No norm");
    kiln_image *second = tiny_draw(session, &again);
    assert_true(same_pixels(first, second));
    kiln_recipe_free(recipe);
    kiln_image_free(first);
    kiln_image_free(second);
}

static void a_second_pass_follows_too(void **state)
{
    (void)state;
    kiln_draw_options o = options_of("[a fox:a hen:2] AND a cow");
    o.hires_scale = 2;
    o.negative = "[wood:iron:1]";
    kiln_image_free(tiny_draw(session, &o));
}

static void a_prompt_is_explained(void **state)
{
    (void)state;
    char *text = NULL;
    static const char tokenizer[] = TEST_DATA "/sd1-tiny/tokenizer";
    assert_ok(kiln_explain_prompt(tokenizer, "[a:(b:1.5):2] BREAK a :0.5 AND [a|b]", 4, NULL, &text, err));
    static const char *const expected[] = {"part 1 of 2, weight 0.5\n",
                                           "part 2 of 2, weight 1\n",
                                           "  step 1-3: a BREAK a\n",
                                           "  step 4: (b:1.5) BREAK a\n",
                                           " b{1.5}\n",
                                           "    window 2, 1 of 75 tokens: a\n",
                                           "  step 1-2, 4: a\n",
                                           "  step 3: b\n"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(text, expected[i]))
            fail_msg("'%s' is not in\n%s", expected[i], text);
    free(text);
    assert_refused(kiln_explain_prompt(tokenizer, "a", 0, NULL, &text, err), KILN_BAD_ARGUMENT, "steps");
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_change_over_the_steps), cmocka_unit_test(parts_are_weighed),
        cmocka_unit_test(weights_and_emphasis),        cmocka_unit_test(a_recipe_holds_the_emphasis),
        cmocka_unit_test(a_second_pass_follows_too),   cmocka_unit_test(a_prompt_is_explained),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
