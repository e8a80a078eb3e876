/* drawing.c - see drawing.h. */
#include "pipeline/drawing.h"

#include "pipeline/autoencode.h"
#include "pipeline/map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BRANCHES = 3 + PROMPT_MAX_PARTS, PASS_BATCH = 2 };

/* One of the answers that guidance joins: with the prompt, with the negative one, and without the picture or without
 * any words. */
typedef struct branch {
    const kiln_map *conditioning;
    const prompting *words; /* what `conditioning` follows; NULL: it stays */
    int part;               /* of them */
    bool blank;             /* zeros for the extra channels */
    bool told;              /* it is the prompt's */
    float *answer;          /* [C,h,w] */
} branch;

/* One pass of the UNet: a plan, its memory, and which branches fill its batch. */
typedef struct pass {
    const plan *plan;
    run *run;
    const branch *branches;
    int batch;
    network_shape size;
} pass;

typedef struct denoising {
    const drawing *drawing;
    const sampler_calls *calls; /* the caller's */
    /* The prompt's first part, what it is guided by, and then its other parts from `other_parts` on. */
    branch branches[BRANCHES];
    pass passes[BRANCHES];
    int branch_count, pass_count, other_parts;
    float *composed; /* [C,h,w]: the answer of all parts, where there are more or a weight; else NULL */
    int step;        /* steps done */
    bool guided;     /* in the last evaluation */
    float *scratch;  /* [C,h,w], with a repaint or a threshold */
    int64_t positions;
    int channels, out_channels;
} denoising;

int drawing_channels(const kiln_model *m)
{
    return m->parts->part[PART_VAE].present ? m->parts->vae.latent_channels : m->parts->unet.out_channels;
}

size_t drawing_elements(const drawing *d)
{
    return (size_t)drawing_channels(d->session->model) * (size_t)d->height * (size_t)d->width;
}

static int64_t tokens_of(const kiln_map *map)
{
    shape s = {0};
    map_find(map, "context", &s);
    return s.dim[1];
}

static void list_branches(denoising *n)
{
    const drawing *d = n->drawing;
    n->branches[n->branch_count++] =
        (branch){.conditioning = d->conditioning, .words = d->words, .told = true};
    branch negative = {.conditioning = d->negative, .words = d->negative_words};
    if (d->negative)
        n->branches[n->branch_count++] = negative;
    negative.blank = true;
    if (d->negative && d->edits)
        n->branches[n->branch_count++] = negative;
    else if (d->negative && d->empty)
        n->branches[n->branch_count++].conditioning = d->empty;
    n->other_parts = n->branch_count;
    for (int i = 1; d->words && i < d->words->parts.count; i++)
        n->branches[n->branch_count++] = (branch){
            .conditioning = prompting_map(d->words, i, 0), .words = d->words, .part = i, .told = true};
}

/* What stays the same in every step: contexts, pooled states, time ids, extra channels, classes. */
static void fill_constants(const denoising *n, const pass *p)
{
    const drawing *d = n->drawing;
    float *context = run_input(p->run, "encoder_hidden_states"),
          *pooled = run_input(p->run, "added_text_embeds");
    float *ids = run_input(p->run, "added_time_ids"), *sample = run_input(p->run, "sample");
    int32_t *classes = d->session->model->parts->unet.class_kind == UNET_CLASS_TABLE
                           ? run_input(p->run, "class_labels")
                           : NULL;
    for (int b = 0; b < p->batch; b++) {
        shape s = {0};
        const float *from = map_find(p->branches[b].conditioning, "context", &s);
        memcpy(context + (int64_t)b * shape_count(s), from, (size_t)shape_count(s) * sizeof(float));
        if (pooled && (from = map_find(p->branches[b].conditioning, "pooled", &s)))
            memcpy(pooled + (int64_t)b * shape_count(s), from, (size_t)shape_count(s) * sizeof(float));
        if (ids)
            memcpy(ids + b * TIME_IDS, d->time_ids, sizeof d->time_ids);
        if (classes)
            classes[b] = d->noise_level;
        int64_t stride = d->session->model->parts->unet.in_channels;
        float *own = sample + b * n->positions * stride;
        if (p->branches[b].blank)
            memset(own, 0, (size_t)(n->positions * stride) * sizeof *own);
        else if (d->extra)
            channels_last(d->extra, d->extra_channels, n->positions, stride, own + n->channels);
    }
}

static kiln_status open_pass(denoising *n, const branch *first, int batch, kiln_error *err)
{
    pass *p = &n->passes[n->pass_count];
    *p = (pass){.branches = first, .batch = batch};
    p->size = n->drawing->steered;
    p->size.batch = batch;
    p->size.height = n->drawing->height;
    p->size.width = n->drawing->width;
    p->size.tokens = (int)tokens_of(first->conditioning);
    kiln_status status = session_get_plan(n->drawing->session, NETWORK_UNET, &p->size, &p->plan, err);
    if (status == KILN_OK)
        status = run_new(p->plan, &p->run, err);
    if (status != KILN_OK)
        return status;
    n->pass_count++;
    fill_constants(n, p);
    return KILN_OK;
}

