/* starting.c - see starting.h. */
#include "train/starting.h"

#include "text/tokenizer.h"
#include "train/initial.h"
#include "train/model_folder.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef KILN_DATA_DIRECTORY
#define KILN_DATA_DIRECTORY "/usr/local/share/kiln"
#endif
#ifndef KILN_SOURCE_DATA
#define KILN_SOURCE_DATA KILN_DATA_DIRECTORY
#endif

bool starting_is_base(const recipe *r)
{
    return r->base[0] && !r->unet.base[0] && !r->vae.base[0] && !r->text_encoder.base[0];
}

/* ------------------------------------------------------------------------------------ scheduler */

static json_t *new_scheduler(const recipe *r)
{
    if (strcmp(r->prediction_type, "flow") == 0)
        return json_pack("{s:s, s:s, s:i, s:f}", "_class_name", "FlowMatchEulerDiscreteScheduler",
                         "_diffusers_version", "0.31.0", "num_train_timesteps", r->num_train_timesteps,
                         "shift", r->flow_shift);
    return json_pack("{s:s, s:s, s:f, s:s, s:f, s:b, s:i, s:s, s:b, s:i, s:s, s:n}", "_class_name",
                     "DDIMScheduler", "_diffusers_version", "0.31.0", "beta_end", r->beta_end,
                     "beta_schedule", r->beta_schedule, "beta_start", r->beta_start, "clip_sample", 0,
                     "num_train_timesteps", r->num_train_timesteps, "prediction_type", "epsilon",
                     "set_alpha_to_one", 0, "steps_offset", 1, "timestep_spacing", "leading",
                     "trained_betas");
}

static bool is_flow(const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "_class_name"));
    return name && strncmp(name, "FlowMatch", 9) == 0;
}

kiln_status starting_scheduler(const recipe *r, const char *base, char **out, kiln_error *err)
{
    *out = NULL;
    json_error_t where;
    bool wants_flow = strcmp(r->prediction_type, "flow") == 0;
    bool as_base = strcmp(r->prediction_type, "auto") == 0;
    json_t *config = base ? json_loads(base, 0, &where) : new_scheduler(r);
    if (!json_is_object(config)) {
        json_decref(config);
        return fail(err, KILN_BAD_FORMAT, "the scheduler's configuration is no JSON object");
    }
    bool flow = is_flow(config);
    if (!as_base && flow != wants_flow) {
        json_decref(config);
        config = new_scheduler(r);
        flow = wants_flow;
    }
    int failures = wants_flow ? json_object_set_new(config, "shift", json_real(r->flow_shift)) : 0;
    if (!flow && !as_base)
        failures += json_object_set_new(config, "prediction_type", json_string(r->prediction_type));
    if (!flow && r->zero_terminal_snr) {
        failures += json_object_set_new(config, "rescale_betas_zero_snr", json_true());
        failures += json_object_set_new(config, "timestep_spacing", json_string("trailing"));
    }
    *out = failures ? NULL : json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    json_decref(config);
    return *out ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the scheduler's configuration");
}

/* ------------------------------------------------------------------------------------ configurations */

static void describe_unet(const recipe *r, const model_parts *parts, unet_config *c)
{
    const recipe_unet *u = &r->unet;
    bool text = parts->part[PART_TEXT].present, vae = parts->part[PART_VAE].present;
    int factor = vae ? vae_factor(&parts->vae) : 1;
    *c = (unet_config){.in_channels = vae ? parts->vae.latent_channels : 3,
                       .out_channels = vae ? parts->vae.latent_channels : 3,
                       .sample_size = r->resolution.number[0] / factor,
                       .levels = u->block_out_channels.count,
                       .context_channels = u->cross_attention_dim ? u->cross_attention_dim
                                           : text                 ? parts->text.width
                                                                  : 32,
                       .linear_projection = u->use_linear_projection,
                       .groups = u->norm_num_groups,
                       .norm_epsilon = 1e-5f,
                       .conv_in_kernel = 3,
                       .conv_out_kernel = 3,
                       .downsample_padding = 1,
                       .time_channels = 4 * u->block_out_channels.number[0],
                       .cosine_first = true};
    c->middle = strcmp(u->mid_block, "attention") == 0 ? UNET_MIDDLE_ATTENTION
                : strcmp(u->mid_block, "resnet") == 0  ? UNET_MIDDLE_RESNET
                                                       : UNET_MIDDLE_NONE;
    for (int i = 0; i < c->levels; i++) {
        c->channels[i] = u->block_out_channels.number[i];
        c->layers[i] = u->layers_per_block;
        c->heads[i] = u->attention_head_dim.number[i];
        for (int j = 0; j <= c->layers[i]; j++) {
            c->up_depth[i][j] = u->attention.number[i];
            if (j < c->layers[i])
                c->depth[i][j] = u->attention.number[i];
        }
    }
    int last = u->attention.number[c->levels - 1];
    c->middle_depth = c->middle == UNET_MIDDLE_ATTENTION ? (last ? last : 1) : 0;
}

