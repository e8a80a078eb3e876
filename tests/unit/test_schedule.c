/* test_schedule.c - scheduler configs, noise tables, noise curves, sampler names, conversions, cancelling.
 * floors: base tensor diffusion */
#include "diffusion/guidance.h"
#include "diffusion/prediction.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static kiln_status read(const char *text, schedule_config *config, kiln_error *err)
{
    return schedule_config_read(config, text, strlen(text), NULL, "scheduler_config.json", err);
}

static void test_config_reads_every_field(void **state)
{
    (void)state;
    schedule_config c;
    kiln_error err;
    assert_int_equal(
        read("{\"_class_name\": \"DPMSolverMultistepScheduler\", \"num_train_timesteps\": 500,"
             "\"beta_start\": 0.001, \"beta_end\": 0.01, \"beta_schedule\": \"scaled_linear\","
             "\"prediction_type\": \"v_prediction\", \"timestep_spacing\": \"trailing\","
             "\"steps_offset\": 1, \"use_karras_sigmas\": true, \"solver_order\": 3,"
             "\"algorithm_type\": \"sde-dpmsolver++\", \"solver_type\": \"heun\","
             "\"lambda_min_clipped\": -Infinity, \"variance_type\": null, \"trained_betas\": null,"
             "\"final_sigmas_type\": \"sigma_min\", \"sigma_max\": null, \"unknown\": [1]}",
             &c, &err),
        KILN_OK);
    assert_string_equal(c.class_name, "DPMSolverMultistepScheduler");
    assert_int_equal(c.num_train_timesteps, 500);
    assert_true(c.beta_start == 0.001 && c.beta_end == 0.01 && c.beta_schedule == BETA_SCALED_LINEAR);
    assert_true(c.prediction == PREDICTION_V && c.spacing == SPACING_TRAILING && c.steps_offset == 1);
    assert_true(c.use_karras_sigmas && c.solver_order == 3 && c.algorithm == DPM_SDE_PLUS_PLUS);
    assert_true(c.solver == DPM_HEUN && c.lambda_min_clipped == -1e308 && c.final_sigmas == FINAL_SIGMA_MIN);
    schedule_config_fini(&c);
}

static void test_config_defaults_are_of_the_class(void **state)
{
    (void)state;
    schedule_config c;
    assert_int_equal(read("{\"_class_name\": \"DDIMScheduler\"}", &c, NULL), KILN_OK);
    assert_true(c.clip_sample && c.set_alpha_to_one && c.spacing == SPACING_LEADING && c.beta_end == 0.02);
    assert_int_equal(read("{\"_class_name\": \"HeunDiscreteScheduler\"}", &c, NULL), KILN_OK);
    assert_true(!c.clip_sample && c.spacing == SPACING_LINSPACE && c.beta_end == 0.012);
    const char *text = "{\"_class_name\": \"PNDMScheduler\", \"beta_end\": 0.5}";
    assert_int_equal(schedule_config_read(&c, text, strlen(text), "EulerDiscreteScheduler", "f", NULL),
                     KILN_OK);
    assert_string_equal(c.class_name, "EulerDiscreteScheduler");
    assert_true(c.spacing == SPACING_LINSPACE && c.beta_end == 0.5);
}

