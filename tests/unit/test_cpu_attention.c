/* test_cpu_attention.c - every method of fused attention, whichever this processor would choose, against a
 * plain one in double: awkward sizes, causal masks, scores that rise by hundreds from key to key.
 * floors: base tensor graph ops backend */
#include "backend/cpu/attention.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fill(float *x, int64_t n, uint32_t seed, float scale)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = bf16_to_f32(f32_to_bf16(((float)(seed >> 8) / 8388608.0f - 1) * scale));
    }
}

static void plain(const attention_shape *s, const float *q, const float *k, const float *v, float *y,
                  double *level)
{
    double *p = malloc((size_t)s->keys * sizeof *p);
    assert_non_null(p);
    int64_t D = s->key_width, E = s->value_width;
    for (int64_t i = 0; i < s->samples * s->heads * s->queries; i++) {
        int64_t t = i % s->queries, h = i / s->queries % s->heads, n = i / s->queries / s->heads;
        int64_t visible = s->causal && t + 1 < s->keys ? t + 1 : s->keys;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < visible; j++) {
            p[j] = 0;
            for (int64_t d = 0; d < D; d++)
                p[j] += (double)q[((n * s->queries + t) * s->heads + h) * D + d] *
                        k[((n * s->keys + j) * s->heads + h) * D + d];
            p[j] *= (double)s->scale;
            top = p[j] > top ? p[j] : top;
        }
        for (int64_t j = 0; j < visible; j++)
            sum += p[j] = exp(p[j] - top);
        level[i] = (top + log(sum)) / log(2);
        for (int64_t e = 0; e < E; e++) {
            double mixed = 0;
            for (int64_t j = 0; j < visible; j++)
                mixed += p[j] * v[((n * s->keys + j) * s->heads + h) * E + e];
            y[((n * s->queries + t) * s->heads + h) * E + e] = (float)(mixed / sum);
        }
    }
    free(p);
}

typedef struct variant {
    const attention_method *method;
    bool bf16, available;
    /* A share of the largest result: f32 rounding; in bf16 that of the result and of the probabilities. */
    double allowed;
} variant;

/* Sums of rough exponentials, as a power of two; scores in the hundreds are themselves rounded. */
static void check_levels(const attention_shape *s, const float *levels, const double *reference)
{
    double worst = 0;
    for (int64_t i = 0; i < s->samples * s->heads * s->queries; i++)
        worst = fmax(worst, fabs((double)levels[i] - reference[i]) / (1 + 1e-3 * fabs(reference[i])));
    print_message("    levels: error %.2e\n", worst);
    assert_true(worst < 1e-3);
}

static void check(const attention_shape *form, const variant *m, const float *const plain_input[3],
                  const int64_t count[3], const float *reference, int64_t outputs, const double *level)
{
    attention_shape s = *form;
    const void *input[3];
    uint16_t *narrow[3];
    for (int i = 0; i < 3; i++) {
        narrow[i] = malloc((size_t)count[i] * sizeof(uint16_t));
        assert_non_null(narrow[i]);
        convert_from_f32(plain_input[i], narrow[i], DTYPE_BF16, (size_t)count[i]);
        s.input_type[i] = m->bf16 ? DTYPE_BF16 : DTYPE_F32;
        input[i] = m->bf16 ? (const void *)narrow[i] : (const void *)plain_input[i];
    }
    s.output_type = DTYPE_F32;
    size_t bytes = (m->method->work_bytes(&s) + 63) / 64 * 64;
    float *y[2];
    for (int threads = 1; threads <= 2; threads++) {
        void *scratch = NULL;
        assert_int_equal(posix_memalign(&scratch, 64, bytes * (size_t)threads), 0);
        memset(scratch, 0xFF, bytes * (size_t)threads);
        y[threads - 1] = malloc((size_t)outputs * sizeof(float));
        assert_non_null(y[threads - 1]);
        float *levels = malloc((size_t)(s.samples * s.heads * s.queries) * sizeof *levels);
        assert_non_null(levels);
        attention_run(&s, m->method, input, y[threads - 1], m->method->gives_levels ? levels : NULL, scratch,
                      threads);
        if (m->method->gives_levels)
            check_levels(&s, levels, level);
        free(levels);
        free(scratch);
    }
    double worst = 0, largest = 1e-30;
    for (int64_t i = 0; i < outputs; i++) {
        double e = fabs((double)y[0][i] - (double)reference[i]);
        worst = e > worst || isnan(e) ? e : worst;
        largest = fabs((double)reference[i]) > largest ? fabs((double)reference[i]) : largest;
    }
    print_message("%-24s T %4d S %4d D %3d E %3d%s error %.2e\n", m->method->label, (int)s.queries,
                  (int)s.keys, (int)s.key_width, (int)s.value_width, s.causal ? " causal" : "",
                  worst / largest);
    assert_true(worst / largest <= m->allowed);
    assert_memory_equal(y[0], y[1], (size_t)outputs * sizeof(float));
    free(y[0]), free(y[1]);
    for (int i = 0; i < 3; i++)
        free(narrow[i]);
}