/* Give every pass what its branches look at in this step: copies, where it changed. */
static void follow_words(denoising *n)
{
    bool changed[BRANCHES] = {false};
    for (int i = 0; i < n->branch_count; i++) {
        branch *b = &n->branches[i];
        const kiln_map *now = b->words ? prompting_map(b->words, b->part, n->step) : b->conditioning;
        changed[i] = now != b->conditioning;
        b->conditioning = now;
    }
    for (int i = 0, first = 0; i < n->pass_count; first += n->passes[i++].batch) {
        bool any = false;
        for (int b = 0; b < n->passes[i].batch; b++)
            any = any || changed[first + b];
        if (any)
            fill_constants(n, &n->passes[i]);
    }
}

/* Two branches share a pass where their contexts have as many tokens; the prompt's is alone where guidance pauses. */
static kiln_status open_passes(denoising *n, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < n->branch_count;) {
        const branch *b = &n->branches[i];
        bool alone = i == 0 && guidance_pauses(&n->drawing->interval);
        bool two =
            !alone && i + 1 < n->branch_count && tokens_of(b[0].conditioning) == tokens_of(b[1].conditioning);
        int batch = two ? PASS_BATCH : 1;
        status = open_pass(n, b, batch, err);
        i += batch;
    }
    return status;
}

static kiln_status run_pass(denoising *n, const pass *p, const float *x, float timestep, kiln_error *err)
{
    const unet_config *u = &n->drawing->session->model->parts->unet;
    float *sample = run_input(p->run, "sample"), *time = run_input(p->run, "timestep");
    bool told[PASS_BATCH] = {false};
    for (int b = 0; b < p->batch; b++) {
        channels_last(x, n->channels, n->positions, u->in_channels,
                      sample + b * n->positions * u->in_channels);
        time[b] = timestep;
        told[b] = p->branches[b].told;
    }
    kiln_status status = steering_pass(n->drawing->steering, p->run, &p->size, told, n->step,
                                       sampler_plan_steps(n->drawing->sampler), err);
    if (status == KILN_OK)
        status = session_run(n->drawing->session, p->plan, p->run, err);
    const float *out = run_output(p->run, "out");
    for (int b = 0; status == KILN_OK && b < p->batch; b++)
        channels_first(out + b * n->positions * n->out_channels, n->out_channels, n->positions,
                       p->branches[b].answer);
    return status;
}

/* Guidance by words and by a picture: Brooks et al. 2023, arXiv:2211.09800, eq. 3. */
static void guide_edit(const denoising *n, const float *both, float *output, size_t count)
{
    const float *picture = n->branches[1].answer, *neither = n->branches[2].answer;
    float cfg = n->drawing->cfg, image_cfg = n->drawing->image_cfg;
    for (size_t i = 0; i < count; i++)
        output[i] = neither[i] + image_cfg * (picture[i] - neither[i]) + cfg * (both[i] - picture[i]);
}

/* Channel by channel, on x_0. */
static void threshold(const denoising *n, const float *with, const float *x, float sigma, float *output)
{
    const drawing *d = n->drawing;
    size_t positions = (size_t)n->positions;
    answer_line line;
    sampler_x0_line(d->sampler, sigma, &line.of_seen, &line.of_answer);
    for (int c = 0; c < n->channels; c++) {
        size_t begin = (size_t)c * positions;
        guide_threshold(output + begin, with + begin, n->branches[1].answer + begin, x + begin, line,
                        d->mimic, (double)d->mimic_percentile, n->scratch, positions);
    }
}

/* The answer to the prompt. To one of several parts: Liu et al. 2022, arXiv:2206.01714, eq. 11, without the scale of the
 * guidance, which comes after it. */
static const float *told_answer(const denoising *n, size_t count)
{
    const float *first = n->branches[0].answer;
    if (!n->composed)
        return first;
    const float *without = n->guided ? n->branches[1].answer : first;
    const prompt_part *parts = n->drawing->words->parts.part;
    for (size_t i = 0; i < count; i++)
        n->composed[i] = without[i] + (float)parts[0].weight * (first[i] - without[i]);
    for (int b = n->other_parts; b < n->branch_count; b++) {
        const float *answer = n->branches[b].answer;
        float weight = (float)parts[n->branches[b].part].weight;
        for (size_t i = 0; i < count; i++)
            n->composed[i] += weight * (answer[i] - without[i]);
    }
    return n->composed;
}

