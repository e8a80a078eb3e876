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

#include <math.h>
#include <string.h>
#include <unistd.h>

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
    a.emphasis = "ComfyUI";
    assert_true(distance(&a, &b) > 0);
    a.emphasis = "loud";
    kiln_image *out = NULL;
    assert_refused(kiln_draw(session, &a, &out, err), KILN_BAD_ARGUMENT, "ComfyUI");
}

/* ------------------------------------------------------------------------------------ ComfyUI's way */

typedef struct states {
    kiln_map *map;
    const float *context, *pooled;
    int64_t tokens, width;
} states;

static states states_of(kiln_session *s, const char *text, const char *how)
{
    states x = {0};
    assert_ok(kiln_encode_text(s, text, 1, how, &x.map, err));
    for (int i = 0; i < kiln_map_count(x.map); i++) {
        const char *name;
        const int64_t *shape;
        int rank;
        const float *values = kiln_map_tensor(x.map, i, &name, &rank, &shape);
        if (strcmp(name, "pooled") == 0) {
            x.pooled = values;
            continue;
        }
        x.context = values;
        x.tokens = shape[1];
        x.width = shape[2];
    }
    return x;
}

/* The number of tokens of a text without weights. */
static int count_tokens(const char *model_folder, const char *text)
{
    int32_t *ids = NULL;
    char *pieces = NULL;
    size_t count = 0;
    assert_ok(kiln_tokenize(model_folder, text, &ids, &pieces, &count, err));
    free(ids);
    free(pieces);
    return (int)count;
}

/* "before (middle:w) after BREAK (end:v)" by its definition, from the states of the plain words and of none:
 * e + w (z - e) at the places of what is weighted, z at all others. */
static void check_interpolation(kiln_session *s, const char *folder, double w, double v)
{
    char text[100];
    snprintf(text, sizeof text, "a (fox:%g) in snow BREAK (hen:%g)", w, v);
    states got = states_of(s, text, "comfyui"), plain = states_of(s, "a fox in snow BREAK hen", NULL),
           empty = states_of(s, "", NULL);
    int first = 1 + count_tokens(folder, "a"), last = first + count_tokens(folder, "fox"),
        end = 78 + count_tokens(folder, "hen");
    assert_int_equal(got.tokens, 2 * 77);
    assert_int_equal(empty.tokens, 77);
    for (int t = 0; t < 2 * 77; t++) {
        double weight = t >= first && t < last ? w : t >= 78 && t < end ? v : 1;
        for (int64_t i = 0; i < got.width; i++) {
            double z = (double)plain.context[t * got.width + i],
                   e = (double)empty.context[t % 77 * got.width + i];
            assert_true(fabs((double)got.context[t * got.width + i] - (e + weight * (z - e))) < 1e-5);
        }
    }
    assert_true((got.pooled != NULL) == (plain.pooled != NULL));
    if (got.pooled)
        assert_memory_equal(got.pooled, plain.pooled, 16 * sizeof(float));
    kiln_map_free(got.map);
    kiln_map_free(plain.map);
    kiln_map_free(empty.map);
}

static void comfyui_weighs_from_nothing(void **state)
{
    (void)state;
    check_interpolation(session, TINY_PATH, 1.5, 0.25);
    check_interpolation(session, TINY_PATH, -1, 3);
    states a = states_of(session, "a fox", "ComfyUI"), b = states_of(session, "a fox", "Ignore");
    assert_memory_equal(a.context, b.context, (size_t)(a.tokens * a.width) * sizeof(float));
    kiln_map_free(a.map);
    kiln_map_free(b.map);
    /* Nothing of a word is left at 0 but its place; A1111's way leaves another state. */
    assert_true(between("(a:0)", "a") > 0);
    kiln_draw_options x = options_of("a (fox:1.8)"), y = x;
    x.emphasis = "ComfyUI";
    assert_true(distance(&x, &y) > 0);
}

/* Both encoders, and the pooled state as it is. */
static void comfyui_weighs_two_encoders(void **state)
{
    (void)state;
    static const char folder[] = TEST_SHARED "/golden/models/sdxl-tiny";
    if (access(folder, R_OK) != 0) {
        print_message("the reference models are not here: skipped\n");
        skip();
    }
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.threads = 1;
    o.precision = KILN_PRECISION_F32;
    assert_ok(kiln_model_open(folder, &o, &m, err));
    kiln_session *s = tiny_session(m);
    check_interpolation(s, folder, 1.5, 0.25);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
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
        cmocka_unit_test(comfyui_weighs_from_nothing), cmocka_unit_test(comfyui_weighs_two_encoders),
        cmocka_unit_test(a_second_pass_follows_too),   cmocka_unit_test(a_prompt_is_explained),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
