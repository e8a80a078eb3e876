/* schedulers.c - golden/schedulers: trajectories of diffusers' schedulers, and the tables beside them. */
#include "golden/replay.h"

#include "diffusion/prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char schedulers_group[] = "schedulers";
static const double schedulers_limit = 2e-5;

static schedule *schedule_of(const json_t *config_json, const char *class_name, kiln_error *err)
{
    char *text = json_dumps(config_json, 0);
    schedule_config config;
    schedule *table = NULL;
    if (text && !schedule_config_read(&config, text, strlen(text), class_name, "config", err)) {
        if (schedule_new(&table, &config, err))
            table = NULL;
        schedule_config_fini(&config);
    }
    free(text);
    return table;
}

/* The levels and the spread at the beginning, against the case's lists. */
static double plan_error(const sampler_plan *plan, const json_t *item)
{
    const json_t *sigmas = json_object_get(item, "sigmas");
    double error = 0, init = json_number_value(json_object_get(item, "init_noise_sigma"));
    if (init > 0)
        error = fabs((double)plan->init_noise_sigma - init) / fmax(1, init);
    size_t count = json_array_size(sigmas);
    if (count != (size_t)plan->count + 1)
        return error; /* interleaved lists of two-stage solvers */
    for (size_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(sigmas, i));
        error = fmax(error, fabs((double)plan->sigmas[i] - expected) / fmax(1, fabs(expected)));
    }
    return error;
}

static void begin(const replay_folder *data, const sampler_plan *plan, bool from_image, float *x)
{
    float *image = from_image ? malloc(data->n * sizeof *image) : NULL;
    for (size_t i = 0; image && i < data->n; i++)
        image[i] = 0.3f * data->x_init[i];
    sampler_start(plan, image ? data->pattern : data->x_init, image, x, data->n);
    free(image);
}

static void compare_trajectory(const replay_folder *data, const json_t *item, const char *what,
                               const sampler_plan *plan, golden_report *report)
{
    const char *id = replay_text(item, "id");
    size_t noise_rows, rows;
    float *noise = replay_case_tensor(data, id, "noise", &noise_rows),
          *expected = replay_case_tensor(data, id, "x", &rows);
    float *x = malloc(data->n * sizeof *x);
    int count;
    double *timesteps = replay_numbers(json_object_get(item, "timesteps"), &count);
    kiln_error err = {0};
    if (!expected || !x) {
        golden_failure(report, schedulers_group, id, "its tensors are missing");
    } else {
        replay r = {.pattern = data->pattern,
                    .n = data->n,
                    .timesteps = timesteps,
                    .timestep_count = count,
                    .noise = noise,
                    .noise_rows = noise_rows,
                    .rows = expected,
                    .row_count = rows};
        begin(data, plan, json_integer_value(json_object_get(item, "start")) > 0, x);
        r.error = fmax(golden_error(x, expected, data->n), plan_error(plan, item));
        sampler_calls calls = replay_calls(&r);
        if (sampler_run(plan, &calls, x, data->n, &err))
            golden_failure(report, schedulers_group, id, err.text);
        else if (r.calls != count || !(r.timestep_error <= 1e-3))
            golden_failure(report, schedulers_group, id, "other timesteps than recorded");
        else
            golden_result(report, schedulers_group, id, what, r.error, schedulers_limit);
    }
    free(noise);
    free(expected);
    free(x);
    free(timesteps);
}