static void test_config_refuses_with_the_name_of_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *text, *named;
        kiln_status status;
    } bad[] = {
        {"", "line 1", KILN_BAD_FORMAT},
        {"[]", "object", KILN_BAD_FORMAT},
        {"{\"_class_name\": 3}", "_class_name", KILN_BAD_FORMAT},
        {"{\"num_train_timesteps\": \"1000\"}", "num_train_timesteps", KILN_BAD_FORMAT},
        {"{\"num_train_timesteps\": 1e12}", "num_train_timesteps", KILN_BAD_FORMAT},
        {"{\"num_train_timesteps\": 0}", "num_train_timesteps", KILN_BAD_FORMAT},
        {"{\"num_train_timesteps\": 10.5}", "num_train_timesteps", KILN_BAD_FORMAT},
        {"{\"beta_start\": Infinity}", "beta_start", KILN_BAD_FORMAT},
        {"{\"beta_schedule\": \"cubic\"}", "scaled_linear", KILN_BAD_FORMAT},
        {"{\"beta_schedule\": \"laplace\"}", "laplace", KILN_UNSUPPORTED},
        {"{\"prediction_type\": \"flow_prediction\"}", "flow_prediction", KILN_UNSUPPORTED},
        {"{\"clip_sample\": 1}", "clip_sample", KILN_BAD_FORMAT},
        {"{\"trained_betas\": [0.1, \"x\"]}", "trained_betas", KILN_BAD_FORMAT},
        {"{\"trained_betas\": [0.1, 2]}", "trained_betas", KILN_BAD_FORMAT},
        {"{\"trained_betas\": {}}", "trained_betas", KILN_BAD_FORMAT},
        {"{\"use_karras_sigmas\": true, \"use_beta_sigmas\": true}", "use_beta_sigmas", KILN_BAD_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        schedule_config c;
        kiln_error err;
        assert_int_equal(read(bad[i].text, &c, &err), bad[i].status);
        assert_non_null(strstr(err.text, bad[i].named));
        assert_non_null(strstr(err.text, "scheduler_config.json"));
    }
}

static void test_tables(void **state)
{
    (void)state;
    schedule *table;
    schedule_config c;
    kiln_error err;
    assert_int_equal(read("{\"trained_betas\": [0.1, 0.2, 0.5]}", &c, NULL), KILN_OK);
    assert_int_equal(schedule_new(&table, &c, NULL), KILN_OK);
    assert_int_equal(table->count, 3);
    assert_true(fabsf(table->alpha_bar[2] - 0.36f) < 1e-6f && fabsf(table->sigma[2] - 4.0f / 3) < 1e-5f);
    schedule_free(table);
    schedule_config_fini(&c);
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (float t = 0; t < 999; t += 37.3f)
        assert_true(fabsf(schedule_timestep_f32(table, schedule_sigma(table, t)) - t) < 0.01f);
    assert_true(schedule_timestep(table, 1e9) == 999 && schedule_timestep(table, 0) == 0);
    schedule_free(table);
    assert_int_equal(read("{\"beta_start\": 0, \"beta_end\": 0}", &c, NULL), KILN_OK);
    assert_int_equal(schedule_new(&table, &c, &err), KILN_BAD_ARGUMENT);
    assert_null(table);
}

