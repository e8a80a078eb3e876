/* drawing.c - see drawing.h. */
#include "pipeline/drawing.h"

#include "diffusion/guidance.h"
#include "pipeline/autoencode.h"
#include "pipeline/map.h"

#include <stdlib.h>
#include <string.h>

/* One pass of the UNet: a plan, its memory, and which conditionings fill its batch. */
typedef struct pass {
    const plan *plan;
    run *run;
    const kiln_map *conditioning[2];
    int batch;
} pass;

typedef struct denoising {
    const drawing *drawing;
    pass passes[2];
    int pass_count;
    float *answers[2]; /* [C,h,w] each: with the prompt, with the negative */
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

static bool one_pass(const drawing *d)
{
    return d->negative && tokens_of(d->conditioning) == tokens_of(d->negative);
}

network_shape drawing_unet_shape(const drawing *d, const kiln_map *conditioning)
{
    return (network_shape){.batch = one_pass(d) ? 2 : 1,
                           .height = d->height,
                           .width = d->width,
                           .tokens = (int)tokens_of(conditioning)};
}

/* What stays the same in every step: contexts, pooled states, time ids, extra channels. */
static void fill_constants(const denoising *n, const pass *p)
{
    const drawing *d = n->drawing;
    float *context = run_input(p->run, "encoder_hidden_states"),
          *pooled = run_input(p->run, "added_text_embeds");
    float *ids = run_input(p->run, "added_time_ids"), *sample = run_input(p->run, "sample");
    for (int b = 0; b < p->batch; b++) {
        shape s = {0};
        const float *from = map_find(p->conditioning[b], "context", &s);
        memcpy(context + (int64_t)b * shape_count(s), from, (size_t)shape_count(s) * sizeof(float));
        if (pooled && (from = map_find(p->conditioning[b], "pooled", &s)))
            memcpy(pooled + (int64_t)b * shape_count(s), from, (size_t)shape_count(s) * sizeof(float));
        if (ids)
            memcpy(ids + b * TIME_IDS, d->time_ids, sizeof d->time_ids);
        int64_t stride = d->session->model->parts->unet.in_channels;
        if (d->extra)
            channels_last(d->extra, d->extra_channels, n->positions, stride,
                          sample + b * n->positions * stride + n->channels);
    }
}

static kiln_status open_pass(denoising *n, const kiln_map *first, const kiln_map *second, kiln_error *err)
{
    pass *p = &n->passes[n->pass_count];
    *p = (pass){.conditioning = {first, second}, .batch = second ? 2 : 1};
    network_shape size = drawing_unet_shape(n->drawing, first);
    kiln_status status = session_get_plan(n->drawing->session, NETWORK_UNET, &size, &p->plan, err);
    if (status == KILN_OK)
        status = run_new(p->plan, &p->run, err);
    if (status != KILN_OK)
        return status;
    n->pass_count++;
    fill_constants(n, p);
    return KILN_OK;
}

/* Run a pass on x; answer[b] gets batch item b. */
static kiln_status run_pass(denoising *n, const pass *p, const float *x, float timestep,
                            float *const answer[2], kiln_error *err)
{
    const unet_config *u = &n->drawing->session->model->parts->unet;
    float *sample = run_input(p->run, "sample"), *time = run_input(p->run, "timestep");
    for (int b = 0; b < p->batch; b++) {
        channels_last(x, n->channels, n->positions, u->in_channels,
                      sample + b * n->positions * u->in_channels);
        time[b] = timestep;
    }
    kiln_status status = session_run(n->drawing->session, p->plan, p->run, err);
    const float *out = run_output(p->run, "out");
    for (int b = 0; status == KILN_OK && b < p->batch && b < 2; b++)
        channels_first(out + b * n->positions * n->out_channels, n->out_channels, n->positions, answer[b]);
    return status;
}

static kiln_status predict(void *self, const float *x, float timestep, float *output, kiln_error *err)
{
    denoising *n = self;
    const drawing *d = n->drawing;
    size_t count = drawing_elements(d);
    if (!d->negative)
        return run_pass(n, &n->passes[0], x, timestep, (float *const[2]){output, NULL}, err);
    kiln_status status = KILN_OK;
    if (n->pass_count == 1)
        status = run_pass(n, &n->passes[0], x, timestep, n->answers, err);
    for (int i = 0; n->pass_count == 2 && status == KILN_OK && i < 2; i++)
        status = run_pass(n, &n->passes[i], x, timestep, (float *const[2]){n->answers[i], NULL}, err);
    if (status != KILN_OK)
        return status;
    guide(n->answers[0], n->answers[1], d->cfg, output, count);
    if (d->cfg_rescale > 0)
        guide_rescale(output, n->answers[0], d->cfg_rescale, count);
    return KILN_OK;
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

kiln_status drawing_run(const drawing *d, const sampler_calls *calls, float *x, kiln_error *err)
{
    denoising n = {.drawing = d,
                   .positions = (int64_t)d->height * d->width,
                   .channels = drawing_channels(d->session->model)};
    n.out_channels = d->session->model->parts->unet.out_channels;
    size_t count = drawing_elements(d);
    n.answers[0] = malloc(count * sizeof(float));
    n.answers[1] = malloc(count * sizeof(float));
    kiln_status status = check_channels(d, err);
    if (status == KILN_OK && (!n.answers[0] || !n.answers[1]))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    if (status == KILN_OK)
        status = open_pass(&n, d->conditioning, one_pass(d) ? d->negative : NULL, err);
    if (status == KILN_OK && d->negative && !one_pass(d))
        status = open_pass(&n, d->negative, NULL, err);
    if (status == KILN_OK) {
        sampler_calls with_network = *calls;
        with_network.predict = predict;
        with_network.predict_self = &n;
        status = sampler_run(d->sampler, &with_network, x, count, err);
    }
    for (int i = 0; i < n.pass_count; i++)
        run_free(n.passes[i].run);
    free(n.answers[0]);
    free(n.answers[1]);
    return status;
}