/* `rise`: keys grow along the sequence, so that the running maximum has to follow. */
static void run_case(int64_t N, int64_t T, int64_t S, int64_t heads, int64_t D, int64_t E, bool causal,
                     float rise)
{
    cpu_features f = cpu_features_detect();
    double f32 = rise > 0 ? 1e-4 : 4e-6; /* a score of 500 has an absolute error of 3e-5 in f32 */
    const variant variants[] = {{&attention_f32, false, true, f32},
                                {&attention_f32_avx512, false, f.avx512, f32},
                                {&attention_bf16, true, f.avx512_bf16, 6e-3},
                                {&attention_amx, true, f.amx_bf16, 6e-3}};
    attention_shape s = {.samples = N,
                         .queries = T,
                         .keys = S,
                         .heads = heads,
                         .key_width = D,
                         .value_width = E,
                         .causal = causal,
                         .scale = (float)(1 / sqrt((double)D))};
    const int64_t count[3] = {N * T * heads * D, N * S * heads * D, N * S * heads * E},
                  outputs = N * T * heads * E;
    float *input[3], *reference = malloc((size_t)outputs * sizeof(float));
    for (int i = 0; i < 3; i++) {
        input[i] = malloc((size_t)count[i] * sizeof(float));
        assert_non_null(input[i]);
        fill(input[i], count[i], 5u + (uint32_t)i, 2);
    }
    for (int64_t i = 0; rise > 0 && i < count[1]; i++)
        input[1][i] = bf16_to_f32(f32_to_bf16(input[1][i] * rise * (float)(i / (heads * D) % S)));
    assert_non_null(reference);
    double *level = malloc((size_t)(N * heads * T) * sizeof *level);
    assert_non_null(level);
    plain(&s, input[0], input[1], input[2], reference, level);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (variants[i].available)
            check(&s, &variants[i], (const float *const *)input, count, reference, outputs, level);
    free(reference);
    free(level);
    for (int i = 0; i < 3; i++)
        free(input[i]);
}

static void test_sizes(void **state)
{
    (void)state;
    run_case(1, 1, 1, 1, 4, 4, false, 0);
    run_case(2, 5, 7, 3, 6, 10, false, 0);
    run_case(1, 31, 33, 2, 33, 17, false, 0);
    run_case(1, 100, 77, 4, 40, 40, false, 0);
    run_case(2, 64, 64, 2, 160, 160, false, 0);
    run_case(1, 40, 300, 1, 512, 512, false, 0);
    run_case(1, 1100, 129, 1, 64, 64, false, 0);
}

static void test_causal(void **state)
{
    (void)state;
    run_case(1, 77, 77, 2, 64, 64, true, 0);
    run_case(1, 200, 200, 1, 40, 40, true, 0);
    run_case(1, 50, 20, 1, 8, 8, true, 0);
}

/* Scores reach several hundred, later keys far above earlier ones. */
static void test_rising_scores(void **state)
{
    (void)state;
    run_case(1, 40, 400, 2, 40, 40, false, 0.3f);
    run_case(1, 64, 300, 1, 80, 80, false, 1.0f);
    run_case(1, 300, 300, 1, 64, 64, true, 0.5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_causal),
                                       cmocka_unit_test(test_rising_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
