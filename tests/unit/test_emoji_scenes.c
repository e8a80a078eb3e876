/* test_emoji_scenes.c - scenes of emoji: places, captions, splits, pixels. Needs the font and CLDR's names.
 * floors: base tensor text */
#include "emoji/caption.h"
#include "emoji/colours.h"
#include "emoji/paint.h"
#include "emoji/prompts.h"
#include "emoji/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A picture is laid over by every emoji at every size and place, which takes a sanitizer long. */
#if defined(__SANITIZE_ADDRESS__)
enum { SIZE = 64, LOOKED_AT = 3 };
#else
enum { SIZE = 64, LOOKED_AT = 12 };
#endif
static glyph_set *set;

static int open_set(void **state)
{
    (void)state;
    kiln_error err = {0};
    if (access(GLYPHS_FONT, R_OK) != 0 || access(GLYPHS_CLDR, R_OK) != 0)
        return 0;
    return glyphs_open(NULL, NULL, &set, &err) ? -1 : 0;
}

static int close_set(void **state)
{
    (void)state;
    glyphs_close(set);
    return 0;
}

static void need_set(void)
{
    if (!set) {
        print_message("skipped: no emoji font or names here\n");
        skip();
    }
}

static int must_find(const char *name)
{
    int g = glyphs_find(set, name);
    if (g < 0)
        fail_msg("there is no emoji '%s'", name);
    return g;
}

static void emoji_are_complete(void **state)
{
    (void)state;
    need_set();
    assert_true(set->count > 1500 && set->count < 2500);
    for (int i = 0; i < set->count; i++) {
        assert_true(set->items[i].words.noun[0] != '\0');
        assert_null(strstr(set->items[i].name, "skin tone"));
        for (int k = 0; k < i; k++)
            if (strcmp(set->items[i].words.noun, set->items[k].words.noun) == 0)
                fail_msg("two emoji are called '%s'", set->items[i].words.noun);
    }
    must_find("flag of France");
    must_find("woman astronaut"); /* a sequence */
    must_find("keycap 3");
    assert_true(set->items[must_find("cat")].recolours);
    assert_false(set->items[must_find("thumbs up")].recolours);
    kiln_error err = {0};
    glyph_set *none;
    assert_int_equal(glyphs_open("/nowhere/font.ttf", NULL, &none, &err), KILN_NOT_FOUND);
    assert_null(none);
}

/* Scenes of a few kinds: nothing else comes in, at any place of a scene. */
static void a_set_may_be_a_few(void **state)
{
    (void)state;
    need_set();
    kiln_error err = {0};
    glyph_set *few;
    assert_int_equal(glyphs_open(NULL, NULL, &few, &err), KILN_OK);
    int all = few->count;
    assert_int_equal(glyphs_keep(few, "sun, unicorn of doom", &err), KILN_NOT_FOUND);
    assert_non_null(strstr(err.text, "'unicorn of doom'"));
    assert_int_equal(glyphs_keep(few, "sun,red apple", &err), KILN_BAD_ARGUMENT);
    assert_int_equal(few->count, all);
    assert_int_equal(glyphs_keep(few, " sun , red apple,frog,  penguin", &err), KILN_OK);
    assert_int_equal(few->count, 4);
    assert_true(glyphs_find(few, "frog") >= 0 && glyphs_find(few, "rocket") < 0);
    scene_rules rules = scene_defaults();
    for (int i = 0; i < 500; i++) {
        random_source r = random_start(5, (uint64_t)i);
        scene s;
        scene_compose(few, &rules, scene_main_glyph(few, &rules, 5, i), &r, &s);
        for (int k = 0; k < s.count; k++)
            assert_in_range(s.objects[k].glyph, 0, 3);
    }
    glyphs_close(few);
}

static scene_object object_of(const char *name, int tint, scene_size size)
{
    return (scene_object){.glyph = must_find(name), .tint = tint, .size = size};
}

static int background_of(const char *name)
{
    for (int i = 0; i < BACKGROUND_COUNT; i++)
        if (strcmp(background_colours[i].name, name) == 0)
            return i;
    return NO_BACKGROUND;
}

static void captions_read_well(void **state)
{
    (void)state;
    need_set();
    char text[CAPTION_SIZE];
    scene s = {.kind = SCENE_PAIR, .layout = LAYOUT_BESIDE, .background = background_of("pink"), .count = 2};
    s.objects[0] = object_of("cat", 3, SIZE_NORMAL);
    s.objects[1] = object_of("rocket", NO_TINT, SIZE_NORMAL);
    caption_write_plain(set, &s, text);
    assert_string_equal(text, "a green cat left of a rocket on a pink background");
    s.layout = LAYOUT_ABOVE;
    s.background = background_of("orange");
    s.objects[0] = object_of("red apple", 4, SIZE_SMALL);
    caption_write_plain(set, &s, text);
    assert_string_equal(text, "a small blue apple above a rocket on an orange background");
    s = (scene){.kind = SCENE_COUNT, .layout = LAYOUT_GRID, .background = NO_BACKGROUND, .count = 3};
    s.objects[0] = object_of("strawberry", NO_TINT, SIZE_NORMAL);
    caption_write_plain(set, &s, text);
    assert_string_equal(text, "three strawberries");
    s = (scene){.kind = SCENE_VARIED, .layout = LAYOUT_TOP_LEFT, .background = NO_BACKGROUND, .count = 1};
    s.objects[0] = object_of("umbrella", NO_TINT, SIZE_NORMAL);
    caption_write_plain(set, &s, text);
    assert_string_equal(text, "an umbrella in the top left corner");
}

