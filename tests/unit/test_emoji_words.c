/* test_emoji_words.c - the words of captions, names from CLDR's XML, ligatures, colours.
 * floors: base tensor text */
#include "emoji/annotations.h"
#include "emoji/colours.h"
#include "emoji/ligatures.h"
#include "emoji/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void articles_and_plurals(void **state)
{
    (void)state;
    static const char *const articles[][2] = {{"apple", "an"},     {"rocket", "a"}, {"unicorn", "a"},
                                              {"hourglass", "an"}, {"x-ray", "an"}, {"UFO", "a"},
                                              {"orange cat", "an"}};
    for (size_t i = 0; i < sizeof articles / sizeof *articles; i++)
        assert_string_equal(words_article(articles[i][0]), articles[i][1]);
    static const char *const plurals[][2] = {{"apple", "apples"},
                                             {"red apple", "red apples"},
                                             {"glass of milk", "glasses of milk"},
                                             {"mouse", "mice"},
                                             {"wolf", "wolves"},
                                             {"strawberry", "strawberries"},
                                             {"maple leaf", "maple leaves"},
                                             {"tomato", "tomatoes"},
                                             {"watch", "watches"},
                                             {"church", "churches"},
                                             {"monkey", "monkeys"},
                                             {"tooth", "teeth"}};
    for (size_t i = 0; i < sizeof plurals / sizeof *plurals; i++) {
        char out[PHRASE_SIZE];
        words_plural(plurals[i][0], out, sizeof out);
        assert_string_equal(out, plurals[i][1]);
    }
    assert_string_equal(words_number(3), "three");
}

static void names_become_phrases(void **state)
{
    (void)state;
    static const struct {
        const char *name, *noun;
        phrase_article article;
        bool object;
    } cases[] = {
        {"red apple", "red apple", ARTICLE_A, true},
        {"flag: France", "flag of France", ARTICLE_THE, false},
        {"flag: United States", "flag of the United States", ARTICLE_THE, false},
        {"person: red hair", "person with red hair", ARTICLE_A, true},
        {"woman: bald", "bald woman", ARTICLE_A, true},
        {"family: man, woman, boy", "family of a man, a woman and a boy", ARTICLE_A, false},
        {"three o\xE2\x80\x99"
         "clock",
         "clock showing three o'clock", ARTICLE_A, false},
        {"A button (blood type)", "A button", ARTICLE_A, false},
        {"grapes", "grapes", ARTICLE_NONE, true},
        {"Statue of Liberty", "Statue of Liberty", ARTICLE_THE, true},
        {"person lifting weights", "person lifting weights", ARTICLE_A, true},
        {"Aries", "Aries zodiac sign", ARTICLE_A, false},
        {"cactus", "cactus", ARTICLE_A, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        phrase p;
        words_phrase(cases[i].name, &p);
        assert_string_equal(p.noun, cases[i].noun);
        assert_int_equal(p.article, cases[i].article);
        assert_int_equal(p.object, cases[i].object);
    }
    phrase p;
    words_phrase("red apple", &p);
    assert_string_equal(p.plain, "apple");
    assert_string_equal(p.plural, "red apples");
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    words_phrase(longest, &p); /* cut, not overrun */
    assert_int_equal(strlen(p.noun), PHRASE_SIZE - 1);
}

static void annotations_from_xml(void **state)
{
    (void)state;
    static const char text[] =
        "<?xml version=\"1.0\"?><ldml><annotations><!-- <annotation cp=\"x\">no</annotation> -->"
        "<annotation cp=\"\xF0\x9F\x91\x8D\">hand | up</annotation>"
        "<annotation cp=\"\xF0\x9F\x91\x8D\" type=\"tts\">thumbs &amp; up</annotation>"
        "<annotation cp=\"\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBB\" type=\"tts\">light</annotation>"
        "<annotation cp=\"\xF0\x9F\x8D\x8E\" type=\"tts\">red apple</annotation>"
        "</annotations></ldml>";
    annotations a = {0};
    kiln_error err = {0};
    assert_int_equal(annotations_parse(&a, "test", text, sizeof text - 1, &err), KILN_OK);
    annotations_sort(&a);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.items[0].name, "red apple");
    assert_null(a.items[0].keywords);
    assert_false(a.items[0].has_skin_tones);
    assert_string_equal(a.items[1].name, "thumbs & up");
    assert_string_equal(a.items[1].keywords, "hand | up");
    assert_true(a.items[1].has_skin_tones);
    annotations_fini(&a);
    /* Any beginning of it is not well formed, and no harm. */
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        assert_int_equal(annotations_parse(&a, "test", text, cut, &err), KILN_BAD_FORMAT);
        annotations_fini(&a);
    }
}

