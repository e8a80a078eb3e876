/* sampling_sheet.c - what the model can do by now, on one sheet: pictures of the recipe's prompts with fixed seeds; for a
 * VAE, pictures beside what comes back of them.
 *
 * The model that the run was opened with draws; only the values of the networks in training are the present ones (the
 * averaged ones, where there are). */
#include "train/training.h"

#include "image/image_tensor.h"
#include "image/picture_file.h"
#include "image/sheet.h"
#include "pipeline/autoencode.h"
#include "pipeline/image_api.h"
#include "train/model_folder.h"
#include "train/prompts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHEET_RECONSTRUCTIONS = 8, MEASURED_PICTURES = 16, CELL_LEAST = 64, CAPTION_LINES = 3 };

/* ------------------------------------------------------------------------------------ present weights */

typedef struct present {
    kiln_training *training;
    parameters_reader reader[NETWORK_COUNT];
    packed_store *before[NETWORK_COUNT];
    kiln_session *session;
} present;

static kiln_status present_begin(present *p, kiln_training *t, kiln_error *err)
{
    *p = (present){.training = t};
    for (int k = 0; k < NETWORK_COUNT; k++)
        if (t->objective->networks >> k & 1) {
            session_drop(t->session, (network_kind)k);
            p->reader[k] = (parameters_reader){t->parameters, t->average, parameters_place((network_kind)k)};
            p->before[k] = t->model->networks[k].store;
            t->model->networks[k].store = packed_store_new(parameters_source(&p->reader[k]));
            if (!t->model->networks[k].store)
                return fail(err, KILN_NO_MEMORY, "out of memory for the samples");
        }
    const float *values = t->average ? t->average : t->parameters->values;
    kiln_status status = teach_show(t->teach, t->model, t->parameters, values, err);
    if (!status)
        status = kiln_session_new(t->model, &p->session, err);
    for (int k = 0; k < NETWORK_COUNT && !status; k++)
        p->session->hooks[k] = teach_hooks(t->teach, &(teach_graph){.network = (network_kind)k});
    return status;
}

static void present_end(present *p)
{
    kiln_session_free(p->session);
    for (int k = 0; k < NETWORK_COUNT; k++)
        if (p->before[k]) {
            packed_store_free(p->training->model->networks[k].store);
            p->training->model->networks[k].store = p->before[k];
        }
}

/* ------------------------------------------------------------------------------------ one picture */

static bool go_on(void *user, const kiln_progress *progress)
{
    (void)progress;
    return !atomic_load(&((kiln_training *)user)->stop);
}

static int side_of(int line, int given, int resolution)
{
    return line ? line : given ? given : resolution;
}

static kiln_status draw_prompt(const present *p, const prompt_line *line, int index, image **out,
                               kiln_error *err)
{
    kiln_training *t = p->training;
    const recipe *r = &t->recipe;
    kiln_draw_options o = kiln_draw_defaults();
    kiln_image *drawn = NULL;
    o.prompt = line->text;
    o.negative = line->negative;
    o.width = side_of(line->width, r->sample_width, r->resolution.number[0]);
    o.height = side_of(line->height, r->sample_height, r->resolution.number[1]);
    o.steps = line->steps ? line->steps : r->sample_steps;
    o.cfg = !t->objective->worded ? 1 : line->cfg > 0 ? line->cfg : r->sample_cfg;
    o.seed = line->seed >= 0 ? (uint64_t)line->seed : r->sample_seed + (uint64_t)index;
    o.sampler = r->sample_sampler;
    o.clip_skip = r->clip_skip;
    o.progress = go_on;
    o.user = t;
    kiln_status status = kiln_draw(p->session, &o, &drawn, err);
    if (!status)
        status = image_to_bytes(drawn->picture, 3, out, err);
    kiln_image_free(drawn);
    return status;
}