static void describe_vae(const recipe *r, vae_config *c)
{
    const recipe_vae *v = &r->vae;
    *c = (vae_config){.in_channels = 3,
                      .out_channels = 3,
                      .latent_channels = v->latent_channels,
                      .sample_size = r->resolution.number[0],
                      .levels = v->block_out_channels.count,
                      .layers = v->layers_per_block,
                      .groups = v->norm_num_groups,
                      .quant_convolution = true,
                      .post_quant_convolution = true,
                      .middle_attention = v->mid_block_add_attention,
                      .scaling_factor = v->scaling_factor > 0 ? (float)v->scaling_factor : 0.18215f};
    for (int i = 0; i < c->levels; i++)
        c->channels[i] = v->block_out_channels.number[i];
}

static kiln_status open_tokenizer(const recipe *r, tokenizer **out, kiln_error *err)
{
    static const char file[] = "/clip/bpe_simple_vocab_16e6.txt.gz";
    char path[FOLDER_PATH];
    if (r->text_encoder.tokenizer[0])
        return tokenizer_open(r->text_encoder.tokenizer, out, err);
    snprintf(path, sizeof path, "%s%s", KILN_DATA_DIRECTORY, file);
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof path, "%s%s", KILN_SOURCE_DATA, file);
    return tokenizer_open_gz(path, out, err);
}

static kiln_status describe_text(const recipe *r, clip_text_config *c, kiln_error *err)
{
    const recipe_text *t = &r->text_encoder;
    tokenizer *words = NULL;
    kiln_status status = open_tokenizer(r, &words, err);
    if (status)
        return status;
    if (t->hidden_size % t->num_attention_heads)
        status = fail(err, KILN_BAD_ARGUMENT,
                      "text_encoder.num_attention_heads %d does not divide text_encoder.hidden_size %d",
                      t->num_attention_heads, t->hidden_size);
    *c = (clip_text_config){.vocabulary = tokenizer_size(words),
                            .positions = 77,
                            .width = t->hidden_size,
                            .feed_forward = t->intermediate_size,
                            .layers = t->num_hidden_layers,
                            .heads = t->num_attention_heads,
                            .quick_gelu = strcmp(t->hidden_act, "quick_gelu") == 0,
                            .norm_epsilon = 1e-5f,
                            .eos_token = tokenizer_end_id(words)};
    tokenizer_close(words);
    return status;
}

/* ------------------------------------------------------------------------------------ the folder */

/* What is being put together. */
typedef struct start {
    const recipe *recipe;
    model_parts parts;             /* of the new folder; parts taken from elsewhere have their place */
    model_parts *from[PART_COUNT]; /* models that parts are taken from */
    graph *graphs[CONVERT_MAX_MODELS];
    weights *bound[CONVERT_MAX_MODELS];
    initial_weights initial[CONVERT_MAX_MODELS];
    model_folder folder;
    char *scheduler;
} start;

static void start_fini(start *s)
{
    for (int i = 0; i < CONVERT_MAX_MODELS; i++) {
        weights_free(s->bound[i]);
        graph_free(s->graphs[i]);
    }
    for (int k = 0; k < PART_COUNT; k++)
        probe_close(s->from[k]);
    free(s->scheduler);
}

/* Which model the recipe takes a part from; "" for none. */
static const char *base_of(const recipe *r, part_kind k)
{
    const char *own = k == PART_UNET   ? r->unet.base
                      : k == PART_VAE  ? r->vae.base
                      : k == PART_TEXT ? r->text_encoder.base
                                       : "";
    return own[0] ? own : r->base;
}

/* Whether the method has this part at all. */
static bool is_wanted(const recipe *r, part_kind k)
{
    bool pixel = strcmp(r->method, "pixel") == 0, vae = strcmp(r->method, "vae") == 0;
    bool upscaler = strcmp(r->method, "upscaler") == 0;
    if (upscaler || k == PART_UPSCALER)
        return upscaler && k == PART_UPSCALER;
    switch (k) {
    case PART_UNET:
        return !vae;
    case PART_VAE:
        return !pixel;
    case PART_TEXT:
        return !vae && (!pixel || r->conditional);
    default:
        return false;
    }
}

static kiln_status take_part(start *s, part_kind k, const char *base, kiln_error *err)
{
    kiln_status status = probe_open(base, NULL, &s->from[k], err);
    if (!status)
        status = probe_require(s->from[k], 1u << k, err);
    if (status)
        return status;
    const model_parts *from = s->from[k];
    s->parts.part[k] = from->part[k];
    if (k == PART_UNET)
        s->parts.unet = from->unet;
    else if (k == PART_VAE)
        s->parts.vae = from->vae;
    else if (k == PART_UPSCALER)
        s->parts.upscaler = from->upscaler;
    else {
        s->parts.text = from->text;
        s->parts.family = from->family;
        s->folder.tokenizer[0] = from->tokenizer;
    }
    return KILN_OK;
}

