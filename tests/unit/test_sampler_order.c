/* test_sampler_order.c - the order of convergence of every deterministic sampler: its error against the exact path of
 * a mixture's denoiser, at rising numbers of steps, and the fitted slope. floors: base tensor formats diffusion
 *
 * The orders are those of the whole method from a cold start: a multistep method that begins with a step of order 1
 * has an error of order 2 from that step alone, whatever comes after. */
#include "mixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

enum { POINTS = 24, N = 2 * POINTS, RUNS = 4 };

static const component parts[] = {{0.6, {1.0, -0.5}, {0.30, 0.12, 0.20}},
                                  {0.4, {-1.2, 0.4}, {0.15, -0.05, 0.25}}};
static const double highest = 8, lowest = 0.3;

static double start[N], reference[N];

static void slope(const double x[2], double sigma, double out[2])
{
    double x0[2];
    mixture_denoise(parts, 2, x, sigma, x0);
    for (int k = 0; k < 2; k++)
        out[k] = (x[k] - x0[k]) / sigma;
}

/* The exact end of each path: Runge and Kutta's method of order 4, 4000 steps even in log sigma. */
static void follow(double begin, double end, double x[N])
{
    enum { STEPS = 4000 };
    static const double reach[4] = {0, 0.5, 0.5, 1};
    for (int p = 0; p < N; p += 2)
        for (int i = 0; i < STEPS; i++) {
            double from = begin * pow(end / begin, (double)i / STEPS);
            double h = begin * pow(end / begin, (i + 1.0) / STEPS) - from, d[4][2], at[2];
            for (int r = 0; r < 4; r++) {
                for (int k = 0; k < 2; k++)
                    at[k] = x[p + k] + (r ? reach[r] * h * d[r - 1][k] : 0);
                slope(at, from + reach[r] * h, d[r]);
            }
            for (int k = 0; k < 2; k++)
                x[p + k] += h / 6 * (d[0][k] + 2 * d[1][k] + 2 * d[2][k] + d[3][k]);
        }
}

static void begin_at(double sigma)
{
    for (int i = 0; i < N; i++)
        reference[i] = start[i] = sigma * sin(1 + 2.3 * i) * 1.2;
}

static int make_reference(void **state)
{
    (void)state;
    begin_at(highest);
    follow(highest, lowest, reference);
    return 0;
}

typedef struct network {
    const schedule *table;
    const sampler_plan *plan;
    bool by_call; /* the level of the plan at this step, where timesteps are rounded */
    int calls;
} network;

static kiln_status predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    (void)err;
    network *net = self;
    double sigma = net->by_call ? (double)net->plan->sigmas[net->plan->first + net->calls]
                                : level_told(net->table, timestep);
    net->calls++;
    for (int p = 0; p < N; p += 2) {
        double at[2], x0[2];
        for (int k = 0; k < 2; k++)
            at[k] = (double)x[p + k] / seen_scale(net->table, sigma);
        mixture_denoise(parts, 2, at, sigma, x0);
        for (int k = 0; k < 2; k++)
            output[p + k] = (float)said(net->table, at[k], x0[k], sigma);
    }
    return KILN_OK;
}

/* The share by which the plan's latent at a level is smaller than the VE latent. */
static double plan_scale(const sampler_plan *plan, double sigma)
{
    if (plan->variance_preserving)
        return 1 / sqrt(sigma * sigma + 1);
    return plan->schedule->kind == SCHEDULE_FLOW && !plan->flow_as_ve ? 1 / (1 + sigma) : 1;
}

/* Root mean square distance to the exact end. */
static double error_of(const sampler_plan *plan, bool by_call, double begin, double end)
{
    network net = {plan->schedule, plan, by_call, 0};
    sampler_calls calls = {.predict = predict, .predict_self = &net};
    float x[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)(start[i] * plan_scale(plan, begin));
    assert_int_equal(sampler_run(plan, &calls, x, N, NULL), KILN_OK);
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double off = (double)x[i] / plan_scale(plan, end) - reference[i];
        sum += off * off;
    }
    return sqrt(sum / N);
}

/* The slope of log error over log steps, by least squares, of the errors above what rounding leaves. */
static double fit(const int steps[RUNS], const double error[RUNS])
{
    const double rounding = 3e-6;
    double mx = 0, my = 0, xy = 0, xx = 0;
    int count = 0;
    while (count < RUNS && (count < 2 || error[count] > rounding))
        count++;
    for (int i = 0; i < count; i++) {
        mx += log(steps[i]) / count;
        my += log(error[i]) / count;
    }
    for (int i = 0; i < count; i++) {
        xy += (log(steps[i]) - mx) * (log(error[i]) - my);
        xx += (log(steps[i]) - mx) * (log(steps[i]) - mx);
    }
    return -xy / xx;
}

