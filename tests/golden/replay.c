/* replay.c - see replay.h. */
#include "golden/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kiln_status replay_predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    (void)err;
    replay *r = self;
    const float *pattern = r->pattern + (size_t)(r->calls % REPLAY_PATTERNS) * r->n;
    for (size_t i = 0; i < r->n; i++)
        output[i] = 0.25f * x[i] + 0.5f * pattern[i];
    if (r->timesteps && r->calls < r->timestep_count)
        r->timestep_error = fmax(r->timestep_error, fabs((double)timestep - r->timesteps[r->calls]));
    else if (r->timesteps)
        r->timestep_error = INFINITY;
    r->calls++;
    return KILN_OK;
}

static kiln_status replay_noise(void *self, float from, float to, float *out, size_t n, kiln_error *err)
{
    (void)from;
    (void)to;
    replay *r = self;
    if (r->drawn >= r->noise_rows || n != r->n)
        return fail(err, KILN_INTERNAL, "draw %zu is not recorded", r->drawn);
    memcpy(out, r->noise + r->drawn++ * n, n * sizeof *out);
    return KILN_OK;
}

static kiln_status replay_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    (void)x0;
    (void)err;
    replay *r = self;
    int row = r->by_step ? step : r->calls - r->row_shift;
    if (row < 1 || (r->last_only && step < steps))
        return KILN_OK;
    if (r->last_only)
        row = (int)r->row_count - 1;
    if ((size_t)row >= r->row_count) {
        r->error = INFINITY;
        return KILN_OK;
    }
    double error = golden_error(x, r->rows + (size_t)row * r->n, r->n);
    if (!(error <= r->error))
        r->error = error;
    return KILN_OK;
}

sampler_calls replay_calls(replay *r)
{
    return (sampler_calls){.predict = replay_predict,
                           .predict_self = r,
                           .noise = replay_noise,
                           .noise_self = r,
                           .on_step = replay_step,
                           .on_step_self = r};
}

double *replay_numbers(const json_t *list, int *count)
{
    size_t n = json_array_size(list);
    double *numbers = malloc((n + 1) * sizeof *numbers);
    for (size_t i = 0; numbers && i < n; i++)
        numbers[i] = json_number_value(json_array_get(list, i));
    *count = numbers ? (int)n : 0;
    return numbers;
}

bool replay_folder_open(replay_folder *folder, const char *path, golden_report *report)
{
    *folder = (replay_folder){.root = golden_json(report, path, "cases.json")};
    size_t pattern_count = 0;
    if (folder->root)
        folder->tensors = golden_tensors(report, path, "trajectories.safetensors");
    if (folder->tensors) {
        folder->pattern = golden_tensor(folder->tensors, "pattern", &pattern_count);
        folder->x_init = golden_tensor(folder->tensors, "x_init", &folder->n);
    }
    return folder->pattern && folder->x_init && folder->n > 0 && pattern_count == folder->n * REPLAY_PATTERNS;
}

void replay_folder_close(replay_folder *folder)
{
    free(folder->pattern);
    free(folder->x_init);
    tensor_file_close(folder->tensors);
    json_decref(folder->root);
}

float *replay_case_tensor(const replay_folder *folder, const char *id, const char *part, size_t *rows)
{
    char name[128];
    size_t count = 0;
    snprintf(name, sizeof name, "%s.%s", id, part);
    float *values = golden_tensor(folder->tensors, name, &count);
    *rows = count / folder->n;
    return values;
}

const char *replay_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
