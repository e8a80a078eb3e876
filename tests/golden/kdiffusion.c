/* kdiffusion.c - golden/kdiffusion: trajectories of k-diffusion's samplers and of CompVis' DDIM and PLMS. */
#include "golden/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char kdiffusion_group[] = "kdiffusion";
static const double kdiffusion_limit = 2e-5;

typedef struct sampling_folder {
    replay_folder files;
    schedule *table;
    sigma_options sigmas;
} sampling_folder;

static double number_of(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

/* The case's name of a sampler as users write it. */
static const char *sampler_of(const json_t *item)
{
    const char *name = replay_text(item, "sampler");
    if (strcmp(name, "compvis_ddim") == 0)
        return "DDIM";
    if (strcmp(name, "compvis_plms") == 0)
        return "PLMS";
    const char *solver = replay_text(json_object_get(item, "args"), "solver_type");
    if (strcmp(name, "dpmpp_2m_sde") == 0 && strcmp(solver, "heun") == 0)
        return "dpmpp_2m_sde_heun";
    return name;
}

static sampler_request request_of(const sampling_folder *data, const json_t *item)
{
    const json_t *args = json_object_get(item, "args");
    sampler_request request = sampler_request_default();
    request.sampler = sampler_of(item);
    request.curve = replay_text(item, "schedule");
    request.steps = (int)json_integer_value(json_object_get(item, "n"));
    request.eta = number_of(args, "eta", number_of(item, "eta", NAN));
    request.s_noise = number_of(args, "s_noise", NAN);
    request.s_churn = number_of(args, "s_churn", NAN);
    request.s_tmin = number_of(args, "s_tmin", NAN);
    request.s_tmax = number_of(args, "s_tmax", NAN);
    request.rtol = number_of(args, "rtol", NAN);
    request.atol = number_of(args, "atol", NAN);
    request.sigmas = data->sigmas;
    if (request.steps == 0) /* adaptive: between the limits */
        request.steps = 20;
    /* The cases do not say it: they were made with another rho than the curve's usual 1. */
    if (strcmp(request.curve, "polyexponential") == 0)
        request.sigmas.rho = 1.5;
    return request;
}

static double levels_error(const sampler_plan *plan, const json_t *item)
{
    const json_t *sigmas = json_object_get(item, "sigmas");
    if (!sigmas)
        return 0;
    if (strncmp(replay_text(item, "sampler"), "dpm_", 4) == 0 && !strstr(replay_text(item, "sampler"), "2"))
        return 0; /* DPM fast and DPM adaptive take their own */
    if (json_array_size(sigmas) != (size_t)plan->count + 1)
        return INFINITY;
    double error = 0;
    for (int i = 0; i <= plan->count; i++) {
        double expected = json_number_value(json_array_get(sigmas, (size_t)i));
        error = fmax(error, fabs((double)plan->sigmas[i] - expected) / fmax(1, expected));
    }
    return error;
}

/* Timesteps at which the network was called: given, or those of the recorded noise levels. */
static double *timesteps_of(const sampling_folder *data, const json_t *item, int *count)
{
    const json_t *sigmas = json_object_get(item, "model_sigmas");
    double *numbers = replay_numbers(sigmas ? sigmas : json_object_get(item, "model_timesteps"), count);
    for (int i = 0; sigmas && i < *count; i++)
        numbers[i] = schedule_timestep(data->table, numbers[i]);
    return numbers;
}

static void compare_sampling(const sampling_folder *data, const json_t *item, const sampler_plan *plan,
                             golden_report *report)
{
    const char *id = replay_text(item, "id");
    size_t noise_rows, rows;
    float *noise = replay_case_tensor(&data->files, id, "noise", &noise_rows),
          *expected = replay_case_tensor(&data->files, id, "x", &rows);
    float *x = malloc(data->files.n * sizeof *x);
    int count;
    double *timesteps = timesteps_of(data, item, &count);
    char what[96];
    kiln_error err = {0};
    snprintf(what, sizeof what, "%s %s %d", replay_text(item, "sampler"), replay_text(item, "schedule"),
             plan->steps);
    if (!expected || !x) {
        golden_failure(report, kdiffusion_group, id, "its tensors are missing");
    } else {
        replay r = {.pattern = data->files.pattern,
                    .n = data->files.n,
                    .timesteps = timesteps,
                    .timestep_count = count,
                    .noise = noise,
                    .noise_rows = noise_rows,
                    .rows = expected,
                    .row_count = rows,
                    .by_step = true,
                    .last_only = plan->s_churn > 0 || plan->adaptive,
                    .error = levels_error(plan, item)};
        if (strcmp(replay_text(item, "sampler"), "compvis_plms") == 0) {
            r.by_step = false; /* the first step is reported twice, when predicted and when corrected */
            r.row_shift = 1;
        }
        sampler_start(plan, data->files.x_init, NULL, x, data->files.n);
        sampler_calls calls = replay_calls(&r);
        if (sampler_run(plan, &calls, x, data->files.n, &err))
            golden_failure(report, kdiffusion_group, id, err.text);
        else if (r.calls != count || !(r.timestep_error <= 1e-2))
            golden_failure(report, kdiffusion_group, id, "other timesteps than recorded");
        else
            golden_result(
                report, kdiffusion_group, id, what,
                fmax(r.error, golden_error(x, expected + (rows - 1) * data->files.n, data->files.n)),
                kdiffusion_limit);
    }
    free(noise);
    free(expected);
    free(x);
    free(timesteps);
}

static void run_sampling(const sampling_folder *data, const json_t *item, golden_report *report)
{
    const char *id = replay_text(item, "id");
    sampler_request request = request_of(data, item);
    sampler_plan *plan = NULL;
    kiln_error err = {0};
    sampler_request probe = sampler_request_default();
    probe.sampler = request.sampler;
    if (sampler_plan_new(&plan, data->table, &probe, &err) == KILN_NOT_FOUND) {
        char why[160];
        snprintf(why, sizeof why, "%.80s: sampler not built", request.sampler);
        golden_skip(report, kdiffusion_group, id, why);
        return;
    }
    sampler_plan_free(plan);
    /* Levels are made by the curve and handed over, because some samplers ask their curve for one more. */
    float *levels = NULL;
    sigma_curve curve;
    int count;
    if (sigma_curve_from_name(request.curve, &curve) &&
        !sigmas_new(data->table, curve, request.steps, &request.sigmas, &levels, &count, &err))
        request.levels = levels;
    if (sampler_plan_new(&plan, data->table, &request, &err))
        golden_failure(report, kdiffusion_group, id, err.text);
    else
        compare_sampling(data, item, plan, report);
    sampler_plan_free(plan);
    free(levels);
}

static void check_sampling_tables(const sampling_folder *data, golden_report *report)
{
    size_t count = 0, steps = 0;
    float *sigmas = golden_tensor(data->files.tensors, "train_sigmas", &count);
    if (sigmas && count == (size_t)data->table->count)
        golden_result(report, kdiffusion_group, "-", "train_sigmas",
                      golden_error(data->table->sigma, sigmas, count), 1e-6);
    float *in = golden_tensor(data->files.tensors, "sigma_to_t.in", &count);
    float *out = golden_tensor(data->files.tensors, "sigma_to_t.interp", &steps);
    double error = 0;
    for (size_t i = 0; in && out && i < count && i < steps; i++)
        error = fmax(error, fabs((double)schedule_timestep_f32(data->table, in[i]) - (double)out[i]));
    if (in && out)
        golden_result(report, kdiffusion_group, "-", "sigma_to_t", error, 1e-2);
    free(sigmas);
    free(in);
    free(out);
}

int golden_kdiffusion(const char *path, golden_report *report)
{
    sampling_folder folder = {0};
    bool readable = replay_folder_open(&folder.files, path, report) &&
                    !schedule_new(&folder.table, &schedule_config_sd1, NULL);
    if (readable) {
        folder.sigmas.sigma_min = number_of(folder.files.root, "sigma_min", 0);
        folder.sigmas.sigma_max = number_of(folder.files.root, "sigma_max", 0);
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(folder.files.root, "cases"), i, item)
            run_sampling(&folder, item, report);
        check_sampling_tables(&folder, report);
    }
    schedule_free(folder.table);
    replay_folder_close(&folder.files);
    return !readable;
}