/* A picture of the dataset and what the VAE makes of it. */
static kiln_status reconstruct(const present *p, int64_t index, image **picture, image **back,
                               kiln_error *err)
{
    const kiln_training *t = p->training;
    const vae_config *v = &t->model->parts->vae;
    order_sample s;
    if (order_validation_count(t->order, DATASET_VALIDATION) > index)
        order_validation(t->order, DATASET_VALIDATION, index, &s);
    else
        order_batch(t->order, index, 1, &s);
    s.flip = false;
    size_t n = (size_t)s.width_px * (size_t)s.height_px * 3;
    int f = vae_factor(v);
    size_t latents = n / 3 / (size_t)(f * f) * (size_t)v->latent_channels;
    float *pixels = malloc((n + latents) * sizeof *pixels);
    kiln_status status = pixels ? loader_read_picture(t->data, &s, pixels, err)
                                : fail(err, KILN_NO_MEMORY, "out of memory for the samples");
    if (!status)
        status = image_from_tensor(pixels, s.width_px, s.height_px, 3, 8, picture, err);
    if (!status)
        status = autoencode_encode(p->session, pixels, s.height_px, s.width_px, NULL, pixels + n, err);
    if (!status)
        status = autoencode_decode(p->session, pixels + n, s.height_px / f, s.width_px / f, 0, pixels, err);
    if (!status)
        status = image_from_tensor(pixels, s.width_px, s.height_px, 3, 8, back, err);
    free(pixels);
    return status;
}

/* ------------------------------------------------------------------------------------ the size of latents */

static kiln_status add_latents(const present *p, int64_t index, double *sum, double *squares, int64_t *count,
                               kiln_error *err)
{
    const kiln_training *t = p->training;
    const vae_config *v = &t->model->parts->vae;
    order_sample s;
    order_batch(t->order, index, 1, &s);
    int f = vae_factor(v);
    int64_t pixels = (int64_t)s.width_px * s.height_px * 3,
            latents = pixels / 3 / (f * f) * v->latent_channels;
    float *picture = malloc((size_t)(pixels + latents) * sizeof *picture);
    kiln_status status = picture ? loader_read_picture(t->data, &s, picture, err)
                                 : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    if (!status)
        status = autoencode_encode(p->session, picture, s.height_px, s.width_px, NULL, picture + pixels, err);
    for (int64_t i = 0; i < latents && !status; i++) {
        double z = (double)picture[pixels + i];
        *sum += z;
        *squares += z * z;
    }
    *count += status ? 0 : latents;
    free(picture);
    return status;
}

kiln_status training_measure_latents(kiln_training *t, double *deviation, kiln_error *err)
{
    present p;
    double sum = 0, squares = 0;
    int64_t count = 0;
    vae_config *v = &t->model->parts->vae;
    float factor = v->scaling_factor;
    v->scaling_factor = 1;
    kiln_status status = present_begin(&p, t, err);
    for (int64_t i = 0; i < MEASURED_PICTURES && !status; i++)
        status = add_latents(&p, i, &sum, &squares, &count, err);
    present_end(&p);
    v->scaling_factor = factor;
    double mean = count ? sum / (double)count : 0;
    *deviation = count ? sqrt(fmax(squares / (double)count - mean * mean, 0)) : 0;
    return status;
}

/* ------------------------------------------------------------------------------------ the sheet */

/* With room for the gaps of a last row that is not full. */
typedef struct sheet {
    image *picture[3 * PROMPT_LINES];
    const char *caption[3 * PROMPT_LINES];
    int count, columns;
} sheet;

static kiln_status fill_sheet(const present *p, const prompt_list *prompts, sheet *s, kiln_error *err)
{
    const kiln_training *t = p->training;
    kiln_status status = KILN_OK;
    if (strcmp(t->recipe.method, "vae") == 0) {
        s->columns = SHEET_RECONSTRUCTIONS;
        s->count = 2 * SHEET_RECONSTRUCTIONS;
        for (int i = 0; i < SHEET_RECONSTRUCTIONS && !status; i++)
            status = reconstruct(p, i, &s->picture[i], &s->picture[SHEET_RECONSTRUCTIONS + i], err);
        return status;
    }
    for (int i = 0; i < prompts->count && !status; i++, s->count++) {
        s->caption[i] = prompts->line[i].text;
        status = draw_prompt(p, &prompts->line[i], i, &s->picture[i], err);
    }
    return status;
}