static void test_curves(void **state)
{
    (void)state;
    schedule *table;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (int curve = SIGMAS_UNIFORM; curve < SIGMAS_COUNT; curve++)
        for (int steps = 1; steps <= 1000; steps = steps < 30 ? steps + 1 : steps + 97) {
            float *levels;
            int count;
            assert_int_equal(sigmas_new(table, (sigma_curve)curve, steps, NULL, &levels, &count, NULL),
                             KILN_OK);
            bool uneven = curve == SIGMAS_DDIM || curve == SIGMAS_BETA_TIMESTEPS || curve == SIGMAS_BETA_57 ||
                          curve == SIGMAS_LAPLACE;
            assert_true(count >= 1 && (uneven || count == steps));
            for (int i = 0; i < count; i++)
                assert_true(levels[i] > levels[i + 1] || steps > 500);
            assert_true(levels[count] == 0 || curve == SIGMAS_KL_OPTIMAL);
            free(levels);
        }
    float *levels;
    int count;
    assert_int_equal(sigmas_new(table, SIGMAS_KARRAS, 0, NULL, &levels, &count, NULL), KILN_BAD_ARGUMENT);
    assert_null(levels);
    /* Beta(0.6, 0.6): values of the quantile function from its definition by quadrature. */
    assert_true(fabs(beta_quantile(0.5) - 0.5) < 1e-12);
    assert_true(fabs(beta_quantile(0.25) + beta_quantile(0.75) - 1) < 1e-12);
    schedule_free(table);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *curve, *name, *resolved;
    } names[] = {
        {"Euler", NULL, "Euler", "Uniform"},
        {"k_euler_a", "karras", "Euler a", "Karras"},
        {"EULER_ANCESTRAL", "", "Euler a", "Uniform"},
        {"DPM++ 2M", "Automatic", "DPM++ 2M", "Karras"},
        {"DPM++ 2M Karras", NULL, "DPM++ 2M", "Karras"},
        {"euler_k", NULL, "Euler", "Karras"},
        {"k_dpmpp_2m_ka", NULL, "DPM++ 2M", "Karras"},
        {"uni_pc", "beta_comfy", "UniPC curve", "Beta timesteps"},
        {"seeds_3", NULL, "SEEDS 3", "Normal"},
        {"dpm++ 2m align your steps sdxl", NULL, "DPM++ 2M", "Align Your Steps SDXL"},
        {"dpm++ 2m sgm uniform", NULL, "DPM++ 2M", "SGM Uniform"},
        {"dpmpp_2m_karras", NULL, "DPM++ 2M", "Karras"},
        {"dpmpp_2m", "sgm_uniform", "DPM++ 2M", "SGM Uniform"},
        {"DDIM", NULL, "DDIM", ""},
        {"plms", NULL, "PLMS", ""},
        {"HeunDiscreteScheduler", NULL, "Heun", ""},
        {NULL, NULL, "PLMS", ""},
    };
    schedule *table;
    sampler_plan *plan;
    kiln_error err;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    sampler_request request = sampler_request_default();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        request.sampler = names[i].asked;
        request.curve = names[i].curve;
        assert_int_equal(sampler_plan_new(&plan, table, &request, &err), KILN_OK);
        assert_string_equal(sampler_plan_name(plan), names[i].name);
        assert_string_equal(sampler_plan_curve(plan), names[i].resolved);
        sampler_plan_free(plan);
    }
    request.sampler = "Eulre";
    assert_int_equal(sampler_plan_new(&plan, table, &request, &err), KILN_NOT_FOUND);
    assert_null(plan);
    assert_non_null(strstr(err.text, "'Eulre'"));
    assert_non_null(strstr(err.text, "Euler a"));
    request.sampler = "Euler";
    request.curve = "kerras";
    assert_int_equal(sampler_plan_new(&plan, table, &request, &err), KILN_NOT_FOUND);
    assert_non_null(strstr(err.text, "Karras"));
    schedule_free(table);
}

static void test_requests_out_of_range(void **state)
{
    (void)state;
    schedule *table;
    sampler_plan *plan;
    kiln_error err;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (int i = 0; i < 7; i++) {
        sampler_request request = sampler_request_default();
        request.sampler = "Euler";
        request.steps = i == 0 ? 0 : i == 1 ? -5 : i == 2 ? 1001 : 20;
        if (i == 3)
            request.strength = 1.5;
        if (i == 4)
            request.eta = -1;
        if (i == 5)
            request.s_noise = INFINITY;
        if (i == 6) {
            request.sampler = NULL;
            request.strength = 0.01; /* no step is left in the folder view */
        }
        assert_int_equal(sampler_plan_new(&plan, table, &request, &err), KILN_BAD_ARGUMENT);
        assert_null(plan);
    }
    schedule_free(table);
}

/* ------------------------------------------------------------------------------------- drawing */

typedef struct drawing {
    int calls, steps, stop_at;
    float last_timestep;
} drawing;

static kiln_status predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    (void)err;
    drawing *d = self;
    d->calls++;
    assert_true(isfinite(timestep) && timestep <= 1000);
    for (int i = 0; i < 8; i++)
        output[i] = 0.5f * x[i];
    return KILN_OK;
}

static kiln_status noise(void *self, float from, float to, float *out, size_t n, kiln_error *err)
{
    (void)self;
    (void)err;
    assert_true(from >= to);
    for (size_t i = 0; i < n; i++)
        out[i] = i % 2 ? 1.0f : -1.0f;
    return KILN_OK;
}