/* Levels from the highest to the lowest, even in log sigma, or even. */
static void fill_levels(float *levels, int steps, bool even, bool flow)
{
    for (int i = 0; i <= steps; i++) {
        double share = (double)i / steps, sigma = highest * pow(lowest / highest, share);
        double time = highest / (1 + highest) + share * (lowest / (1 + lowest) - highest / (1 + highest));
        if (even)
            sigma = highest + share * (lowest - highest);
        levels[i] = (float)(flow ? time : sigma);
    }
}

typedef struct expectation {
    const char *name;
    double order;
    bool even; /* measured on even levels */
} expectation;

static const expectation expected[] = {
    {"Euler", 1, false},
    {"Heun", 2, false},
    {"DPM2", 2, false},
    {"DPM++ 2M", 2, false},
    {"LMS", 2, false},               /* order 4 after a first step of order 1 */
    {"DPM++ 2M SDE", 2, false},      /* with eta 0 */
    {"DPM++ 2M SDE Heun", 2, false}, /* with eta 0 */
    {"DPM++ 3M SDE", 2, false},      /* with eta 0; order 3 after a first step of order 1 */
    {"DPM++ SDE", 2, false},         /* with eta 0 */
    {"DPM++ 2S a", 2, false},        /* with eta 0 */
    {"DPM2 a", 2, false},            /* with eta 0 */
    {"Euler a", 1, false},           /* with eta 0 */
    {"TCD", 1, false},               /* with eta 0: Euler */
    {"DEIS", 2, false},              /* order 3 after a first step of order 1 */
    {"IPNDM", 2, false},             /* smooth levels; order 4 on even ones, after a first step of order 1 */
    {"IPNDM_v", 2, false},
    {"UniPC curve", 2, false}, /* lower order at the end */
    {"UniPC curve bh2", 2, false},
    {"SA-Solver", 2, false},      /* with eta 0 */
    {"SA-Solver PECE", 2, false}, /* with eta 0 */
    {"SEEDS 2", 2, false},        /* with eta 0 */
    {"SEEDS 3", 3, false},        /* with eta 0 */
    {"Exp Heun", 2, false},
    {"Exp Heun SDE", 2, false}, /* with eta 0 */
    {"Heun++", 1, false},
    {"RES multistep", 2, false},
    {"RES multistep CFG++", 2, false}, /* without guidance */
    {"RES multistep a", 2, false},     /* with eta 0 */
    {"Gradient estimation", 1, false},
    {"Gradient estimation CFG++", 1, false},
    {"Euler CFG++", 1, false},
    {"Euler a CFG++", 1, false},
    {"DPM++ 2M CFG++", 2, false},
    {"DPM++ 2S a CFG++", 2, false},
};

static void measure(const schedule *table, const expectation *e, const char *kind)
{
    static const int steps[RUNS] = {20, 40, 80, 160};
    double error[RUNS];
    for (int r = 0; r < RUNS; r++) {
        float levels[161];
        bool flow = table->kind == SCHEDULE_FLOW;
        fill_levels(levels, steps[r], e->even, flow);
        sampler_request request = sampler_request_default();
        request.sampler = e->name;
        request.steps = steps[r];
        request.levels = levels;
        request.eta = 0;
        sampler_plan *plan;
        kiln_error err;
        if (sampler_plan_new(&plan, table, &request, &err)) {
            print_message("%-24s %s: %s\n", e->name, kind, err.text);
            assert_true(flow);
            return;
        }
        double end = (double)levels[steps[r]];
        error[r] = error_of(plan, false, highest, flow ? end / (1 - end) : end);
        sampler_plan_free(plan);
    }
    double order = fit(steps, error);
    print_message("%-26s %-5s%s order %.2f (expected %g): %.1e %.1e %.1e %.1e\n", e->name, kind,
                  e->even ? " even" : "", order, e->order, error[0], error[1], error[2], error[3]);
    assert_true(order > e->order - 0.35);
}

static void with_schedule(const char *config_text, const char *kind)
{
    schedule_config config;
    schedule *table;
    assert_int_equal(schedule_config_read(&config, config_text, strlen(config_text), NULL, "f", NULL),
                     KILN_OK);
    assert_int_equal(schedule_new(&table, &config, NULL), KILN_OK);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (table->kind != SCHEDULE_FLOW || !expected[i].even)
            measure(table, &expected[i], kind);
    schedule_free(table);
}

