/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_template_draw.c - drawings from templates: each picture is the one that its own text draws, whatever draws it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

#include <kiln/edit.h>
#include <kiln/prompt.h>

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[6][200];
    static int turn;
    char *path = paths[turn++ % 6];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0 && fclose(f) == 0, 1);
}

static const char *const files[] = {"wildcards/animal.txt",
                                    "wildcards/none.txt",
                                    "wildcards/latin.txt",
                                    "wildcards/round.txt",
                                    "wildcards/below/wild.txt",
                                    "wildcards/below/tame.txt",
                                    "wildcards/below",
                                    "wildcards",
                                    "styles.csv",
                                    "more.csv"};

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "kiln-template-XXXXXX");
    if (!mkdtemp(folder) || mkdir(in_folder("wildcards"), 0700) || mkdir(in_folder("wildcards/below"), 0700))
        return 1;
    write_text("wildcards/animal.txt", "\xef\xbb\xbf# animals\r\nfox\r\n\r\n  hen \r\n__below/tame__\r\n");
    write_text("wildcards/below/tame.txt", "cow\n");
    write_text("wildcards/below/wild.txt", "wolf\nbear");
    write_text("wildcards/none.txt", "# nothing\n\n");
    write_text("wildcards/latin.txt", "caf\xe9\n");
    write_text("wildcards/round.txt", "a __round__\n");
    write_text("styles.csv", "name,prompt,negative_prompt\nInk,ink of {prompt},colour\nOil,oil,\n");
    write_text("more.csv", "name,prompt,negative_prompt\nOil,thick oil,thin\n");
    return open_model(state);
}

static int end(void **state)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)remove(in_folder(files[i]));
    return remove(folder) | close_model(state);
}

static kiln_draw_options options_of(const char *prompt, const kiln_templates *t)
{
    kiln_draw_options o = tiny_options(prompt, 40);
    o.width = o.height = 32;
    o.steps = 2;
    o.templates = t;
    return o;
}

/* ------------------------------------------------------------------------------------ texts */

static void assert_filled(const kiln_templates *t, uint64_t seed, const char *prompt, const char *negative,
                          const char *expected, const char *expected_negative)
{
    char *out = NULL, *negative_out = NULL;
    assert_ok(kiln_fill_templates(t, seed, prompt, negative, &out, &negative_out, err));
    assert_string_equal(out, expected);
    if (expected_negative)
        assert_string_equal(negative_out, expected_negative);
    else
        assert_null(negative_out);
    free(out);
    free(negative_out);
}

/* Python: random.Random(s).choice of the lines: of 3 lines 1 0 0 0 0 2 2 1 of the seeds 0 to 7. */
static void files_are_read(void **state)
{
    (void)state;
    const char *const names[] = {"Ink", "None", "Oil"}, *const csv[] = {in_folder("styles.csv"),
                                                                        in_folder("more.csv")};
    kiln_templates t = {.wildcards = in_folder("wildcards")};
    assert_filled(&t, 0, "a __animal__", NULL, "a hen", NULL);
    assert_filled(&t, 1, "a __animal__", "__animal__", "a fox", "fox");
    assert_filled(&t, 5, "a __animal__", "", "a cow", "");
    /* bear, cow and wolf would be the order of the texts; below/tame comes before below/wild. */
    assert_filled(&t, 1, "__below/*__", NULL, "cow", NULL);
    assert_filled(&t, 0, "__below/*__", NULL, "wolf", NULL);
    assert_filled(&t, 5, "__**/wil*__ __b?low/wil*__", "__animal__", "bear bear", "cow");
    t.prompt_is_filled = true;
    assert_filled(&t, 5, "a __animal__", "__animal__", "a __animal__", "cow");
    t = (kiln_templates){.styles = names, .style_count = 3, .style_files = csv, .style_file_count = 1};
    assert_filled(&t, 5, "a __animal__", NULL, "ink of a __animal__, oil", "colour");
    assert_filled(&t, 5, "", "x ", "ink of, oil", "x, colour");
    t.style_file_count = 2;
    t.wildcards = in_folder("wildcards");
    assert_filled(&t, 5, "a __animal__", NULL, "ink of a cow, thick oil", "colour, thin");
    assert_filled(&(kiln_templates){0}, 5, "a __animal__ {a|b}", NULL, "a __animal__ {a|b}", NULL);
}