static void join_answers(const denoising *n, const float *x, float sigma, float *output, size_t count)
{
    const drawing *d = n->drawing;
    float cfg = d->cfg * (float)d->sampler->guidance_factor;
    const float *with = told_answer(n, count), *without = n->branches[1].answer;
    if (!n->guided)
        memcpy(output, with, count * sizeof *output);
    else if (d->edits)
        guide_edit(n, with, output, count);
    else if (d->empty)
        guide_perpendicular(with, without, n->branches[2].answer, cfg, d->perpendicular, output, count);
    else
        guide(with, without, cfg, output, count);
    if (n->guided && d->mimic > 0)
        threshold(n, with, x, sigma, output);
    if (n->guided && d->cfg_rescale > 0)
        guide_rescale(output, with, d->cfg_rescale, count);
}

/* Whether a pass answers to the prompt, or to a part of it. */
static bool tells(const pass *p)
{
    bool told = false;
    for (int b = 0; b < p->batch; b++)
        told = told || p->branches[b].told;
    return told;
}

static kiln_status predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    denoising *n = self;
    const drawing *d = n->drawing;
    float sigma = sampler_level(d->sampler, timestep);
    n->guided = n->other_parts > 1 &&
                guidance_is_on(&d->interval, n->step, sampler_plan_steps(d->sampler), (double)sigma);
    bool told_only = n->other_parts > 1 && !n->guided;
    kiln_status status = KILN_OK;
    follow_words(n);
    for (int i = 0; status == KILN_OK && i < n->pass_count; i++)
        if (!told_only || tells(&n->passes[i]))
            status = run_pass(n, &n->passes[i], x, timestep, err);
    if (status != KILN_OK)
        return status;
    join_answers(n, x, sigma, output, drawing_elements(d));
    if (d->repaint)
        repaint_output(d->repaint, d->sampler, x, sigma, output);
    return KILN_OK;
}

/* The answer without the prompt, where the last evaluation had one. */
static const float *unguided(void *self)
{
    const denoising *n = self;
    return n->guided ? n->branches[n->other_parts - 1].answer : NULL;
}

static kiln_status on_step(void *self, int step, int steps, float *x, const float *x0, kiln_error *err)
{
    denoising *n = self;
    n->step = step;
    if (n->drawing->repaint)
        repaint_step(n->drawing->repaint, n->drawing->sampler, step, x, n->scratch);
    return n->calls->on_step ? n->calls->on_step(n->calls->on_step_self, step, steps, x, x0, err) : KILN_OK;
}

static kiln_status check_channels(const drawing *d, kiln_error *err)
{
    const unet_config *u = &d->session->model->parts->unet;
    int channels = drawing_channels(d->session->model);
    if (u->out_channels != channels)
        return fail(err, KILN_MISMATCH, "the UNet predicts %d channels, the VAE's latents have %d",
                    u->out_channels, channels);
    if (u->in_channels != channels + d->extra_channels)
        return fail(err, KILN_UNSUPPORTED,
                    "the UNet takes %d channels, of which %d are latents and %d are known here",
                    u->in_channels, channels, d->extra_channels);
    return KILN_OK;
}

static kiln_status prepare(denoising *n, size_t count, kiln_error *err)
{
    bool good = true;
    list_branches(n);
    for (int i = 0; i < n->branch_count; i++)
        good = (n->branches[i].answer = malloc(count * sizeof(float))) && good;
    if (n->drawing->repaint || n->drawing->mimic > 0)
        good = (n->scratch = malloc(count * sizeof(float))) && good;
    const prompting *w = n->drawing->words;
    if (w && (w->parts.count > 1 || w->parts.part[0].weight != 1))
        good = (n->composed = malloc(count * sizeof(float))) && good;
    if (!good)
        return fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    return open_passes(n, err);
}

kiln_status drawing_run(const drawing *d, const sampler_calls *calls, float *x, kiln_error *err)
{
    denoising n = {.drawing = d,
                   .calls = calls,
                   .positions = (int64_t)d->height * d->width,
                   .channels = drawing_channels(d->session->model)};
    n.out_channels = d->session->model->parts->unet.out_channels;
    size_t count = drawing_elements(d);
    kiln_status status = check_channels(d, err);
    if (status == KILN_OK)
        status = prepare(&n, count, err);
    if (status == KILN_OK) {
        sampler_calls own = *calls;
        own.predict = predict;
        own.unguided = unguided;
        own.on_step = on_step;
        own.predict_self = own.on_step_self = &n;
        status = sampler_run(d->sampler, &own, x, count, err);
    }
    if (status == KILN_OK && d->repaint)
        repaint_finish(d->repaint, x);
    for (int i = 0; i < n.pass_count; i++)
        run_free(n.passes[i].run);
    for (int i = 0; i < n.branch_count; i++)
        free(n.branches[i].answer);
    free(n.scratch);
    free(n.composed);
    return status;
}