static void objects_stay_inside(void **state)
{
    (void)state;
    need_set();
    scene_rules rules = scene_defaults();
    for (int i = 0; i < 20000; i++) {
        random_source r = random_start(5, (uint64_t)i);
        scene s;
        scene_compose(set, &rules, scene_main_glyph(set, &rules, 5, i), &r, &s);
        assert_true(s.count >= 1 && s.count <= SCENE_MAX_OBJECTS);
        assert_false(scene_held_out(set, &s));
        for (int k = 0; k < s.count; k++) {
            const scene_object *o = &s.objects[k];
            float half = o->height / 2, wide = half * GLYPH_WIDTH / GLYPH_HEIGHT;
            assert_true(o->x - wide > -0.001f && o->x + wide < 1.001f);
            assert_true(o->y - half > -0.001f && o->y + half < 1.001f);
            assert_true(o->height > 0.15f);
        }
        if (s.layout == LAYOUT_BESIDE)
            assert_true(s.objects[0].x + 0.2f < s.objects[1].x);
        if (s.layout == LAYOUT_ABOVE)
            assert_true(s.objects[0].y + 0.2f < s.objects[1].y);
    }
}

static void every_emoji_comes_first_as_often(void **state)
{
    (void)state;
    need_set();
    scene_rules rules = scene_defaults();
    int *seen = calloc((size_t)set->count, sizeof *seen);
    assert_non_null(seen);
    for (int i = 0; i < 3 * set->count; i++)
        seen[scene_main_glyph(set, &rules, 9, i)]++;
    for (int i = 0; i < set->count; i++)
        assert_int_equal(seen[i], 3);
    free(seen);
}

static void prompts_are_held_out(void **state)
{
    (void)state;
    need_set();
    static prompt list[60], again[60];
    prompts_composed(set, 60, list);
    prompts_composed(set, 60, again);
    for (int i = 0; i < 60; i++) {
        assert_string_equal(list[i].text, again[i].text);
        assert_int_equal(list[i].what.count, 2);
        assert_true(scene_held_out(set, &list[i].what));
        assert_true(scene_pair_held_out(&set->items[list[i].what.objects[1].glyph],
                                        &set->items[list[i].what.objects[0].glyph]));
        assert_true(list[i].what.background != NO_BACKGROUND);
    }
    prompts_names(set, 60, list);
    for (int i = 1; i < 60; i++)
        assert_true(list[i].what.objects[0].glyph > list[i - 1].what.objects[0].glyph);
}

static void pictures_show_what_is_said(void **state)
{
    (void)state;
    need_set();
    kiln_error err = {0};
    static uint8_t rgb[3 * SIZE * SIZE], again[3 * SIZE * SIZE];
    static prompt list[LOOKED_AT];
    measure *m;
    assert_int_equal(measure_new(set, &m, &err), KILN_OK);
    prompts_names(set, LOOKED_AT, list);
    score s = {0}, blank = {0};
    for (int i = 0; i < LOOKED_AT; i++) {
        finding f;
        assert_int_equal(paint_scene(set, &list[i].what, SIZE, rgb, &err), KILN_OK);
        assert_int_equal(paint_scene(set, &list[i].what, SIZE, again, &err), KILN_OK);
        assert_memory_equal(rgb, again, sizeof rgb);
        assert_int_equal(score_picture(m, set, &list[i], rgb, SIZE, SIZE, &s, &f, &err), KILN_OK);
        memset(rgb, 255, sizeof rgb);
        assert_int_equal(score_picture(m, set, &list[i], rgb, SIZE, SIZE, &blank, &f, &err), KILN_OK);
    }
    assert_int_equal(s.first, LOOKED_AT);
    assert_int_equal(s.background, LOOKED_AT);
    assert_int_equal(blank.among_five, 0);
    measure_free(m);
    scene wrong = list[0].what;
    assert_int_equal(paint_scene(set, &wrong, 4, rgb, &err), KILN_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emoji_are_complete),
        cmocka_unit_test(a_set_may_be_a_few),
        cmocka_unit_test(captions_read_well),
        cmocka_unit_test(objects_stay_inside),
        cmocka_unit_test(every_emoji_comes_first_as_often),
        cmocka_unit_test(prompts_are_held_out),
        cmocka_unit_test(pictures_show_what_is_said),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