static kiln_status on_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    (void)err;
    drawing *d = self;
    assert_int_equal(step, ++d->steps);
    assert_true(step <= steps && isfinite(x[0]) && isfinite(x0[0]));
    return step == d->stop_at ? KILN_CANCELLED : KILN_OK;
}

static sampler_calls calls_of(drawing *d)
{
    return (sampler_calls){.predict = predict,
                           .predict_self = d,
                           .noise = noise,
                           .noise_self = d,
                           .on_step = on_step,
                           .on_step_self = d};
}

/* Every sampler, both views, all numbers of steps up to 40 and some more, from noise and from an image. */
static void test_every_sampler_draws(void **state)
{
    (void)state;
    static const float start[8] = {1, -1, 0.5f, 2, -0.3f, 0, 1.5f, -2}, image[8] = {0};
    schedule *table;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (int i = 0; sampler_label(i); i++)
        for (int steps = 1; steps <= 1000; steps = steps < 40 ? steps + 1 : steps + 240)
            for (int kind = 0; kind < 4; kind++) {
                sampler_request request = sampler_request_default();
                request.sampler = kind & 1 && sampler_class(i) ? sampler_class(i) : sampler_label(i);
                request.steps = steps;
                request.strength = kind & 2 ? 1 - 0.4 * (steps > 2) : (double)NAN;
                sampler_plan *plan;
                kiln_error err;
                kiln_status status = sampler_plan_new(&plan, table, &request, &err);
                if (status == KILN_BAD_ARGUMENT && steps > 900 && strstr(err.text, "fewer steps"))
                    continue;
                if (status == KILN_BAD_ARGUMENT && steps > 50 && strstr(err.text, "original_inference_steps"))
                    continue;
                assert_int_equal(status, KILN_OK);
                float x[8];
                drawing d = {0};
                sampler_calls calls = calls_of(&d);
                sampler_start(plan, start, kind & 2 ? image : NULL, x, 8);
                assert_int_equal(sampler_run(plan, &calls, x, 8, NULL), KILN_OK);
                assert_int_equal(d.steps, sampler_plan_steps(plan));
                assert_true(isfinite(x[0]) && fabsf(x[0]) < 1e4f);
                sampler_plan_free(plan);
            }
    schedule_free(table);
}

/* Configs that end twice at the lowest level, divide by zero steps, or clip to nothing, draw something finite. */
static void test_odd_configs_draw(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"use_karras_sigmas\": true, \"final_sigmas_type\": \"sigma_min\", \"solver_type\": \"heun\"}",
        "{\"use_beta_sigmas\": true, \"final_sigmas_type\": \"sigma_min\", \"solver_order\": 3}",
        "{\"rescale_betas_zero_snr\": true, \"prediction_type\": \"v_prediction\","
        " \"timestep_spacing\": \"trailing\"}",
        "{\"thresholding\": true, \"sample_max_value\": 0, \"lower_order_final\": false}",
        "{\"beta_schedule\": \"squaredcos_cap_v2\", \"lambda_min_clipped\": -5.1}",
        "{\"steps_offset\": 900, \"timestep_spacing\": \"leading\"}",
    };
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (int i = 0; sampler_label(i); i++) {
            schedule_config config;
            schedule *table;
            sampler_plan *plan;
            kiln_error err;
            if (!sampler_class(i))
                continue;
            kiln_status read =
                schedule_config_read(&config, texts[t], strlen(texts[t]), sampler_class(i), "f", NULL);
            if (read == KILN_UNSUPPORTED) /* a flow-matching class and another prediction */
                continue;
            assert_int_equal(read, KILN_OK);
            assert_int_equal(schedule_new(&table, &config, NULL), KILN_OK);
            sampler_request request = sampler_request_default();
            kiln_status status = sampler_plan_new(&plan, table, &request, &err);
            if (status) {
                print_message("%s: %s\n", sampler_class(i), err.text);
            } else {
                float x[8] = {1, -1, 2};
                drawing d = {0};
                sampler_calls calls = calls_of(&d);
                assert_int_equal(sampler_run(plan, &calls, x, 8, NULL), KILN_OK);
            }
            sampler_plan_free(plan);
            schedule_free(table);
        }
}