#define LATENT "\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\""

static void test_order_of_noise_prediction(void **state)
{
    (void)state;
    with_schedule("{\"_class_name\": \"EulerDiscreteScheduler\", " LATENT "}", "eps");
}

static void test_order_of_flow(void **state)
{
    (void)state;
    with_schedule("{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"shift\": 3}", "flow");
}

/* Samplers that deterministic rows of the table have and the list above has not. */
static void test_list_is_whole(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {
        "DPM fast",
        "DPM fast ODE",
        "DPM adaptive",
        "DPM adaptive ODE", /* test_dpm_solver below */
        "DDIM",
        "DDIM A1111",
        "DDIM CFG++",
        "PLMS",
        "UniPC",
        "UniPC bh2",
        "DPM singlestep",
        "DDIM Inverse",
        "EDM Euler",
        "EDM DPM++ 2M",
        "Flow Euler",
        "Flow Heun", /* classes and timesteps of their own */
        "Restart",
        "LCM",
        "DDPM",
        "ER-SDE",
        "RES multistep a CFG++" /* noise in their nature, or as the one above */
    };
    for (int i = 0; sampler_label(i); i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof expected / sizeof *expected; k++)
            found = found || strcasecmp(expected[k].name, sampler_label(i)) == 0;
        for (size_t k = 0; k < sizeof elsewhere / sizeof *elsewhere; k++)
            found = found || strcmp(elsewhere[k], sampler_label(i)) == 0;
        if (!found)
            print_message("%s is in no list\n", sampler_label(i));
        assert_true(found);
    }
}

/* The solvers of diffusers' classes, on Karras' levels down to the lowest of the table. */
static void test_order_of_classes(void **state)
{
    (void)state;
    static const struct {
        const char *class_name, *more;
        double order;
    } classes[] = {
        {"DPMSolverMultistepScheduler", "\"solver_order\": 1", 1},
        {"DPMSolverMultistepScheduler", "\"solver_order\": 2", 2},
        {"DPMSolverMultistepScheduler", "\"solver_order\": 2, \"algorithm_type\": \"dpmsolver\"", 2},
        {"DPMSolverMultistepScheduler", "\"solver_order\": 3", 2}, /* begins with order 1 */
        {"DPMSolverSinglestepScheduler", "\"solver_order\": 1", 1},
        {"DPMSolverSinglestepScheduler", "\"solver_order\": 2", 2},
        {"DPMSolverSinglestepScheduler", "\"solver_order\": 3, \"solver_type\": \"heun\"", 3},
        {"DPMSolverSinglestepScheduler", "\"solver_order\": 3, \"algorithm_type\": \"dpmsolver\"", 3},
        {"DEISMultistepScheduler", "\"solver_order\": 1", 1},
        {"DEISMultistepScheduler", "\"solver_order\": 2", 2},
        {"DEISMultistepScheduler", "\"solver_order\": 3", 2},  /* begins with order 1 */
        {"UniPCMultistepScheduler", "\"solver_order\": 1", 2}, /* the corrector adds one */
        {"UniPCMultistepScheduler", "\"solver_order\": 2", 2},
        {"UniPCMultistepScheduler", "\"solver_order\": 3", 3},
    };
    static const int steps[RUNS] = {24, 48, 96, 192};
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
        char text[512];
        double error[RUNS];
        for (int r = 0; r < RUNS; r++) {
            snprintf(text, sizeof text,
                     "{" LATENT
                     ", \"use_exponential_sigmas\": true, \"lower_order_final\": false, \"sigma_max\": %g, "
                     "\"sigma_min\": %.9g, \"final_sigmas_type\": \"sigma_min\", %s}",
                     highest, lowest * pow(highest / lowest, 1.0 / steps[r]), classes[c].more);
            schedule_config config;
            schedule *table;
            sampler_plan *plan;
            sampler_request request = sampler_request_default();
            request.steps = steps[r];
            assert_int_equal(
                schedule_config_read(&config, text, strlen(text), classes[c].class_name, "f", NULL), KILN_OK);
            assert_int_equal(schedule_new(&table, &config, NULL), KILN_OK);
            assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
            plan->sigmas[plan->count] = (float)lowest; /* the table's own lowest is no end of a smooth path */
            error[r] = error_of(plan, true, highest, lowest);
            sampler_plan_free(plan);
            schedule_free(table);
        }
        double order = fit(steps, error);
        print_message("%-30s %-50s order %.2f (expected %g): %.1e %.1e %.1e %.1e\n", classes[c].class_name,
                      classes[c].more, order, classes[c].order, error[0], error[1], error[2], error[3]);
        assert_true(order > classes[c].order - 0.35);
    }
}

