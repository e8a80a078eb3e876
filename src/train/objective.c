/* objective.c - see objective.h. */
#include "train/objective.h"

#include "formats/hash.h"
#include "pipeline/autoencode.h"
#include "train/starting.h"
#include "train/teach.h"

#include <stdlib.h>
#include <string.h>

bool objective_trains_text(const recipe *r)
{
    bool worded =
        strcmp(r->method, "text_to_image") == 0 || (strcmp(r->method, "pixel") == 0 && r->conditional);
    return worded && (r->train_text_encoder || (!r->base[0] && !r->text_encoder.base[0]));
}

static void choose_networks(objective *o)
{
    const recipe *r = o->recipe;
    if (strcmp(r->method, "vae") == 0) {
        o->kind = &objective_vae;
        o->networks = o->trained = 1u << NETWORK_VAE_ENCODER | 1u << NETWORK_VAE_DECODER;
        return;
    }
    if (strcmp(r->method, "upscaler") == 0) {
        o->kind = &objective_upscaler;
        o->networks = o->trained = 1u << NETWORK_UPSCALER;
        return;
    }
    const teach_kind *taught = teach_kind_of(r->method);
    o->kind = &objective_denoise;
    o->latent = taught ? !model_is_pixel(o->model) : strcmp(r->method, "text_to_image") == 0;
    o->worded = model_has(o->model, NETWORK_TEXT_1) || model_has(o->model, NETWORK_TEXT_2);
    o->networks = 1u << NETWORK_UNET;
    if (taught && taught->networks)
        o->networks |= taught->networks(r, o->model);
    o->trained = r->train_unet && !taught ? o->networks : 0;
    if (objective_trains_text(r)) {
        unsigned text =
            1u << NETWORK_TEXT_1 | (model_has(o->model, NETWORK_TEXT_2) ? 1u << NETWORK_TEXT_2 : 0);
        o->networks |= text;
        o->trained |= text;
    }
}

static kiln_status check_parts(const objective *o, kiln_error *err)
{
    const model_parts *p = o->model->parts;
    kiln_status status = KILN_OK;
    if (o->kind == &objective_vae) {
        status = model_need(o->model, NETWORK_VAE_ENCODER, err);
        return status ? status : autoencode_check(o->model, err);
    }
    if (o->kind == &objective_upscaler)
        return model_need(o->model, NETWORK_UPSCALER, err);
    status = model_need(o->model, NETWORK_UNET, err);
    if (!status && o->latent)
        status = model_need(o->model, NETWORK_VAE_ENCODER, err);
    if (status)
        return status;
    int channels = o->latent ? p->vae.latent_channels : 3;
    if (p->unet.in_channels != channels || p->unet.out_channels != channels)
        return fail(err, KILN_UNSUPPORTED,
                    "%s: the UNet takes %d channels and gives %d; training is for %d and %d", o->model->path,
                    p->unet.in_channels, p->unet.out_channels, channels, channels);
    if (p->family == FAMILY_SDXL_REFINER)
        return fail(err, KILN_UNSUPPORTED, "%s: SDXL's refiner cannot be trained: its scores are not known",
                    o->model->path);
    return KILN_OK;
}

static kiln_status open_schedule(objective *o, kiln_error *err)
{
    schedule_config config;
    kiln_status status = starting_scheduler(o->recipe, o->model->parts->scheduler, &o->scheduler, err);
    if (status)
        return status;
    status = schedule_config_read(&config, o->scheduler, strlen(o->scheduler), NULL, "the recipe", err);
    if (status)
        return status;
    status = schedule_new(&o->schedule, &config, err);
    schedule_config_fini(&config);
    o->flow = !status && o->schedule->kind == SCHEDULE_FLOW;
    if (!status && o->schedule->kind == SCHEDULE_EDM)
        status = fail(err, KILN_UNSUPPORTED, "%s: models with EDM's preconditioning cannot be trained",
                      o->model->path);
    if (!status && !o->flow && o->recipe->min_timestep >= o->schedule->count)
        status = fail(err, KILN_BAD_ARGUMENT, "min_timestep is %d, the schedule has %d timesteps",
                      o->recipe->min_timestep, o->schedule->count);
    return status;
}

kiln_status network_hash(const kiln_model *m, network_kind kind, char out[65], kiln_error *err)
{
    part_kind part = kind == NETWORK_UNET     ? PART_UNET
                     : kind == NETWORK_TEXT_1 ? PART_TEXT
                     : kind == NETWORK_TEXT_2 ? PART_TEXT_2
                                              : PART_VAE;
    graph *g = probe_draw(m->parts, part, kind == NETWORK_VAE_ENCODER, err);
    if (!g)
        return err ? err->status : KILN_MISMATCH;
    int64_t largest = 0;
    for (int i = 0; i < g->parameter_count; i++)
        largest =
            shape_count(g->parameters[i].shape) > largest ? shape_count(g->parameters[i].shape) : largest;
    float *values = malloc((size_t)largest * sizeof *values + 1);
    char *digits = malloc((size_t)g->parameter_count * 64 + 65);
    parameter_source source = weights_source(m->networks[kind].bound);
    kiln_status status = values && digits ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a hash");
    for (int i = 0; i < g->parameter_count && !status; i++) {
        status = source.read(source.self, &g->parameters[i], i, values, err);
        if (!status)
            status = hash_memory(values, (size_t)shape_count(g->parameters[i].shape) * sizeof *values,
                                 digits + 64 * i, err);
    }
    if (!status)
        status = hash_memory(digits, (size_t)g->parameter_count * 64, out, err);
    free(values);
    free(digits);
    graph_free(g);
    return status;
}