static void run_scheduler(const replay_folder *data, const json_t *item, golden_report *report)
{
    const char *id = replay_text(item, "id"), *class_name = replay_text(item, "scheduler"),
               *note = replay_text(item, "note");
    sampler_request request = sampler_request_default();
    request.sampler = class_name;
    request.steps = (int)json_integer_value(json_object_get(item, "steps"));
    long long first = json_integer_value(json_object_get(item, "start"));
    if (first > 0)
        request.strength = ((double)(request.steps - first) + 0.5) / request.steps;
    const json_t *eta = json_object_get(json_object_get(item, "step_kwargs"), "eta");
    if (eta)
        request.eta = json_number_value(eta);
    kiln_error err = {0};
    sampler_plan *plan = NULL;
    schedule *table = NULL;
    bool known = false;
    for (int i = 0; sampler_label(i); i++)
        known = known || (sampler_class(i) && strcmp(sampler_class(i), class_name) == 0);
    char what[160];
    snprintf(what, sizeof what, "%.34s %d %s", class_name, request.steps, note);
    what[50] = '\0';
    if (!known) {
        snprintf(what, sizeof what, "%s: sampler not built", class_name);
        golden_skip(report, schedulers_group, id, what);
        return;
    }
    table = schedule_of(json_object_get(item, "config"), class_name, &err);
    if (!table || sampler_plan_new(&plan, table, &request, &err))
        golden_failure(report, schedulers_group, id, err.text);
    else
        compare_trajectory(data, item, what, plan, report);
    sampler_plan_free(plan);
    schedule_free(table);
}

/* --------------------------------------------------------------------------------------- tables */

/* "alphas_cumprod.scaled_linear.zero_snr": the curve, of latent diffusion's betas. */
static void check_alphas(const replay_folder *data, const char *name, golden_report *report)
{
    const char *curve = strchr(name, '.') + 1, *end = strchr(curve, '.');
    char text[256];
    snprintf(text, sizeof text,
             "{\"beta_schedule\":\"%.*s\",\"beta_start\":0.00085,\"beta_end\":0.012,\"rescale_betas_zero_"
             "snr\":%s}",
             (int)(end ? end - curve : (long)strlen(curve)), curve, end ? "true" : "false");
    size_t count = 0;
    float *expected = golden_tensor(data->tensors, name, &count);
    schedule_config config;
    schedule *table = NULL;
    kiln_error err = {0};
    if (expected && !schedule_config_read(&config, text, strlen(text), "DDIMScheduler", "config", &err) &&
        !schedule_new(&table, &config, &err) && (size_t)table->count == count)
        golden_result(report, schedulers_group, "-", name, golden_error(table->alpha_bar, expected, count),
                      1e-6);
    else
        golden_failure(report, schedulers_group, name, err.text);
    schedule_free(table);
    free(expected);
}

/* "add_noise.t250" and "velocity.t250" of x_init and pattern[1]. */
static void check_noising(const replay_folder *data, const char *name, golden_report *report)
{
    schedule *table = NULL;
    float *expected = golden_tensor(data->tensors, name, NULL), *got = calloc(data->n, sizeof *got);
    int t = atoi(strchr(name, '.') + 2);
    if (expected && got && !schedule_new(&table, &schedule_config_sd1, NULL)) {
        const float *noise = data->pattern + data->n;
        float alpha_bar = schedule_alpha_bar(table, t, 1);
        if (strncmp(name, "add", 3) == 0)
            add_noise_vp(data->x_init, noise, alpha_bar, got, data->n);
        else
            prediction_target(PREDICTION_V, data->x_init, noise, alpha_bar, got, data->n);
        golden_result(report, schedulers_group, "-", name, golden_error(got, expected, data->n), 1e-6);
    } else {
        golden_failure(report, schedulers_group, name, "cannot be computed");
    }
    schedule_free(table);
    free(expected);
    free(got);
}

static void check_scheduler_tables(const replay_folder *data, golden_report *report)
{
    for (size_t i = 0; i < tensor_file_count(data->tensors); i++) {
        const char *name = tensor_file_entry(data->tensors, i)->name;
        if (strncmp(name, "alphas_cumprod.", 15) == 0)
            check_alphas(data, name, report);
        else if (strncmp(name, "add_noise.t", 11) == 0 || strncmp(name, "velocity.t", 10) == 0)
            check_noising(data, name, report);
    }
}

int golden_schedulers(const char *path, golden_report *report)
{
    replay_folder folder;
    bool readable = replay_folder_open(&folder, path, report);
    if (readable) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(folder.root, "cases"), i, item)
            run_scheduler(&folder, item, report);
        check_scheduler_tables(&folder, report);
    }
    replay_folder_close(&folder);
    return !readable;
}