/* Samplers that step on timesteps of their own, from the highest of them to the lowest. Even timesteps leave a wide
 * last step in log noise, which UniPC takes with order 1 and which narrows slowly: what is measured of it here is
 * that step (its order on a curve is measured above). */
static void test_order_on_own_timesteps(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double order;
        bool by_call;
    } own[] = {{"DDIM", 1, false},          {"DDIM A1111", 1, false}, {"DDIM CFG++", 1, false},
               {"DDIMScheduler", 1, false}, {"PLMS", 2, false},       {"UniPC", 1, true},
               {"UniPC bh2", 1, true}};
    static const int steps[RUNS] = {20, 40, 100, 200};
    schedule *table;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (size_t c = 0; c < sizeof own / sizeof *own; c++) {
        double error[RUNS];
        for (int r = 0; r < RUNS; r++) {
            sampler_request request = sampler_request_default();
            request.sampler = own[c].name;
            request.steps = steps[r];
            sampler_plan *plan;
            assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
            double begin = (double)plan->sigmas[0], end = (double)plan->sigmas[plan->count];
            begin_at(begin);
            follow(begin, end, reference);
            error[r] = error_of(plan, own[c].by_call, begin, end);
            sampler_plan_free(plan);
        }
        double order = fit(steps, error);
        print_message("%-26s order %.2f (expected %g): %.1e %.1e %.1e %.1e\n", own[c].name, order,
                      own[c].order, error[0], error[1], error[2], error[3]);
        assert_true(order > own[c].order - 0.35);
    }
    schedule_free(table);
    make_reference(NULL);
}

/* DPM fast and DPM adaptive end at the lowest level by themselves; adaptive by the error allowed. */
static void test_dpm_solver(void **state)
{
    (void)state;
    schedule *table;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    static const int steps[RUNS] = {12, 24, 48, 96};
    double error[RUNS], tighter = 0;
    for (int r = 0; r < RUNS; r++) {
        float levels[97];
        fill_levels(levels, steps[r], false, false);
        sampler_request request = sampler_request_default();
        request.sampler = "dpm_fast";
        request.steps = steps[r];
        request.levels = levels;
        sampler_plan *plan;
        assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
        error[r] = error_of(plan, false, highest, lowest);
        sampler_plan_free(plan);
    }
    /* Blocks of order 3 and a last one of order 2 and of order 1, whose errors are of order 3 and 2 */
    print_message("DPM fast: order %.2f (expected 2): %.1e %.1e %.1e %.1e\n", fit(steps, error), error[0],
                  error[1], error[2], error[3]);
    assert_true(fit(steps, error) > 2 - 0.35);
    for (int r = 0; r < 3; r++) {
        float levels[21];
        int evaluations = 0;
        fill_levels(levels, 20, false, false);
        sampler_request request = sampler_request_default();
        request.sampler = "dpm_adaptive";
        request.levels = levels;
        request.rtol = 0.05 / pow(10, r);
        request.atol = 0.0078 / pow(10, r);
        sampler_plan *plan;
        assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
        network net = {table, plan, false, 0};
        float x[N];
        for (int i = 0; i < N; i++)
            x[i] = (float)start[i];
        sampler_calls calls = {.predict = predict, .predict_self = &net, .evaluations = &evaluations};
        assert_int_equal(sampler_run(plan, &calls, x, N, NULL), KILN_OK);
        double off = error_of(plan, false, highest, lowest);
        print_message("DPM adaptive, rtol %g: %d evaluations, error %.1e\n", request.rtol, evaluations, off);
        assert_int_equal(evaluations, net.calls);
        assert_true(r == 0 || off < tighter / 2);
        tighter = off;
        sampler_plan_free(plan);
    }
    schedule_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_noise_prediction), cmocka_unit_test(test_order_of_flow),
        cmocka_unit_test(test_order_of_classes),          cmocka_unit_test(test_dpm_solver),
        cmocka_unit_test(test_order_on_own_timesteps),    cmocka_unit_test(test_list_is_whole),
    };
    return cmocka_run_group_tests(tests, make_reference, NULL);
}
