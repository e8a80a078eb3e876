/* floors: base tensor formats backend train */
/* test_orthogonalize.c - the orthogonalisation of Muon against its polynomial in double precision, with and without AMX;
 * its singular values; and Muon's step around it. */
#include "backend/cpu/orthogonalize.h"
#include "train/optimizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

static float value(int64_t i)
{
    return (float)sin((double)i * 12.9898 + cos((double)i * 0.7) * 78.233);
}

/* c [m,n] = a [m,k] b, b [k,n] or (turned) stored [n,k]. */
static void multiply(const double *a, const double *b, bool turned, int64_t m, int64_t n, int64_t k,
                     double *c)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += a[i * k + l] * (turned ? b[j * k + l] : b[l * n + j]);
            c[i * n + j] = sum;
        }
}

static double *doubles(int64_t n)
{
    double *made = calloc((size_t)n, sizeof *made);
    assert_non_null(made);
    return made;
}

/* The five rounds, whatever side is longer. */
static double *reference(const float *x, int64_t rows, int64_t columns)
{
    double *now = doubles(rows * columns), *gram = doubles(rows * rows), *square = doubles(rows * rows),
           *product = doubles(rows * columns), norm = 0;
    for (int64_t i = 0; i < rows * columns; i++)
        norm += (double)x[i] * (double)x[i];
    for (int64_t i = 0; i < rows * columns; i++)
        now[i] = (double)x[i] / sqrt(norm);
    for (int round = 0; round < 5; round++) {
        multiply(now, now, true, rows, rows, columns, gram);
        multiply(gram, gram, false, rows, rows, rows, square);
        for (int64_t i = 0; i < rows * rows; i++)
            square[i] = -4.7750 * gram[i] + 2.0315 * square[i];
        multiply(square, now, false, rows, columns, rows, product);
        for (int64_t i = 0; i < rows * columns; i++)
            now[i] = 3.4445 * now[i] + product[i];
    }
    free(gram);
    free(square);
    free(product);
    return now;
}

static void orthogonalized(float *x, int64_t rows, int64_t columns, const cpu_features *features)
{
    size_t bytes = (orthogonalize_scratch(rows, columns, features) + 63) / 64 * 64;
    void *scratch = aligned_alloc(64, bytes);
    assert_non_null(scratch);
    orthogonalize(x, rows, columns, features, scratch);
    free(scratch);
}

static const struct {
    int64_t rows, columns;
} sizes[] = {{1, 7}, {2, 3}, {5, 40}, {33, 33}, {70, 21}, {21, 70}, {64, 64}, {192, 17}, {100, 333}};

static void follows_its_polynomial(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
        for (int plain = 0; plain < 2; plain++) {
            int64_t rows = sizes[c].rows, columns = sizes[c].columns, count = rows * columns;
            cpu_features features = plain ? (cpu_features){0} : cpu_features_detect();
            float *x = malloc((size_t)count * sizeof *x);
            assert_non_null(x);
            for (int64_t i = 0; i < count; i++)
                x[i] = 100 * value(i);
            double *expected = reference(x, rows, columns), difference = 0, size = 0;
            orthogonalized(x, rows, columns, &features);
            for (int64_t i = 0; i < count; i++) {
                difference += ((double)x[i] - expected[i]) * ((double)x[i] - expected[i]);
                size += expected[i] * expected[i];
            }
            double error = sqrt(difference / size), most = features.amx_bf16 ? 3e-2 : 1e-4;
            print_message("%dx%d%s: relative error %.2g\n", (int)rows, (int)columns,
                          features.amx_bf16 ? ", tiles" : "", error);
            assert_true(error < most);
            /* All singular values near 1: their mean square is. */
            double mean = size / (double)(rows < columns ? rows : columns);
            assert_true(mean > 0.4 && mean < 1.4);
            free(x);
            free(expected);
        }
}

static void zeros_stay(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        float x[6 * 5] = {0};
        cpu_features features = plain ? (cpu_features){0} : cpu_features_detect();
        orthogonalized(x, 6, 5, &features);
        for (int i = 0; i < 30; i++)
            assert_true(x[i] == 0);
    }
}

/* Two steps by the formula, and what goes with AdamW instead. */
static void steps_along_it(void **state)
{
    (void)state;
    enum { ROWS = 12, COLUMNS = 20, N = ROWS * COLUMNS };
    float p[N], bias[ROWS], edge[N], gradient[2][N];
    double expected[N];
    for (int i = 0; i < N; i++) {
        p[i] = edge[i] = value(i);
        expected[i] = (double)value(i);
        gradient[0][i] = value(i + 1000);
        gradient[1][i] = value(i + 2000);
    }
    memcpy(bias, p, sizeof bias);
    const optimizer_parameter list[] = {
        {"block.conv_shortcut.weight", p, SHAPE4(ROWS, COLUMNS / 4, 2, 2), true, 1},
        {"block.bias", bias, SHAPE1(ROWS), false, 1},
        {"conv_in.weight", edge, SHAPE2(ROWS, COLUMNS), true, 1}};
    optimizer_options options = optimizer_defaults(OPTIMIZER_MUON);
    optimizer *o;
    kiln_error err;
    if (optimizer_new(&options, list, 3, &o, &err))
        fail_msg("%s", err.text);
    assert_int_equal(optimizer_bytes(o), 4 * (N + 2 * ROWS + 2 * N) + 8 * 4);
    float momentum[N] = {0};
    for (int t = 0; t < 2; t++) {
        float way[N];
        const float *gradients[] = {gradient[t], gradient[t], gradient[t]};
        if (optimizer_step(o, gradients, 1e-2, 0.5, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < N; i++) {
            momentum[i] = 0.95f * momentum[i] + 0.5f * gradient[t][i];
            way[i] = 0.95f * momentum[i] + 0.5f * gradient[t][i];
        }
        double *turned = reference(way, ROWS, COLUMNS);
        for (int i = 0; i < N; i++)
            expected[i] = expected[i] * (1 - 1e-2 * 1e-2) - 1e-2 * 0.2 * sqrt(COLUMNS) * turned[i];
        free(turned);
    }
    double worst = 0, moved = 0;
    for (int i = 0; i < N; i++) {
        worst = fmax(worst, fabs((double)p[i] - expected[i]));
        moved = fmax(moved, fabs((double)value(i) - expected[i]));
    }
    print_message("two steps: moved by %.2g at most, wrong by %.2g\n", moved, worst);
    assert_true(worst < 0.03 * moved);
    /* AdamW's first two steps are of the size of the rate. */
    for (int i = 0; i < ROWS; i++)
        assert_true(fabsf(bias[i] - value(i)) < 2.1e-2f);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(edge[i] - value(i)) < 2.1e-2f + 3e-4f);
    optimizer_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_its_polynomial),
        cmocka_unit_test(zeros_stay),
        cmocka_unit_test(steps_along_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