static void refused(void **state)
{
    (void)state;
    char *p, *n;
    const char *const names[] = {"Olk"}, *const csv[] = {in_folder("styles.csv")},
                      *const gone[] = {"gone.csv"};
    kiln_templates t = {.wildcards = in_folder("wildcards")};
    assert_refused(kiln_fill_templates(&t, 1, "__below__", NULL, &p, &n, err), KILN_NOT_FOUND, "below.txt");
    assert_refused(kiln_fill_templates(&t, 1, "a", "__below/x*__", &p, &n, err), KILN_NOT_FOUND, "x*");
    assert_null(p);
    assert_refused(kiln_fill_templates(&t, 1, "__../x__", NULL, &p, &n, err), KILN_BAD_ARGUMENT, "../x");
    assert_refused(kiln_fill_templates(&t, 1, "__/etc/x__", NULL, &p, &n, err), KILN_BAD_ARGUMENT, "/etc/x");
    assert_refused(kiln_fill_templates(&t, 1, "__none__", NULL, &p, &n, err), KILN_BAD_FORMAT, "'none'");
    assert_refused(kiln_fill_templates(&t, 1, "__latin__", NULL, &p, &n, err), KILN_BAD_FORMAT, "latin.txt");
    assert_refused(kiln_fill_templates(&t, 1, "__round__", NULL, &p, &n, err), KILN_BAD_ARGUMENT,
                   "round.txt");
    t = (kiln_templates){.wildcards = "nowhere"};
    assert_refused(kiln_fill_templates(&t, 1, "a", NULL, &p, &n, err), KILN_NOT_FOUND, "nowhere");
    t = (kiln_templates){.styles = names, .style_count = 1, .style_files = csv, .style_file_count = 1};
    assert_refused(kiln_fill_templates(&t, 1, "a", NULL, &p, &n, err), KILN_NOT_FOUND, "'Oil'");
    t.style_files = gone;
    assert_refused(kiln_fill_templates(&t, 1, "a", NULL, &p, &n, err), KILN_NOT_FOUND, "gone.csv");
    t.style_file_count = 0;
    assert_refused(kiln_fill_templates(&t, 1, "a", NULL, &p, &n, err), KILN_NOT_FOUND, "Olk");
    assert_refused(kiln_fill_templates(&t, 1, NULL, NULL, &p, &n, err), KILN_BAD_ARGUMENT, "no prompt");
    kiln_templates wild = {.wildcards = in_folder("wildcards")};
    kiln_draw_options o = options_of("a __gone__", &wild);
    kiln_image *out = NULL;
    kiln_memory_plan plan;
    assert_refused(kiln_draw(session, &o, &out, err), KILN_NOT_FOUND, "gone.txt");
    assert_null(out);
    assert_refused(kiln_draw_plan(session, &o, &plan, err), KILN_NOT_FOUND, "gone.txt");
}

static void what_lies_beside_the_model(void **state)
{
    (void)state;
    char *found = kiln_wildcards_beside(in_folder("model.safetensors"));
    assert_string_equal(found, in_folder("wildcards"));
    free(found);
    found = kiln_wildcards_beside(in_folder("models/sd15/"));
    assert_string_equal(found, in_folder("wildcards"));
    free(found);
    found = kiln_styles_beside(in_folder("sd15"));
    assert_string_equal(found, in_folder("styles.csv"));
    free(found);
    assert_null(kiln_wildcards_beside(in_folder("a/b/c")));
    assert_null(kiln_styles_beside(NULL));
}

/* ------------------------------------------------------------------------------------ drawings */

/* What picture k of a call with templates has to be: `alone` with its text and seed. */
static void expect_text(const kiln_draw_options *of, int k, kiln_draw_options *alone, char *texts[2])
{
    assert_ok(kiln_fill_templates(of->templates, of->seed + (uint64_t)k, of->prompt, of->negative, &texts[0],
                                  &texts[1], err));
    *alone = *of;
    alone->templates = NULL;
    alone->prompt = texts[0];
    alone->negative = texts[1];
    alone->batch = 1;
    alone->seed = of->seed + (uint64_t)k;
}

