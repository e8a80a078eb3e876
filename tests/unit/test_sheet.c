/* floors: base tensor formats text image */
/* test_sheet.c - letters in pictures, and sheets of many pictures: what stands where. */
#include "image/lettering.h"
#include "image/sheet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static kiln_error error, *const err = &error;

#define ok(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s", error.text);                                                                      \
    } while (0)

static image *grey(int width, int height, int channels, int bits, int level)
{
    image *made;
    ok(image_new(width, height, channels, bits, &made, err));
    memset(made->pixels, level, image_bytes(made));
    return made;
}

static const unsigned char *at(const image *on, int x, int y)
{
    return (const unsigned char *)on->pixels + ((size_t)y * (size_t)on->width + (size_t)x) * 3;
}

/* Pixels of a rectangle that are darker than paper. */
static int inked(const image *on, int x0, int y0, int width, int height)
{
    int count = 0;
    for (int y = y0; y < y0 + height; y++)
        for (int x = x0; x < x0 + width; x++)
            count += at(on, x, y)[1] < 200;
    return count;
}

static void letters_have_their_width(void **state)
{
    (void)state;
    static const char text[] = "a red apple on blue";
    lettering *l;
    ok(lettering_new(NULL, 16, &l, err));
    int width = lettering_width(l, text, strlen(text)), line = lettering_line(l);
    assert_true(width > 19 * 4 && width < 19 * 16);
    assert_true(line >= 11 && line < 40);
    assert_true(lettering_width(l, text, 5) < width);
    image *on = grey(width + 40, line + 20, 3, 8, 246);
    lettering_draw(l, on, 20, 10, (const unsigned char[3]){0, 0, 0}, text, strlen(text));
    assert_true(inked(on, 20, 10, width, line) > 100);
    assert_int_equal(inked(on, 0, 0, 18, line + 20), 0);
    assert_int_equal(inked(on, width + 22, 0, 18, line + 20), 0);
    /* Over the edges, nothing is written outside. */
    lettering_draw(l, on, -30, -5, (const unsigned char[3]){0, 0, 0}, text, strlen(text));
    lettering_draw(l, on, width, line + 10, (const unsigned char[3]){0, 0, 0}, text, strlen(text));
    image_free(on);
    lettering_free(l);
}

static void lines_break_at_blanks(void **state)
{
    (void)state;
    lettering *l;
    ok(lettering_new(NULL, 14, &l, err));
    static const char text[] = "green cats and caf\xC3\xA9s";
    int two = lettering_width(l, "green cats", 10);
    assert_int_equal(lettering_fit(l, text, two + 2), 10);
    assert_int_equal(lettering_fit(l, text, 10000), strlen(text));
    assert_int_equal(lettering_fit(l, text, 1), 1); /* at least a character */
    assert_int_equal(lettering_fit(l, "\xC3\xA9\xC3\xA9", 1), 2);
    assert_int_equal(lettering_fit(l, "\xFF\xFE", 1), 1); /* no UTF-8 */
    assert_int_equal(lettering_fit(l, "", 100), 0);
    lettering_free(l);
}

static void fonts_that_are_none(void **state)
{
    (void)state;
    lettering *l;
    assert_int_equal(lettering_new("/nowhere/font.ttf", 14, &l, err), KILN_NOT_FOUND);
    assert_null(l);
    assert_non_null(strstr(error.text, "/nowhere/font.ttf"));
    assert_int_equal(lettering_new(TEST_ROOT "/Makefile", 14, &l, err), KILN_BAD_FORMAT);
    assert_non_null(strstr(error.text, "Makefile"));
    assert_int_equal(lettering_new(NULL, 5, &l, err), KILN_BAD_ARGUMENT);
    assert_int_equal(lettering_new(NULL, 513, &l, err), KILN_BAD_ARGUMENT);
}

