/* floors: base tensor formats text image */
/* test_plot.c - plots: curves lie where their points say, names do not collide, and nothing impossible is drawn. */
#include "image/chart.h"
#include "image/plot.h"

#include <math.h>
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

static void refused(const kiln_plot *p, const char *word)
{
    image *out;
    assert_int_equal(plot_draw(p, &out, err), KILN_BAD_ARGUMENT);
    assert_null(out);
    assert_non_null(strstr(error.text, word));
}

/* Pixels that look like the first colour of curves (blue), and where they lie. */
typedef struct found {
    int count;
    double left, right, top, bottom, x, y; /* the last two: their middle */
} found;

static found blue_in(const image *on, int right)
{
    found f = {.left = INFINITY, .right = -INFINITY, .top = INFINITY, .bottom = -INFINITY};
    for (int y = 0; y < on->height; y++)
        for (int x = 0; x < right; x++) {
            const unsigned char *p = (const unsigned char *)on->pixels + ((size_t)y * on->width + x) * 3;
            if (p[0] > 60 || p[1] > 150 || p[2] < 150)
                continue;
            f.count++;
            f.left = fmin(f.left, x);
            f.right = fmax(f.right, x);
            f.top = fmin(f.top, y);
            f.bottom = fmax(f.bottom, y);
            f.x += x;
            f.y += y;
        }
    f.x /= f.count;
    f.y /= f.count;
    return f;
}

/* On logarithmic scales a power law is straight: the middle of its points lies in the middle of the line. */
static void curves_lie_where_their_points_are(void **state)
{
    (void)state;
    const double x[] = {1, 10, 100}, law[] = {1, 0.1, 0.01};
    kiln_plot_curve c = {.name = "law", .x = x, .y = law, .count = 3};
    kiln_plot p = {.x_logarithmic = true, .y_logarithmic = true, .curves = &c, .count = 1};
    image *out;
    ok(plot_draw(&p, &out, err));
    assert_int_equal(out->width, 1200);
    assert_int_equal(out->height, 800);
    found f = blue_in(out, 1100);
    assert_true(f.count > 1000);
    assert_true(fabs(f.x - (f.left + f.right) / 2) < 15 && fabs(f.y - (f.top + f.bottom) / 2) < 15);
    image_free(out);
    c.line = KILN_PLOT_DOTTED;
    ok(plot_draw(&p, &out, err));
    found dotted = blue_in(out, 1100);
    assert_true(dotted.count > 100 && dotted.count < f.count / 2);
    image_free(out);
    /* On plain scales it hugs the axes. */
    p.x_logarithmic = p.y_logarithmic = false;
    c.line = KILN_PLOT_SOLID;
    ok(plot_draw(&p, &out, err));
    f = blue_in(out, 1100);
    assert_true(f.y > (f.top + f.bottom) / 2 + 40);
    image_free(out);
}

static void the_scale_ends_where_it_is_told(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, y[] = {3000, 1, 0.5};
    kiln_plot_curve c = {.name = "wild", .x = x, .y = y, .count = 3};
    kiln_plot p = {.y_logarithmic = true, .curves = &c, .count = 1, .y_most = 2, .width = 600, .height = 500};
    image *out;
    ok(plot_draw(&p, &out, err));
    found capped = blue_in(out, 500);
    image_free(out);
    p.y_most = 0;
    ok(plot_draw(&p, &out, err));
    found whole = blue_in(out, 500);
    image_free(out);
    assert_true(capped.y > capped.top + 40);
    assert_true(fabs(whole.bottom - capped.bottom) < 30); /* the lowest point is the lowest in both */
    assert_true(fabs(whole.y - capped.y) > 20);
}

/* Forty curves that end at one point: their names stand below each other, none over another, all on the picture. */
static void names_do_not_collide(void **state)
{
    (void)state;
    enum { CURVES = 30 };
    const double x[] = {1, 2}, y[] = {1, 2};
    kiln_plot_curve c[CURVES];
    for (int i = 0; i < CURVES; i++)
        c[i] = (kiln_plot_curve){.name = "MMM", .x = x, .y = y, .count = 2};
    kiln_plot p = {.curves = c, .count = CURVES, .width = 800, .height = 800};
    image *out;
    ok(plot_draw(&p, &out, err));
    int rows = 0;
    bool before = false;
    for (int y_at = 0; y_at < 800; y_at++) {
        bool inked = false;
        for (int x_at = 800 - 16 - 20; x_at < 800 - 16; x_at++) {
            const unsigned char *pixel = (const unsigned char *)out->pixels + ((size_t)y_at * 800 + x_at) * 3;
            inked = inked || pixel[0] < 120;
        }
        rows += inked && !before;
        before = inked;
    }
    assert_int_equal(rows, CURVES);
    image_free(out);
}

static void what_is_no_number_is_left_out(void **state)
{
    (void)state;
    const double x[] = {1, 2, 0, 4, INFINITY}, y[] = {1, NAN, 2, 3, 1};
    kiln_plot_curve c[2] = {{.name = "holes", .x = x, .y = y, .count = 5}, {.name = "none"}};
    kiln_plot p = {.x_logarithmic = true,
                   .y_logarithmic = true,
                   .curves = c,
                   .count = 2,
                   .level = 0.5,
                   .level_label = "level",
                   .title = "title",
                   .subtitle = "subtitle",
                   .x_label = "x",
                   .y_label = "y"};
    image *out;
    ok(plot_draw(&p, &out, err));
    image_free(out);
    c[0].count = 1; /* one point has no extent */
    p.level = 0;
    ok(plot_draw(&p, &out, err));
    assert_true(blue_in(out, 1100).count > 20);
    image_free(out);
}

static void bad_plots_are_refused(void **state)
{
    (void)state;
    const double x[] = {1}, zero[] = {0};
    kiln_plot_curve c = {.name = "a", .x = x, .y = zero, .count = 1};
    kiln_plot p = {.y_logarithmic = true, .curves = &c, .count = 1};
    refused(&p, "no point");
    p.y_logarithmic = false;
    p.width = 100;
    refused(&p, "100x800");
    p.width = 0;
    p.count = 65;
    refused(&p, "1 to 64");
    p.count = 1;
    char name[600];
    memset(name, 'M', sizeof name - 1);
    name[sizeof name - 1] = 0;
    c.name = name;
    refused(&p, "no room");
}

static void ticks_are_round(void **state)
{
    (void)state;
    double t[CHART_TICKS];
    char text[CHART_NUMBER];
    chart_axis decades = {.least = -2, .most = 0, .logarithmic = true}, plain = {.least = 0.3, .most = 9.7};
    assert_int_equal(chart_ticks(&decades, 8, false, t), 7); /* 0.01 0.02 0.05 ... 1 */
    assert_float_equal((float)t[1], 0.02, 1e-6);
    assert_int_equal(chart_ticks(&plain, 5, false, t), 4); /* 2 4 6 8 */
    assert_float_equal((float)t[0], 2, 1e-6);
    chart_number(0.05, text);
    assert_string_equal(text, "0.05");
    chart_number(20000, text);
    assert_string_equal(text, "20k");
    chart_number(3e6, text);
    assert_string_equal(text, "3M");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves_lie_where_their_points_are),
        cmocka_unit_test(the_scale_ends_where_it_is_told),
        cmocka_unit_test(names_do_not_collide),
        cmocka_unit_test(what_is_no_number_is_left_out),
        cmocka_unit_test(bad_plots_are_refused),
        cmocka_unit_test(ticks_are_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