/* As large as the largest picture; small ones of pixel models are shown larger. */
static int cell_of(const sheet *s)
{
    int cell = CELL_LEAST;
    for (int i = 0; i < s->count; i++)
        if (s->picture[i]) {
            cell = s->picture[i]->width > cell ? s->picture[i]->width : cell;
            cell = s->picture[i]->height > cell ? s->picture[i]->height : cell;
        }
    return cell;
}

static kiln_status write_sheet(kiln_training *t, const sheet *s, kiln_error *err)
{
    char folder[FOLDER_PATH], path[FOLDER_PATH], name[64];
    snprintf(name, sizeof name, "step-%08lld.png", (long long)t->step);
    kiln_status status = folder_path(folder, t->folder, "samples", err);
    if (!status)
        status = folder_make(folder, err);
    if (!status)
        status = folder_path(path, folder, name, err);
    snprintf(name, sizeof name, "step %lld", (long long)t->step);
    int columns = s->columns > 0 ? s->columns : (int)ceil(sqrt(s->count));
    sheet_content content = {.columns = columns,
                             .rows = (s->count + columns - 1) / columns,
                             .layers = 1,
                             .pictures = (const image *const *)s->picture,
                             .captions = s->caption,
                             .caption_lines = CAPTION_LINES,
                             .title = name,
                             .cell_px = cell_of(s)};
    image *made = NULL;
    if (!status)
        status = sheet_draw(&content, &made, err);
    if (!status)
        status = image_write(path, made, NULL, NULL, err);
    image_free(made);
    if (!status)
        training_tell(t, KILN_TRAINING_SAMPLED, "%s", path);
    return status;
}

/* Samples that cannot be drawn are no reason to end a training. */
static kiln_status forgive(kiln_training *t, kiln_status status, const kiln_error *why, kiln_error *err)
{
    if (status == KILN_OK)
        return KILN_OK;
    if (status == KILN_CANCELLED || status == KILN_NO_MEMORY)
        return fail(err, status, "%s", why->text);
    training_tell(t, KILN_TRAINING_NOTE, "no samples: %s", why->text);
    return KILN_OK;
}

kiln_status training_sample(kiln_training *t, kiln_error *err)
{
    if (strcmp(t->recipe.method, "upscaler") == 0)
        return KILN_OK; /* its validation says more than pictures of this size do */
    prompt_list *prompts = calloc(1, sizeof *prompts);
    sheet *s = calloc(1, sizeof *s);
    present p = {0};
    kiln_error why;
    kiln_status status = prompts && s ? KILN_OK : fail(&why, KILN_NO_MEMORY, "out of memory for the samples");
    if (!status)
        status = prompt_list_read(prompts, t->recipe.sample_prompts, &why);
    if (!status && !prompts->count && !t->objective->worded)
        for (; prompts->count < 16; prompts->count++)
            prompts->line[prompts->count] = (prompt_line){.text = "", .seed = -1};
    if (!status && (prompts->count || strcmp(t->recipe.method, "vae") == 0)) {
        p.training = t;
        status = present_begin(&p, t, &why);
        if (!status)
            status = fill_sheet(&p, prompts, s, &why);
        present_end(&p);
        if (!status)
            status = write_sheet(t, s, &why);
    }
    for (size_t i = 0; s && i < 2 * PROMPT_LINES; i++)
        image_free(s->picture[i]);
    if (prompts)
        prompt_list_fini(prompts);
    free(prompts);
    free(s);
    return forgive(t, status, &why, err);
}