/* One lookup of type 4: glyphs 5 and 6 make 9. */
static const unsigned char gsub[] = {0, 1, 0, 0, 0, 0, 0, 0,  0, 10, /* header: list of lookups at 10 */
                                     0, 1, 0, 4,                     /* one, at 14 */
                                     0, 4, 0, 0, 0, 1, 0, 8,         /* type 4, one part at 22 */
                                     0, 1, 0, 8, 0, 1, 0, 14,        /* coverage at 30, set at 36 */
                                     0, 1, 0, 1, 0, 5,               /* coverage: glyph 5 */
                                     0, 1, 0, 4, 0, 9, 0, 2,  0, 6}; /* set: 5 6 -> 9 */

static void ligatures_are_found(void **state)
{
    (void)state;
    kiln_error err = {0};
    static const uint32_t pair[] = {5, 6}, other[] = {5, 7};
    for (size_t size = 0; size <= sizeof gsub; size++) {
        unsigned char *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, gsub, size);
        ligatures l;
        if (ligatures_init(&l, copy, size, &err)) {
            assert_true(size < 12);
            continue;
        }
        assert_int_equal(ligatures_find(&l, pair, 2), size == sizeof gsub ? 9 : 0);
        assert_int_equal(ligatures_find(&l, other, 2), 0);
        assert_int_equal(ligatures_find(&l, pair, 1), 0);
        ligatures_fini(&l);
    }
}

static void colours_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < BACKGROUND_COUNT; i++) {
        float rgb[3], lab[3], back[3], other[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (float)background_colours[i].rgb[c] / 255;
        assert_int_equal(colours_nearest_background(rgb), i);
        colours_to_lab(rgb, lab);
        colours_from_lab(lab, back);
        for (int c = 0; c < 3; c++)
            assert_float_equal(back[c], rgb[c], 0.004f);
        for (int k = 0; k < i; k++) { /* far enough apart to be told */
            colours_lab_of(&background_colours[k], other);
            assert_true(colours_distance(lab, other) > 0.075f);
        }
    }
}

/* A yellow disc in blue becomes blue, its black outline stays black. */
static void tints_move_the_main_hue(void **state)
{
    (void)state;
    uint8_t *pixels = calloc(4, GLYPH_WIDTH * GLYPH_HEIGHT);
    assert_non_null(pixels);
    for (int i = 0; i < GLYPH_WIDTH * GLYPH_HEIGHT; i++) {
        bool dark = i % GLYPH_WIDTH < 10;
        pixels[4 * i] = dark ? 0 : 250;
        pixels[4 * i + 1] = dark ? 0 : 200;
        pixels[4 * i + 2] = dark ? 0 : 40;
        pixels[4 * i + 3] = 255;
    }
    glyph g = {.pixels = pixels};
    colours_measure(&g);
    assert_true(g.hue.share > 0.85f);
    float two[8] = {250 / 255.0f, 200 / 255.0f, 40 / 255.0f, 1, 0, 0, 0, 1};
    colours_tint(&g.hue, 4, two, 2);
    float lab[3], blue[3];
    colours_to_lab(two, lab);
    colours_lab_of(&tint_colours[4], blue);
    assert_string_equal(tint_colours[4].name, "blue");
    assert_true(colours_distance(lab, blue) < 0.05f);
    for (int c = 4; c < 7; c++)
        assert_true(two[c] < 0.02f);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(articles_and_plurals), cmocka_unit_test(names_become_phrases),
        cmocka_unit_test(annotations_from_xml), cmocka_unit_test(ligatures_are_found),
        cmocka_unit_test(colours_have_names),   cmocka_unit_test(tints_move_the_main_hue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
