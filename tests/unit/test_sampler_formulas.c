/* test_sampler_formulas.c - samplers and noise curves that no recorded trajectory of another program covers, against
 * tests/data/samplers: statements of their formulas in double precision (make_cases.py there).
 * floors: base tensor formats diffusion
 *
 * The golden runner's parts are included whole: a unit test is one file. */
#include "golden/replay.c"
#include "golden/report.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char formulas_folder[] = TEST_ROOT "/tests/data/samplers";
static const double formulas_limit = 2e-5;

/* The replayed network, with an answer to no prompt beside each. */
typedef struct guided_replay {
    replay r;
    float *without;
} guided_replay;

static kiln_status guided_predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    guided_replay *g = self;
    const float *other = g->r.pattern + (size_t)((g->r.calls + 3) % REPLAY_PATTERNS) * g->r.n;
    kiln_status status = replay_predict(&g->r, x, timestep, output, err);
    for (size_t i = 0; i < g->r.n; i++)
        g->without[i] = 0.8f * output[i] + 0.1f * other[i];
    return status;
}

static const float *unguided(void *self)
{
    return ((guided_replay *)self)->without;
}

static kiln_status after_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    return replay_step(&((guided_replay *)self)->r, step, steps, x, x0, err);
}

static schedule *table_of(const char *kind, double flow_shift)
{
    char text[160];
    schedule_config config;
    schedule *table = NULL;
    snprintf(text, sizeof text, "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"shift\": %g}",
             flow_shift);
    bool flow = strcmp(kind, "flow") == 0;
    if (flow)
        assert_int_equal(schedule_config_read(&config, text, strlen(text), NULL, "f", NULL), KILN_OK);
    assert_int_equal(schedule_new(&table, flow ? &config : &schedule_config_sd1, NULL), KILN_OK);
    return table;
}

static double number_or_nan(const json_t *item, const char *key)
{
    const json_t *found = json_object_get(item, key);
    return found ? json_number_value(found) : (double)NAN;
}

/* Levels as floats; NULL when the case takes the sampler's own. Caller frees. */
static float *levels_of(const json_t *list)
{
    size_t count = json_array_size(list);
    float *levels = count ? calloc(count, sizeof *levels) : NULL;
    for (size_t i = 0; i < count; i++)
        levels[i] = (float)json_number_value(json_array_get(list, i));
    return levels;
}

/* The rows are those of the case's latents; where the plan's are VE latents of flow, the end alone is the same. */
static double run_case(const replay_folder *data, const json_t *item, const sampler_plan *plan)
{
    const char *id = replay_text(item, "id");
    size_t rows, noise_rows;
    float *expected = replay_case_tensor(data, id, "x", &rows), *x = calloc(data->n, sizeof *x);
    float *noise = replay_case_tensor(data, id, "noise", &noise_rows);
    int count;
    double *timesteps = replay_numbers(json_object_get(item, "model_sigmas"), &count);
    for (int i = 0; i < count; i++)
        timesteps[i] = schedule_timestep(plan->schedule, timesteps[i]);
    guided_replay g = {.r = {.pattern = data->pattern,
                             .n = data->n,
                             .timesteps = timesteps,
                             .timestep_count = count,
                             .noise = noise,
                             .noise_rows = noise_rows,
                             .rows = expected,
                             .row_count = rows,
                             .by_step = true,
                             .last_only = plan->flow_as_ve},
                       .without = calloc(data->n, sizeof *x)};
    sampler_calls calls = {.predict = guided_predict,
                           .predict_self = &g,
                           .unguided = unguided,
                           .noise = replay_noise,
                           .noise_self = &g.r,
                           .on_step = after_step,
                           .on_step_self = &g};
    kiln_error err = {0};
    sampler_start(plan, data->x_init, NULL, x, data->n);
    double error = INFINITY;
    if (sampler_run(plan, &calls, x, data->n, &err))
        print_message("%s: %s\n", id, err.text);
    else if (g.r.calls != count || !(g.r.timestep_error <= 1e-2))
        print_message("%s: %d evaluations of %d, timesteps off by %g\n", id, g.r.calls, count,
                      g.r.timestep_error);
    else
        error = fmax(g.r.error, golden_error(x, expected + (rows - 1) * data->n, data->n));
    free(expected);
    free(noise);
    free(x);
    free(timesteps);
    free(g.without);
    return error;
}

static void test_trajectories(void **state)
{
    (void)state;
    golden_report report = {.out = stdout, .quiet = true};
    replay_folder folder;
    assert_true(replay_folder_open(&folder, formulas_folder, &report));
    double shift = json_number_value(json_object_get(folder.root, "flow_shift")), worst = 0;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(folder.root, "cases"), i, item)
    {
        schedule *table = table_of(replay_text(item, "kind"), shift);
        float *levels = levels_of(json_object_get(item, "sigmas"));
        sampler_request request = sampler_request_default();
        request.sampler = replay_text(item, "sampler");
        request.steps = (int)json_integer_value(json_object_get(item, "n"));
        request.eta = number_or_nan(item, "eta");
        request.s_noise = number_or_nan(item, "s_noise");
        request.levels = levels;
        sampler_plan *plan;
        kiln_error err = {0};
        char what[80];
        snprintf(what, sizeof what, "%s %s %d", request.sampler, replay_text(item, "kind"), request.steps);
        if (sampler_plan_new(&plan, table, &request, &err)) {
            golden_failure(&report, "formulas", what, err.text);
        } else {
            double error = run_case(&folder, item, plan);
            worst = fmax(worst, error);
            golden_result(&report, "formulas", replay_text(item, "id"), what, error, formulas_limit);
        }
        sampler_plan_free(plan);
        free(levels);
        schedule_free(table);
    }
    printf("%d trajectories, largest error %.1e\n", report.passed, worst);
    replay_folder_close(&folder);
    assert_int_equal(report.failed, 0);
    assert_true(report.passed >= 70);
}

static void test_curves(void **state)
{
    (void)state;
    golden_report report = {.out = stdout, .quiet = true};
    json_t *root = golden_json(&report, formulas_folder, "cases.json"), *curves, *list;
    schedule *table = table_of("vp", 1);
    const char *steps, *name;
    double worst = 0;
    assert_non_null(root);
    json_object_foreach(json_object_get(root, "curves"), steps, curves)
    {
        json_object_foreach(curves, name, list)
        {
            sigma_curve curve;
            float *levels, *expected = levels_of(list);
            int count;
            assert_true(sigma_curve_from_name(name, &curve));
            assert_int_equal(sigmas_new(table, curve, atoi(steps), NULL, &levels, &count, NULL), KILN_OK);
            double error = (size_t)count + 1 == json_array_size(list)
                               ? golden_error(levels, expected, (size_t)count + 1)
                               : INFINITY;
            worst = fmax(worst, error);
            golden_result(&report, "curves", steps, name, error, formulas_limit);
            free(levels);
            free(expected);
        }
    }
    printf("%d curves, largest error %.1e\n", report.passed, worst);
    json_decref(root);
    schedule_free(table);
    assert_int_equal(report.failed, 0);
    assert_true(report.passed >= 4 * 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