/* In the order in which parts depend on each other: the UNet's sizes follow from the other two. */
static kiln_status describe_parts(start *s, kiln_error *err)
{
    static const part_kind order[] = {PART_VAE, PART_TEXT, PART_UNET, PART_UPSCALER};
    const recipe *r = s->recipe;
    kiln_status status = KILN_OK;
    for (int i = 0; i < 4 && !status; i++) {
        part_kind k = order[i];
        const char *base = base_of(r, k);
        if (!is_wanted(r, k))
            continue;
        s->parts.part[k].present = true;
        if (base[0])
            status = take_part(s, k, base, err);
        else if (k == PART_VAE && strcmp(r->method, "vae") != 0)
            status = fail(err, KILN_BAD_ARGUMENT,
                          "vae.base is missing: a latent model needs a trained VAE (method = vae makes one)");
        else if (k == PART_VAE)
            describe_vae(r, &s->parts.vae);
        else if (k == PART_UPSCALER)
            s->parts.upscaler =
                upscale_compact(r->upscaler.num_feat, r->upscaler.num_conv, r->upscaler.upscale);
        else if (k == PART_TEXT)
            status = describe_text(r, &s->parts.text, err);
        else {
            describe_unet(r, &s->parts, &s->parts.unet);
            status = unet_config_check(&s->parts.unet, "the recipe's unet", err);
        }
    }
    if (!status && s->parts.part[PART_UNET].present && s->parts.part[PART_TEXT].present &&
        s->parts.unet.context_channels != s->parts.text.width)
        status = fail(err, KILN_MISMATCH, "the UNet looks at states of width %d, the text encoder gives %d",
                      s->parts.unet.context_channels, s->parts.text.width);
    return status;
}

static kiln_status add_network(start *s, part_kind k, bool encoder, kiln_error *err)
{
    int i = s->folder.count;
    s->graphs[i] = probe_draw(&s->parts, k, encoder, err);
    if (!s->graphs[i])
        return err ? err->status : KILN_MISMATCH;
    folder_network *n = &s->folder.network[s->folder.count++];
    *n = (folder_network){.part = k, .graph = s->graphs[i], .type = DTYPE_F32};
    if (s->from[k]) {
        kiln_status status = weights_bind(s->graphs[i], &s->parts.part[k].place, 1, &s->bound[i], err);
        if (status)
            return status;
        n->source = weights_source(s->bound[i]);
        n->as = s->bound[i];
        return KILN_OK;
    }
    s->initial[i] = (initial_weights){.part = k,
                                      .graph = s->graphs[i],
                                      .seed = s->recipe->seed,
                                      .zero_init = s->recipe->zero_init,
                                      .text_width = s->parts.text.width,
                                      .text_layers = s->parts.text.layers};
    n->source = initial_source(&s->initial[i]);
    return KILN_OK;
}

static kiln_status write_whole(const start *s, const char *to, kiln_error *err)
{
    char temporary[FOLDER_PATH];
    if (snprintf(temporary, sizeof temporary, "%s.unfinished", to) >= (int)sizeof temporary)
        return fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", to);
    folder_remove(temporary);
    kiln_status status = folder_make(temporary, err);
    if (!status)
        status = model_folder_write(&s->folder, temporary, err);
    if (!status) {
        folder_remove(to);
        if (rename(temporary, to) != 0)
            status = fail_system(err, "%s: cannot be written", to);
    }
    if (status)
        folder_remove(temporary);
    return status;
}

kiln_status starting_make(const recipe *r, const char *to, kiln_error *err)
{
    start *s = calloc(1, sizeof *s);
    if (!s)
        return fail(err, KILN_NO_MEMORY, "out of memory for a model");
    s->recipe = r;
    s->parts.path = to;
    s->parts.family = r->unet.use_linear_projection ? FAMILY_SD2 : FAMILY_SD1;
    s->parts.guidance = r->sample_cfg; /* what its samples are looked at with */
    s->folder.parts = &s->parts;
    if (r->text_encoder.tokenizer[0])
        s->folder.tokenizer[0] = r->text_encoder.tokenizer;
    kiln_error own;
    err = err ? err : &own;
    kiln_status status = describe_parts(s, err);
    if (!status)
        status = starting_scheduler(r, NULL, &s->scheduler, err);
    s->parts.scheduler = s->scheduler;
    for (int k = 0; k < PART_COUNT && !status; k++)
        for (int half = 0; half < (k == PART_VAE ? 2 : 1) && s->parts.part[k].present && !status; half++)
            status = add_network(s, (part_kind)k, half == 1, err);
    if (!status)
        status = write_whole(s, to, err);
    start_fini(s);
    free(s);
    return status;
}
