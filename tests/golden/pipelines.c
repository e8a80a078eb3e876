/* pipelines.c - golden/models: the txt2img and img2img cases of each golden.json, through the same code that kiln_draw
 * uses, with the recorded noise. See pipelines.h. */
#include "golden/pipeline_case.h"

#include "pipeline/autoencode.h"
#include "pipeline/conditioning.h"
#include "pipeline/drawing.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double latents_limit = 1e-4, picture_limit = 1.0 / 255, bf16_decibels = 30;

/* What one drawing gave. */
typedef struct outcome {
    float *picture; /* [H,W,3] in 0..1 */
    size_t count;
    float *latents;
} outcome;

float *case_tensor(const pipeline_case *c, const char *prefix, const char *name, size_t *count)
{
    char full[200];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return golden_tensor(c->golden, full, count);
}

/* A text of the case; a null in the file is NULL. A case that does not say (img2img) means what the folder's first txt2img
 * case says. */
static const char *text_of(const pipeline_case *c, const char *key)
{
    const json_t *v = json_object_get(c->what, key);
    const char *name;
    json_t *other;
    if (!v)
        json_object_foreach((json_t *)c->root, name, other)
        {
            if (strncmp(name, "txt2img.", 8) == 0 && (v = json_object_get(other, key)))
                break;
        }
    return json_string_value(v);
}

static double number_of(const pipeline_case *c, const char *key, double absent)
{
    const json_t *v = json_object_get(c->what, key);
    return json_is_number(v) ? json_number_value(v) : absent;
}

/* ------------------------------------------------------------------------------------ one drawing */

static kiln_status replay_noise(void *self, float from, float to, float *out, size_t n, kiln_error *err)
{
    (void)from;
    (void)to;
    pipeline_case *c = self;
    if (!c->noise || c->drawn + n > c->noise_count)
        return fail(err, KILN_MISMATCH, "more noise was asked for than was recorded");
    memcpy(out, c->noise + c->drawn, n * sizeof *out);
    c->drawn += n;
    return KILN_OK;
}

static kiln_status compare_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    (void)x0;
    (void)err;
    pipeline_case *c = self;
    size_t rows = c->row_count / c->n, row = rows == (size_t)steps ? (size_t)step - 1
                                             : step == steps       ? rows - 1
                                                                   : rows;
    if (c->compare && row < rows)
        c->latents_error = fmax(c->latents_error, golden_error(x, c->rows + row * c->n, c->n));
    return KILN_OK;
}

/* The schedule and plan that the case's scheduler config asks for. */
static kiln_status plan_of(const pipeline_case *c, schedule **table, sampler_plan **out, kiln_error *err)
{
    char *text = json_dumps(json_object_get(c->what, "scheduler_config"), 0);
    const char *class_name = text_of(c, "scheduler");
    schedule_config config;
    sampler_request q = sampler_request_default();
    q.sampler = class_name;
    q.steps = (int)number_of(c, "steps", 0);
    double strength = number_of(c, "strength", 1);
    if (strcmp(c->kind, "img2img") == 0 || (strcmp(c->kind, "inpaint") == 0 && strength < 1))
        q.strength = strength;
    kiln_status status = text ? schedule_config_read(&config, text, strlen(text), class_name, c->key, err)
                              : fail(err, KILN_BAD_FORMAT, "no scheduler_config");
    free(text);
    if (status != KILN_OK)
        return status;
    status = schedule_new(table, &config, err);
    schedule_config_fini(&config);
    return status == KILN_OK ? sampler_plan_new(out, *table, &q, err) : status;
}

static kiln_status words(kiln_session *s, const pipeline_case *c, kiln_map **with, kiln_map **without,
                         kiln_error *err)
{
    const char *prompt = text_of(c, "prompt"), *negative = text_of(c, "negative_prompt");
    kiln_status status = conditioning_of_text(s, prompt ? prompt : "", 1, with, err);
    if (status != KILN_OK)
        return status;
    return negative ? conditioning_of_text(s, negative, 1, without, err)
                    : conditioning_of_nothing(*with, without, err);
}

