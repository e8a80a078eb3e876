/* test_guidance.c - how answers are joined: when guidance is on, perpendicular negatives, dynamic thresholding; and
 * that the line to x_0 which thresholding works on agrees with the samplers. floors: base tensor formats diffusion */
#include "diffusion/guidance.h"
#include "diffusion/prediction.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 64 };

static float with[N], without[N], empty[N], seen[N], out[N], scratch[N];

static void fill(void)
{
    for (int i = 0; i < N; i++) {
        with[i] = (float)sin(1.3 * i);
        without[i] = (float)cos(0.7 * i + 1);
        empty[i] = 0.3f * (float)sin(2.9 * i + 2);
        seen[i] = (float)cos(2.1 * i);
    }
}

static void test_when_guidance_is_on(void **state)
{
    (void)state;
    guidance_interval g = {0};
    assert_false(guidance_pauses(&g));
    for (int step = 0; step < 20; step++)
        assert_true(guidance_is_on(&g, step, 20, 0.01));
    g.early = 0.25; /* A1111: while step / steps <= 0.25 */
    assert_true(guidance_pauses(&g));
    assert_false(guidance_is_on(&g, 0, 20, 10));
    assert_false(guidance_is_on(&g, 5, 20, 10));
    assert_true(guidance_is_on(&g, 6, 20, 10));
    g = (guidance_interval){.end = 0.5};
    assert_true(guidance_is_on(&g, 9, 20, 10));
    assert_false(guidance_is_on(&g, 10, 20, 10));
    g = (guidance_interval){.lowest = 3};
    assert_true(guidance_is_on(&g, 7, 20, 3));
    assert_false(guidance_is_on(&g, 7, 20, 2.9));
    assert_true(guidance_is_on(&g, 8, 20, 2.9)); /* every other step */
    g.every = true;
    assert_false(guidance_is_on(&g, 8, 20, 2.9));
}

static double dot(const float *a, const float *b, const float *from)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += ((double)a[i] - (double)from[i]) * ((double)b[i] - (double)from[i]);
    return sum;
}

static void test_perpendicular(void **state)
{
    (void)state;
    fill();
    /* What the negative prompt takes away is perpendicular to what the prompt adds. */
    guide_perpendicular(with, without, empty, 5, 0, out, N);
    float plain[N], off[N];
    memcpy(plain, out, sizeof out);
    guide_perpendicular(with, without, empty, 5, 1, out, N);
    for (int i = 0; i < N; i++)
        off[i] = out[i] - plain[i] + empty[i];
    assert_true(fabs(dot(off, with, empty)) < 1e-4 * fabs(dot(with, with, empty)));
    assert_true(fabs(dot(off, off, empty)) > 1);
    /* A negative prompt that says the same as the prompt cancels nothing. */
    guide_perpendicular(with, with, empty, 5, 1, out, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(out[i] - plain[i]) < 1e-4f);
    guide(with, empty, 5, out, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(out[i] - plain[i]) < 1e-4f);
}

static void spread(answer_line line, const float *answer, double *mean, double *most)
{
    *mean = *most = 0;
    for (int i = 0; i < N; i++)
        *mean += (double)(line.of_seen * seen[i] + line.of_answer * answer[i]) / N;
    for (int i = 0; i < N; i++)
        *most = fmax(*most, fabs((double)(line.of_seen * seen[i] + line.of_answer * answer[i]) - *mean));
}

static void test_threshold(void **state)
{
    (void)state;
    fill();
    const answer_line line = {1.7f, -1.2f};
    double mean, most, mild_mean, mild_most, after_mean, after_most;
    /* Mimicking the scale itself changes nothing at the full quantile. */
    guide(with, without, 9, out, N);
    guide_threshold(out, with, without, seen, line, 9, 1, scratch, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(out[i] - (without[i] + 9 * (with[i] - without[i]))) < 1e-4f);
    /* Otherwise x_0 keeps its mean and has the largest deviation of the milder scale. */
    float mild[N];
    guide(with, without, 2, mild, N);
    guide(with, without, 9, out, N);
    spread(line, mild, &mild_mean, &mild_most);
    spread(line, out, &mean, &most);
    guide_threshold(out, with, without, seen, line, 2, 0.95, scratch, N);
    spread(line, out, &after_mean, &after_most);
    assert_true(most > 2 * mild_most);
    /* Clipping one side more than the other moves the mean a little. */
    assert_true(fabs(after_mean - mean) < 0.1 * mild_most && fabs(after_most - mild_most) < 0.12 * mild_most);
}

/* The line to x_0 says what the conversions of the samplers say. */
static void test_line(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"_class_name\": \"EulerDiscreteScheduler\"}",
        "{\"_class_name\": \"EulerDiscreteScheduler\", \"prediction_type\": \"v_prediction\"}",
        "{\"_class_name\": \"EulerDiscreteScheduler\", \"prediction_type\": \"sample\"}",
        "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"shift\": 3}",
    };
    fill();
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        schedule_config config;
        schedule *table;
        sampler_plan *plan;
        sampler_request request = sampler_request_default();
        request.sampler = "Euler";
        assert_int_equal(schedule_config_read(&config, texts[t], strlen(texts[t]), NULL, "f", NULL), KILN_OK);
        assert_int_equal(schedule_new(&table, &config, NULL), KILN_OK);
        assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
        for (int i = 1; i < plan->count; i++) {
            float of_seen, of_output, sigma = sampler_level(plan, plan->timesteps[i]), x0[N], x[N];
            bool flow = table->kind == SCHEDULE_FLOW;
            assert_true(fabsf(sigma / plan->sigmas[i] - 1) < 1e-3f);
            sampler_x0_line(plan, sigma, &of_seen, &of_output);
            for (int k = 0; k < N; k++)
                x[k] = seen[k] * (flow ? 1 : sqrtf(sigma * sigma + 1));
            prediction_to_x0_ve(config.prediction, x, with, sigma, x0, N);
            for (int k = 0; k < N; k++)
                assert_true(fabsf(of_seen * seen[k] + of_output * with[k] - x0[k]) < 1e-4f * (1 + sigma));
        }
        sampler_plan_free(plan);
        schedule_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when_guidance_is_on),
        cmocka_unit_test(test_perpendicular),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