static void assert_each_is_its_own(const kiln_draw_options *o)
{
    kiln_image *all[4];
    assert_ok(kiln_draw(session, o, all, err));
    for (int k = 0; k < o->batch; k++) {
        kiln_draw_options alone;
        char *texts[2];
        expect_text(o, k, &alone, texts);
        kiln_image *one = tiny_draw(session, &alone);
        assert_true(same_pixels(all[k], one));
        kiln_image_free(all[k]);
        kiln_image_free(one);
        free(texts[0]);
        free(texts[1]);
    }
}

static void each_picture_of_a_batch_has_its_text(void **state)
{
    (void)state;
    kiln_templates t = {.wildcards = in_folder("wildcards"), .variants = true};
    kiln_draw_options o = options_of("a __animal__", &t);
    o.batch = 3;
    o.negative = "{red|green}";
    assert_each_is_its_own(&o);
    /* Seeds 30 and 31 take the third and the first: parts, words that change, two windows, weights; and a second pass. */
    o.prompt = "{a BREAK (b:1.4)|a|[a:(b:0.5):1] AND c|a}";
    o.emphasis = "ComfyUI";
    o.batch = 2;
    o.seed = 30;
    o.steps = 1;
    o.hires_scale = 1.5;
    o.hires_steps = 2;
    o.guidance.perpendicular = 1;
    assert_each_is_its_own(&o);
}

/* A batch takes what its longest text takes. */
static void memory_is_that_of_the_longest(void **state)
{
    (void)state;
    kiln_templates t = {.variants = true};
    kiln_draw_options o = options_of("{a|a|a BREAK b BREAK c BREAK d}", &t), longest = o;
    kiln_memory_plan plans[2];
    longest.prompt = "a BREAK b BREAK c BREAK d";
    o.batch = longest.batch = 8;
    o.width = o.height = longest.width = longest.height = 64;
    assert_ok(kiln_draw_plan(session, &o, &plans[0], err));
    assert_ok(kiln_draw_plan(session, &longest, &plans[1], err));
    assert_int_equal(plans[0].activations, plans[1].activations);
}

static const char *field(const kiln_image *picture, const char *name, kiln_recipe **recipe)
{
    assert_ok(kiln_recipe_read(kiln_image_text(picture, "parameters"), recipe, err));
    return kiln_recipe_field(*recipe, name);
}

static void a_recipe_repeats_the_text(void **state)
{
    (void)state;
    const char *const names[] = {"Ink", "Oil"}, *const csv[] = {in_folder("styles.csv")};
    kiln_templates t = {.styles = names,
                        .style_count = 2,
                        .style_files = csv,
                        .style_file_count = 1,
                        .wildcards = in_folder("wildcards")};
    kiln_draw_options o = options_of("a __animal__", &t), again = kiln_draw_defaults();
    kiln_recipe *recipe = NULL;
    kiln_image *first = tiny_draw(session, &o);
    assert_string_equal(field(first, "Wildcard prompt", &recipe), "ink of a __animal__, oil");
    assert_null(kiln_recipe_field(recipe, "Wildcard negative prompt"));
    assert_string_equal(kiln_recipe_field(recipe, "Styles"), "Ink; Oil");
    again.templates = &t;
    kiln_recipe_apply(recipe, &again);
    assert_null(again.templates);
    assert_string_equal(again.negative, "colour");
    assert_null(strstr(again.prompt, "__"));
    kiln_image *second = tiny_draw(session, &again);
    assert_true(same_pixels(first, second));
    kiln_image_free(second);
    kiln_recipe_free(recipe);
    kiln_image_free(first);
    /* A template that is a plain text is not recorded. */
    o.prompt = "a fox";
    o.negative = "__animal__";
    t.style_count = 0;
    first = tiny_draw(session, &o);
    assert_null(field(first, "Wildcard prompt", &recipe));
    assert_string_equal(kiln_recipe_field(recipe, "Wildcard negative prompt"), "__animal__");
    assert_null(kiln_recipe_field(recipe, "Styles"));
    kiln_recipe_free(recipe);
    kiln_image_free(first);
}