static kiln_status begin(kiln_session *s, const pipeline_case *c, const sampler_plan *steps, int height,
                         int width, float *x, kiln_error *err)
{
    size_t count = 0, pixels = 0;
    float *noise = case_tensor(c, c->kind, "noise", &count);
    if (!noise || count != c->n) {
        free(noise);
        return fail(err, KILN_BAD_FORMAT, "the tensor %s.noise is missing or of another size", c->kind);
    }
    if (strcmp(c->kind, "img2img") != 0) {
        sampler_start(steps, noise, NULL, x, c->n);
        free(noise);
        return KILN_OK;
    }
    float *picture01 = case_tensor(c, c->kind, "init_image01", &pixels),
          *vae_noise = case_tensor(c, c->kind, "vae_noise", &count);
    float *rows = picture01 ? malloc(pixels * sizeof *rows) : NULL;
    kiln_status status =
        rows && vae_noise ? KILN_OK : fail(err, KILN_BAD_FORMAT, "the start picture is missing");
    if (status == KILN_OK) {
        for (size_t i = 0; i < pixels; i++)
            picture01[i] = 2 * picture01[i] - 1;
        channels_last(picture01, 3, (int64_t)pixels / 3, 3, rows);
        status = autoencode_encode(s, rows, height, width, vae_noise, x, err);
    }
    if (status == KILN_OK)
        sampler_start(steps, noise, x, x, c->n);
    free(rows);
    free(picture01);
    free(vae_noise);
    free(noise);
    return status;
}

static kiln_status draw(kiln_session *s, pipeline_case *c, int height, int width, outcome *out,
                        kiln_error *err)
{
    if (!model_is_pixel(s->model) && model_need(s->model, NETWORK_VAE_DECODER, err) != KILN_OK)
        return err->status;
    int f = autoencode_factor(s->model);
    schedule *table = NULL;
    sampler_plan *steps = NULL;
    kiln_map *with = NULL, *without = NULL;
    drawing d = {.session = s,
                 .height = height / f,
                 .width = width / f,
                 .cfg = (float)number_of(c, "guidance_scale", 7.5)};
    float ids[TIME_IDS] = {(float)height, (float)width, 0, 0, (float)height, (float)width};
    const json_t *given = json_object_get(c->what, "time_ids");
    for (size_t i = 0; i < TIME_IDS; i++)
        d.time_ids[i] =
            json_array_size(given) == TIME_IDS ? (float)json_number_value(json_array_get(given, i)) : ids[i];
    c->n = drawing_elements(&d);
    c->drawn = 0;
    c->latents_error = 0;
    out->count = (size_t)height * (size_t)width * 3;
    out->latents = malloc(c->n * sizeof(float));
    out->picture = malloc(out->count * sizeof(float));
    kiln_status status = out->latents && out->picture ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory");
    if (status == KILN_OK)
        status = plan_of(c, &table, &steps, err);
    if (status == KILN_OK)
        status = words(s, c, &with, &without, err);
    d.sampler = steps;
    d.conditioning = with;
    d.negative = without;
    inpaint_held held = {0};
    if (status == KILN_OK && strcmp(c->kind, "inpaint") == 0)
        status = case_begin_inpaint(s, c, steps, height, width, &d, &held, out->latents, err);
    else if (status == KILN_OK)
        status = begin(s, c, steps, height, width, out->latents, err);
    sampler_calls calls = {
        .noise = replay_noise, .noise_self = c, .on_step = compare_step, .on_step_self = c};
    if (status == KILN_OK)
        status = drawing_run(&d, &calls, out->latents, err);
    if (status == KILN_OK)
        status = autoencode_decode(s, out->latents, d.height, d.width, 0, out->picture, err);
    for (size_t i = 0; status == KILN_OK && i < out->count; i++)
        out->picture[i] = fminf(fmaxf(out->picture[i] / 2 + 0.5f, 0), 1);
    inpaint_held_free(&held);
    kiln_map_free(with);
    kiln_map_free(without);
    sampler_plan_free(steps);
    schedule_free(table);
    return status;
}