static void a_list_has_captions(void **state)
{
    (void)state;
    image *pictures[6] = {grey(64, 64, 3, 8, 60),
                          grey(64, 64, 3, 16, 100),
                          grey(64, 64, 4, 8, 140),
                          grey(200, 64, 3, 8, 180),
                          NULL,
                          NULL};
    static const char *const captions[6] = {
        "a red apple on a blue background, in the corner, above a small green cat",
        "short",
        "wordwithoutanyblanksthatisfartoolongforthecellitisin",
        NULL,
        "caf\xC3\xA9",
        NULL};
    sheet_content c = {.columns = 3,
                       .rows = 2,
                       .layers = 1,
                       .pictures = (const image *const *)pictures,
                       .captions = captions,
                       .caption_lines = 2,
                       .title = "step 1200",
                       .cell_px = 128};
    image *on;
    ok(sheet_draw(&c, &on, err));
    assert_int_equal(on->width, 3 * (128 + 6) + 6);
    /* The first picture, at twice its size, stands below the title. */
    int top = 0;
    while (top < on->height && at(on, 70, top)[0] != 60)
        top++;
    assert_true(top > 12 && top < 60);
    assert_true(inked(on, 0, 0, 128, top) > 30);
    assert_int_equal(at(on, 6, top)[0], 60);
    assert_int_equal(at(on, 6 + 127, top + 127)[0], 60);
    assert_int_equal(at(on, 6 + 128, top + 127)[0], 246);
    assert_true(inked(on, 6, top + 129, 128, 20) > 30);
    image_free(on);
    c.captions = NULL;
    c.title = NULL;
    c.cell_px = 0;
    ok(sheet_draw(&c, &on, err));
    assert_int_equal(on->width, 3 * (200 + 8) + 8);
    assert_int_equal(on->height, 2 * (64 + 8) + 8);
    image_free(on);
    for (int i = 0; i < 6; i++)
        image_free(pictures[i]);
}

static void a_plot_has_labels(void **state)
{
    (void)state;
    image *pictures[8];
    for (int i = 0; i < 8; i++)
        pictures[i] = grey(96, 96, 3, 8, 20 + 10 * i);
    static const char *const columns[] = {"Euler", "DPM++ 2M"}, *const rows[] = {"steps 10", "steps 20"},
                             *const layers[] = {"seed 1", "seed 2"};
    sheet_content c = {.columns = 2,
                       .rows = 2,
                       .layers = 2,
                       .pictures = (const image *const *)pictures,
                       .columns_say = columns,
                       .rows_say = rows,
                       .layers_say = layers};
    image *on;
    ok(sheet_draw(&c, &on, err));
    int left = on->width - 2 * (96 + 6);
    assert_true(left > 40);
    int seen = 0;
    for (int y = 1; y < on->height; y++)
        for (int i = 0; i < 8; i += 2)
            if (at(on, left + 5, y)[0] == 20 + 10 * i && at(on, left + 5, y - 1)[0] != 20 + 10 * i) {
                assert_int_equal(at(on, left + 96 + 6 + 5, y)[0], 20 + 10 * (i + 1));
                assert_true(inked(on, 0, y, left - 8, 96) > 20); /* its row's label */
                seen++;
            }
    assert_int_equal(seen, 4);
    image_free(on);
    for (int i = 0; i < 8; i++)
        image_free(pictures[i]);
}

static void sheets_that_cannot_be(void **state)
{
    (void)state;
    image *on, *wide = grey(40000, 1, 3, 8, 0);
    const image *pictures[] = {wide, wide};
    sheet_content c = {.columns = 2, .rows = 1, .layers = 1, .pictures = pictures};
    assert_int_equal(sheet_draw(&c, &on, err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "too wide"));
    assert_null(on);
    c.columns = 0;
    assert_int_equal(sheet_draw(&c, &on, err), KILN_BAD_ARGUMENT);
    c = (sheet_content){.columns = 4096, .rows = 4096, .layers = 4096, .pictures = pictures};
    assert_int_equal(sheet_draw(&c, &on, err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "4096 pictures"));
    image_free(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_have_their_width), cmocka_unit_test(lines_break_at_blanks),
        cmocka_unit_test(fonts_that_are_none),      cmocka_unit_test(a_list_has_captions),
        cmocka_unit_test(a_plot_has_labels),        cmocka_unit_test(sheets_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
