/* test_sampler_cost.c - processor time that a sampler takes beside the network: per element of the latent and
 * evaluation, for every sampler; printed, and held below what would be felt. floors: base tensor formats diffusion */
#include "diffusion/brownian.h"
#include "diffusion/noise.h"
#include "diffusion/sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N = 4 * 64 * 64, STEPS = 20 };

typedef struct network {
    noise_source stream;
    brownian *path;
} network;

static kiln_status predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    (void)self;
    (void)timestep;
    (void)err;
    memcpy(output, x, N * sizeof *x);
    return KILN_OK;
}

static kiln_status noise(void *self, float from, float to, float *out, size_t n, kiln_error *err)
{
    (void)err;
    network *net = self;
    if (net->path)
        brownian_increment(net->path, from, to, out);
    else
        noise_fill(&net->stream, out, n);
    return KILN_OK;
}

/* Nanoseconds per element and evaluation, the least of three runs. */
static double cost_of(const sampler_plan *plan, network *net, float *x)
{
    double least = 1e9;
    for (int run = 0; run < 3; run++) {
        int evaluations = 0;
        sampler_calls calls = {.predict = predict,
                               .predict_self = net,
                               .noise = noise,
                               .noise_self = net,
                               .evaluations = &evaluations};
        noise_init(&net->stream, NOISE_TORCH, 1);
        noise_fill(&net->stream, x, N);
        sampler_start(plan, x, NULL, x, N);
        clock_t begin = clock();
        assert_int_equal(sampler_run(plan, &calls, x, N, NULL), KILN_OK);
        double taken = (double)(clock() - begin) / CLOCKS_PER_SEC * 1e9 / N / evaluations;
        least = taken < least ? taken : least;
    }
    return least;
}

static void test_cost(void **state)
{
    (void)state;
    schedule *table;
    network *net = calloc(1, sizeof *net);
    float *x = malloc(N * sizeof *x);
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (int i = 0; sampler_label(i); i++) {
        sampler_request request = sampler_request_default();
        request.sampler = sampler_label(i);
        request.steps = STEPS;
        sampler_plan *plan;
        assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
        if (sampler_plan_is_brownian(plan))
            assert_int_equal(brownian_new(&net->path, 1, N, NULL), KILN_OK);
        double cost = cost_of(plan, net, x);
        print_message("%-26s %6.1f ns per element and evaluation\n", sampler_label(i), cost);
        assert_true(cost < 2000); /* also under a sanitizer */
        brownian_free(net->path);
        net->path = NULL;
        sampler_plan_free(plan);
    }
    free(x);
    free(net);
    schedule_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