/* ------------------------------------------------------------------------------------ comparisons */

static kiln_status draw_with(const char *folder, const kiln_model_options *o, pipeline_case *c, int height,
                             int width, outcome *out, kiln_error *err)
{
    kiln_model *model = NULL;
    kiln_session *s = NULL;
    kiln_status status = kiln_model_open(folder, o, &model, err);
    if (status == KILN_OK)
        status = kiln_session_new(model, &s, err);
    if (status == KILN_OK)
        status = draw(s, c, height, width, out, err);
    kiln_session_free(s);
    (void)kiln_model_close(model);
    return status;
}

static double decibels(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum > 0 ? -10 * log10(sum / (double)n) : 999;
}

/* The picture against the reference, [3,H,W]. */
static double picture_error(const pipeline_case *c, const outcome *got, bool *known)
{
    size_t count = 0;
    float *expected = case_tensor(c, c->key, "image", &count),
          *rows = expected ? malloc(count * sizeof *rows) : NULL;
    double error = NAN;
    *known = expected && rows && count == got->count;
    if (*known) {
        channels_last(expected, 3, (int64_t)count / 3, 3, rows);
        error = 0;
        for (size_t i = 0; i < count; i++)
            error = fmax(error, fabs((double)got->picture[i] - (double)rows[i]));
    }
    free(rows);
    free(expected);
    return error;
}

static void forget(outcome *o)
{
    free(o->picture);
    free(o->latents);
    *o = (outcome){0};
}

static void in_bf16(const char *folder, pipeline_case *c, int height, int width, const outcome *exact)
{
    kiln_error err = {0};
    outcome coarse = {0};
    kiln_model_options o = kiln_model_defaults();
    o.precision = KILN_PRECISION_BF16;
    c->compare = false;
    if (draw_with(folder, &o, c, height, width, &coarse, &err) != KILN_OK)
        golden_failure(c->report, c->model, c->key, err.text);
    else {
        double db = decibels(exact->picture, coarse.picture, exact->count);
        char what[64];
        snprintf(what, sizeof what, "bf16 picture, %.1f dB", db);
        /* As an error: the root mean square difference, 30 dB is 0.0316. */
        golden_result(c->report, c->model, c->key, what, pow(10, -db / 20), pow(10, -bf16_decibels / 20));
    }
    forget(&coarse);
}

static void other_threads(const char *folder, const kiln_model_options *o, pipeline_case *c, int height,
                          int width, const outcome *first)
{
    kiln_error err = {0};
    outcome second = {0};
    kiln_model_options other = *o;
    other.threads = o->threads == 1 ? 2 : 1;
    if (draw_with(folder, &other, c, height, width, &second, &err) != KILN_OK)
        golden_failure(c->report, c->model, c->key, err.text);
    else {
        bool same = memcmp(first->latents, second.latents, c->n * sizeof(float)) == 0 &&
                    memcmp(first->picture, second.picture, first->count * sizeof(float)) == 0;
        golden_result(c->report, c->model, c->key, "same bytes with 1 and 2 threads", same ? 0 : 1, 0);
    }
    forget(&second);
}

static bool sampler_is_built(const char *class_name)
{
    for (int i = 0; class_name && sampler_label(i); i++)
        if (sampler_class(i) && strcmp(sampler_class(i), class_name) == 0)
            return true;
    return false;
}

