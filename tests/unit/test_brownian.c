/* test_brownian.c - the Brownian path of the SDE samplers: its law, its independence of order, its speed.
 * floors: base tensor formats diffusion */
#include "diffusion/brownian.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N = 20000 };

static float first[N], second[N], whole[N];

static double correlation(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)a[i] * (double)b[i];
    return sum / N;
}

/* Increments are standard normal, and those of intervals side by side are independent. */
static void test_law(void **state)
{
    (void)state;
    static const float levels[] = {5000, 14.6f, 14.5f, 9,       3,       1,      0.999f,
                                   0.5f, 0.1f,  0.03f, 0.0292f, 0.0005f, 0.0001f};
    brownian *path;
    assert_int_equal(brownian_new(&path, 7, N, NULL), KILN_OK);
    double worst = 0;
    for (size_t i = 0; i + 2 < sizeof levels / sizeof *levels; i++) {
        brownian_increment(path, levels[i], levels[i + 1], first);
        brownian_increment(path, levels[i + 1], levels[i + 2], second);
        double mean = 0, variance = correlation(first, first), fourth = 0;
        for (int k = 0; k < N; k++) {
            mean += (double)first[k] / N;
            fourth += pow((double)first[k], 4) / N;
        }
        /* Standard errors: 0.007, 0.010, 0.07, 0.007. */
        assert_true(fabs(mean) < 0.03);
        assert_true(fabs(variance - 1) < 0.05);
        assert_true(fabs(fourth - 3) < 0.4);
        assert_true(fabs(correlation(first, second)) < 0.03);
        worst = fmax(worst, fabs(variance - 1));
    }
    print_message("largest deviation of a variance from 1: %.4f\n", worst);
    brownian_free(path);
}

/* The noise of parts adds up to that of the whole, whatever was asked for before. */
static void test_parts_make_the_whole(void **state)
{
    (void)state;
    static const float levels[] = {14.6f, 8, 3.7f, 1.2f, 0.4f, 0.11f, 0.0292f};
    enum { COUNT = sizeof levels / sizeof *levels };
    brownian *path, *other;
    assert_int_equal(brownian_new(&path, 99, N, NULL), KILN_OK);
    assert_int_equal(brownian_new(&other, 99, N, NULL), KILN_OK);
    memset(second, 0, sizeof second);
    for (int i = COUNT - 2; i >= 0; i--) { /* backwards */
        brownian_increment(path, levels[i], levels[i + 1], first);
        for (int k = 0; k < N; k++)
            second[k] += first[k] * sqrtf(levels[i] - levels[i + 1]);
    }
    brownian_increment(other, levels[0], levels[COUNT - 1], whole);
    double error = 0;
    for (int k = 0; k < N; k++)
        error = fmax(error, fabs((double)(whole[k] * sqrtf(levels[0] - levels[COUNT - 1]) - second[k])));
    print_message("parts against the whole: %.2e\n", error);
    assert_true(error < 1e-4);
    brownian_reseed(path, 100);
    brownian_increment(path, levels[0], levels[COUNT - 1], first);
    assert_true(fabs(correlation(first, whole)) < 0.03);
    brownian_increment(path, 1, 1, first);
    assert_true(first[0] == 0 && first[N - 1] == 0);
    brownian_free(path);
    brownian_free(other);
}

static void test_cost(void **state)
{
    (void)state;
    brownian *path;
    assert_int_equal(brownian_new(&path, 1, N, NULL), KILN_OK);
    clock_t begin = clock();
    for (int i = 0; i < 20; i++)
        brownian_increment(path, 14.6f - 0.7f * (float)i, 13.9f - 0.7f * (float)i, first);
    print_message("%.0f ns of processor time per element and step\n",
                  (double)(clock() - begin) / CLOCKS_PER_SEC / 20 / N * 1e9);
    brownian_free(path);
    brownian_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law),
        cmocka_unit_test(test_parts_make_the_whole),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