static void inpainting_and_outpainting_follow(void **state)
{
    (void)state;
    kiln_templates t = {.wildcards = in_folder("wildcards")};
    kiln_image *picture = picture_of(40, 32, 3, 8), *all[2], *one = NULL;
    kiln_inpaint_options in = kiln_inpaint_defaults();
    kiln_outpaint_options out = kiln_outpaint_defaults();
    uint8_t white[40 * 32];
    memset(white, 0, sizeof white);
    memset(white + 40 * 8, 255, 40 * 16);
    kiln_image *mask = NULL;
    assert_ok(kiln_image_new(40, 32, 1, 8, white, &mask, err));
    in.draw = options_of("a __animal__ [a:b:1]", &t);
    in.draw.width = in.draw.height = 0;
    in.draw.batch = 2;
    in.picture = out.picture = picture;
    in.mask = mask;
    out.draw = in.draw;
    out.draw.width = out.draw.height = 32;
    out.draw.prompt = "a __animal__";
    out.right = 12;
    out.feather = 4;
    for (int outward = 0; outward < 2; outward++) {
        const kiln_draw_options *draw = outward ? &out.draw : &in.draw;
        if (outward)
            assert_ok(kiln_outpaint(session, &out, all, err));
        else
            assert_ok(kiln_inpaint(session, &in, all, err));
        for (int k = 0; k < 2; k++) {
            kiln_inpaint_options in_alone = in;
            kiln_outpaint_options out_alone = out;
            kiln_recipe *recipe = NULL;
            char *texts[2];
            expect_text(draw, k, outward ? &out_alone.draw : &in_alone.draw, texts);
            if (outward)
                assert_ok(kiln_outpaint(session, &out_alone, &one, err));
            else
                assert_ok(kiln_inpaint(session, &in_alone, &one, err));
            assert_true(same_pixels(all[k], one));
            assert_string_equal(field(all[k], "Wildcard prompt", &recipe), draw->prompt);
            kiln_draw_options back = kiln_draw_defaults();
            kiln_recipe_apply(recipe, &back);
            assert_string_equal(back.prompt, texts[0]);
            kiln_recipe_free(recipe);
            kiln_image_free(one);
            kiln_image_free(all[k]);
            free(texts[0]);
            free(texts[1]);
        }
    }
    kiln_image_free(mask);
    kiln_image_free(picture);
}

/* All tiles have the text of the picture's seed, not of their own. */
static void redrawing_follows(void **state)
{
    (void)state;
    kiln_templates t = {.wildcards = in_folder("wildcards")};
    kiln_redraw_options o = kiln_redraw_defaults(), alone;
    kiln_image *picture = picture_of(24, 20, 3, 8), *a = NULL, *b = NULL;
    kiln_recipe *recipe = NULL;
    char *texts[2];
    o.draw.prompt = "a __animal__";
    o.draw.steps = 2;
    o.draw.seed = 40;
    o.draw.templates = &t;
    o.draw.width = o.draw.height = 32;
    o.overlap = 8;
    o.picture = picture;
    alone = o;
    expect_text(&o.draw, 0, &alone.draw, texts);
    assert_ok(kiln_redraw(session, &o, &a, err));
    assert_ok(kiln_redraw(session, &alone, &b, err));
    assert_true(same_pixels(a, b));
    assert_string_equal(field(a, "Wildcard prompt", &recipe), "a __animal__");
    kiln_recipe_free(recipe);
    kiln_image_free(a);
    kiln_image_free(b);
    kiln_image_free(picture);
    free(texts[0]);
    free(texts[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(refused),
        cmocka_unit_test(what_lies_beside_the_model),
        cmocka_unit_test(each_picture_of_a_batch_has_its_text),
        cmocka_unit_test(memory_is_that_of_the_longest),
        cmocka_unit_test(a_recipe_repeats_the_text),
        cmocka_unit_test(inpainting_and_outpainting_follow),
        cmocka_unit_test(redrawing_follows),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