static void run_case(const char *folder, const pipeline_options *options, pipeline_case *c)
{
    kiln_error err = {0};
    kiln_model_options o = kiln_model_defaults();
    o.precision = KILN_PRECISION_F32;
    o.threads = options->threads;
    o.reference = options->reference;
    char name[200];
    snprintf(name, sizeof name, "%s.image", c->key);
    const tensor_entry *shown = tensor_file_find(c->golden, name);
    c->noise = case_tensor(c, c->key, "step_noise", &c->noise_count);
    c->rows = case_tensor(c, c->key, "latents", &c->row_count);
    c->compare = true;
    outcome got = {0};
    const char *scheduler = text_of(c, "scheduler");
    if (!scheduler || !json_is_object(json_object_get(c->what, "scheduler_config")))
        golden_failure(c->report, c->model, c->key,
                       "the case is malformed: no text 'scheduler' or no object 'scheduler_config'");
    else if (!sampler_is_built(scheduler))
        golden_skip(c->report, c->model, c->key, "sampler not built");
    else if (!shown || shown->shape.rank != 3 || !c->rows)
        golden_failure(c->report, c->model, c->key, "its tensors are missing");
    else {
        int height = (int)shown->shape.dim[1], width = (int)shown->shape.dim[2];
        if (draw_with(folder, &o, c, height, width, &got, &err) != KILN_OK)
            golden_failure(c->report, c->model, c->key, err.text);
        else {
            bool known;
            golden_result(c->report, c->model, c->key, "latents of every step", c->latents_error,
                          latents_limit);
            double error = picture_error(c, &got, &known);
            golden_result(c->report, c->model, c->key, "picture", known ? error : (double)NAN, picture_limit);
            if (!options->reference)
                other_threads(folder, &o, c, height, width, &got);
            if (options->bf16)
                in_bf16(folder, c, height, width, &got);
        }
    }
    forget(&got);
    free(c->noise);
    free(c->rows);
}

/* The model of a case: its own folder; for inpainting one with the parts that the folder leaves to sd1-tiny, and for the
 * cases of an ordinary UNet that model itself. Made as links in a folder of its own. */
static bool find_model(const char *folder, const pipeline_case *c, assembled *out)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, c->model);
    if (strcmp(c->kind, "inpaint") != 0)
        return assemble(out, path, NULL);
    char whole[4096];
    snprintf(whole, sizeof whole, "%s/sd1-tiny", folder);
    return strncmp(c->key, "inpaint4", 8) == 0 ? assemble(out, whole, NULL) : assemble(out, path, whole);
}

static void run_model(const char *folder, const char *name, const pipeline_options *options,
                      golden_report *report)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *root = golden_json(report, path, "golden.json");
    tensor_file *golden = root ? golden_tensors(report, path, "golden.safetensors") : NULL;
    const char *key;
    json_t *what;
    json_object_foreach(root, key, what)
    {
        pipeline_case c = {
            .model = name, .key = key, .what = what, .root = root, .golden = golden, .report = report};
        c.kind = strncmp(key, "txt2img.", 8) == 0   ? "txt2img"
                 : strncmp(key, "img2img.", 8) == 0 ? "img2img"
                 : strncmp(key, "inpaint", 7) == 0  ? "inpaint"
                                                    : NULL;
        assembled model = {0};
        if (golden && c.kind && !find_model(folder, &c, &model))
            golden_failure(report, name, key, "its model cannot be put together");
        else if (golden && c.kind)
            run_case(model.path, options, &c);
        assembled_remove(&model);
    }
    tensor_file_close(golden);
    json_decref(root);
}

int golden_pipelines(const char *folder, const pipeline_options *options, golden_report *report)
{
    struct dirent **list = NULL;
    int count = scandir(folder, &list, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s/golden.json", folder, list[i]->d_name);
        FILE *f = list[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f) {
            fclose(f);
            run_model(folder, list[i]->d_name, options, report);
        }
        free(list[i]);
    }
    free(list);
    return count < 0;
}