static void test_cancel(void **state)
{
    (void)state;
    schedule *table;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    for (int i = 0; sampler_label(i); i++) {
        sampler_request request = sampler_request_default();
        request.sampler = sampler_label(i);
        sampler_plan *plan;
        assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
        float x[8] = {1};
        drawing d = {.stop_at = 3};
        sampler_calls calls = calls_of(&d);
        assert_int_equal(sampler_run(plan, &calls, x, 8, NULL), KILN_CANCELLED);
        assert_int_equal(d.steps, 3);
        sampler_plan_free(plan);
    }
    schedule_free(table);
}

static void test_stochastic_without_noise_is_refused(void **state)
{
    (void)state;
    schedule *table;
    sampler_plan *plan;
    kiln_error err;
    assert_int_equal(schedule_new(&table, &schedule_config_sd1, NULL), KILN_OK);
    sampler_request request = sampler_request_default();
    request.sampler = "Euler a";
    assert_int_equal(sampler_plan_new(&plan, table, &request, NULL), KILN_OK);
    assert_true(sampler_plan_is_stochastic(plan));
    float x[8] = {1};
    drawing d = {0};
    sampler_calls calls = {.predict = predict, .predict_self = &d};
    assert_int_equal(sampler_run(plan, &calls, x, 8, &err), KILN_BAD_ARGUMENT);
    sampler_plan_free(plan);
    schedule_free(table);
}

/* Training target and denoising are inverse: the target of (x_0, noise) gives x_0 and noise back. */
static void test_prediction_round_trip(void **state)
{
    (void)state;
    static const float x0[4] = {0.3f, -1.2f, 0, 2}, eps[4] = {1, 0.5f, -0.7f, -0.1f};
    for (int type = PREDICTION_EPSILON; type <= PREDICTION_SAMPLE; type++) {
        float x[4], ve[4], target[4], got_x0[4], got_eps[4], alpha_bar = 0.4f;
        float sigma = sqrtf((1 - alpha_bar) / alpha_bar);
        add_noise_vp(x0, eps, alpha_bar, x, 4);
        add_noise_ve(x0, eps, sigma, ve, 4);
        prediction_target((prediction_type)type, x0, eps, alpha_bar, target, 4);
        prediction_to_x0_vp((prediction_type)type, x, target, alpha_bar, got_x0, got_eps, 4);
        for (int i = 0; i < 4; i++)
            assert_true(fabsf(got_x0[i] - x0[i]) < 1e-6f && fabsf(got_eps[i] - eps[i]) < 1e-6f);
        prediction_to_x0_ve((prediction_type)type, ve, target, sigma, got_x0, 4);
        for (int i = 0; i < 4; i++)
            assert_true(fabsf(got_x0[i] - x0[i]) < 1e-6f);
    }
}

static void test_guidance(void **state)
{
    (void)state;
    static const float with[4] = {1, 2, 3, 4}, without[4] = {0, 1, 1, 0};
    float out[4];
    guide(with, without, 7.5f, out, 4);
    assert_true(out[0] == 7.5f && out[1] == 8.5f && out[2] == 16 && out[3] == 30);
    guide_rescale(out, with, 1, 4);
    double mean = 0, square = 0;
    for (int i = 0; i < 4; i++)
        mean += (double)out[i] / 4;
    for (int i = 0; i < 4; i++)
        square += ((double)out[i] - mean) * ((double)out[i] - mean) / 3;
    assert_true(fabs(sqrt(square) - sqrt(5.0 / 3)) < 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_reads_every_field),
        cmocka_unit_test(test_config_defaults_are_of_the_class),
        cmocka_unit_test(test_config_refuses_with_the_name_of_the_field),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_curves),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_requests_out_of_range),
        cmocka_unit_test(test_every_sampler_draws),
        cmocka_unit_test(test_odd_configs_draw),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_stochastic_without_noise_is_refused),
        cmocka_unit_test(test_prediction_round_trip),
        cmocka_unit_test(test_guidance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