static kiln_status open_caches(objective *o, const char *folder, kiln_error *err)
{
    char hash[128] = "";
    kiln_status status = KILN_OK;
    if (!folder || o->kind != &objective_denoise)
        return KILN_OK;
    if (o->latent && o->recipe->cache_latents) {
        status = network_hash(o->model, NETWORK_VAE_ENCODER, hash, err);
        if (!status)
            status = cache_open(folder, "latents", hash, &o->latents, err);
    }
    if (!status && o->recipe->cache_text_encoder_outputs && !(o->trained >> NETWORK_TEXT_1 & 1) &&
        o->worded) {
        char both[160] = "", joined[65];
        if (model_has(o->model, NETWORK_TEXT_1))
            status = network_hash(o->model, NETWORK_TEXT_1, both, err);
        if (!status && model_has(o->model, NETWORK_TEXT_2))
            status = network_hash(o->model, NETWORK_TEXT_2, both + strlen(both), err);
        both[strlen(both)] = (char)('0' + o->recipe->clip_skip % 10);
        if (!status)
            status = hash_memory(both, strlen(both), joined, err);
        if (!status)
            status = cache_open(folder, "text", joined, &o->texts, err);
    }
    return status;
}

kiln_status objective_new(const recipe *r, kiln_model *model, kiln_session *session, const dataset *data,
                          const char *cache_folder, const char *keys_file, objective **out, kiln_error *err)
{
    objective *o = *out = calloc(1, sizeof *o);
    if (!o)
        return fail(err, KILN_NO_MEMORY, "out of memory for a training");
    o->recipe = r;
    o->model = model;
    o->session = session;
    o->data = data;
    choose_networks(o);
    kiln_status status = check_parts(o, err);
    if (!status)
        status = open_schedule(o, err);
    if (!status)
        status = open_caches(o, cache_folder, err);
    if (!status && o->latents)
        status = picture_keys_open(data, keys_file, &o->keys, err);
    if (status) {
        objective_free(o);
        *out = NULL;
    }
    return status;
}

void objective_free(objective *o)
{
    if (!o)
        return;
    schedule_free(o->schedule);
    free(o->scheduler);
    picture_keys_close(o->keys);
    cache_close(o->latents);
    cache_close(o->texts);
    free(o);
}

bool objective_needs_pixels(const objective *o)
{
    return o->latents == NULL;
}

/* ------------------------------------------------------------------------------------ joining graphs */

void graph_join(graph *g, const char *input, value from)
{
    for (int i = 0; i < g->input_count; i++) {
        if (strcmp(g->inputs[i].name, input) != 0)
            continue;
        node *n = &g->nodes[g->inputs[i].value.index];
        if (!from.index || from.index >= g->inputs[i].value.index ||
            !shape_equal(n->shape, g->nodes[from.index].shape)) {
            graph_fail(graph_root(g), "the input '%s' cannot be joined", input);
            return;
        }
        /* The input becomes another name for the value. */
        n->op = OP_RESHAPE;
        n->input_count = 1;
        n->input[0] = from;
        g->inputs[i] = g->inputs[--g->input_count];
        return;
    }
    graph_fail(graph_root(g), "there is no input '%s'", input);
}

value graph_take_output(graph *g, const char *name)
{
    for (int i = 0; i < g->output_count; i++)
        if (strcmp(g->outputs[i].name, name) == 0) {
            value v = g->outputs[i].value;
            g->outputs[i] = g->outputs[--g->output_count];
            return v;
        }
    return NO_VALUE;
}

/* ------------------------------------------------------------------------------------ latents */

typedef struct encoding_request {
    objective *objective;
    const order_sample *sample;
    const float *pixels;
} encoding_request;

static kiln_status encode_picture(void *self, void *to, size_t bytes, kiln_error *err)
{
    const encoding_request *e = self;
    const order_sample *s = e->sample;
    size_t count = (size_t)s->height_px * (size_t)s->width_px * 3;
    network_shape size = {.batch = 1, .height = s->height_px, .width = s->width_px};
    const plan *p = NULL;
    run *r = NULL;
    kiln_status status = session_get_plan(e->objective->session, NETWORK_VAE_ENCODER, &size, &p, err);
    if (!status)
        status = run_new(p, &r, err);
    if (!status && e->pixels)
        memcpy(run_input(r, "image"), e->pixels, count * sizeof(float));
    else if (!status)
        status = loader_read_picture(e->objective->data, s, run_input(r, "image"), err);
    if (!status)
        status = session_run(e->objective->session, p, r, err);
    if (!status)
        memcpy(to, run_output(r, "moments"), bytes);
    run_free(r);
    return status;
}

kiln_status objective_moments(objective *o, const order_sample *s, const float *pixels, float *to,
                              kiln_error *err)
{
    const vae_config *v = &o->model->parts->vae;
    int f = vae_factor(v);
    size_t bytes = (size_t)(s->height_px / f) * (size_t)(s->width_px / f) * 2 * (size_t)v->latent_channels *
                   sizeof(float);
    encoding_request request = {o, s, pixels};
    if (!o->latents)
        return encode_picture(&request, to, bytes, err);
    cache_key key;
    kiln_status status = picture_keys_find(o->keys, s, &key, err);
    return status ? status : cache_fetch(o->latents, &key, to, bytes, encode_picture, &request, NULL, err);
}
