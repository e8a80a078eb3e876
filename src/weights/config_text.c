/* config_text.c - see config_text.h. */
#include "weights/config_text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIFFUSERS_VERSION "0.31.0"

/* Fields are set with json_object_set_new, which takes the value and fails on NULL: short memory shows up as an object
 * that lacks fields, so failures are counted. */
typedef struct config_writer {
    json_t *object;
    int failures;
} config_writer;

static void put(config_writer *w, const char *field, json_t *field_value)
{
    w->failures += json_object_set_new(w->object, field, field_value) != 0;
}

static void put_int(config_writer *w, const char *field, int number)
{
    put(w, field, json_integer(number));
}

/* null for 0. */
static void put_positive(config_writer *w, const char *field, int number)
{
    put(w, field, number > 0 ? json_integer(number) : json_null());
}

static void put_bool(config_writer *w, const char *field, bool truth)
{
    put(w, field, json_boolean(truth));
}

static void put_text(config_writer *w, const char *field, const char *text)
{
    put(w, field, text ? json_string(text) : json_null());
}

/* A float is written as the shortest decimal number that is the same float: 1e-05, not 9.99999974737875e-06. */
static void put_real(config_writer *w, const char *field, float number)
{
    char text[40];
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*g", digits, (double)number);
    while (digits++ < 9 && strtof(text, NULL) != number);
    put(w, field, json_real(strtod(text, NULL)));
}

static json_t *ints(const int *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_integer(numbers[i]));
    return list;
}

static json_t *texts(int count, const char *(*text)(const void *self, int i), const void *self)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_string(text(self, i)));
    return list;
}

static char *finish(config_writer *w)
{
    char *text = w->failures || !w->object
                     ? NULL
                     : json_dumps(w->object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    json_decref(w->object);
    return text;
}

/* ------------------------------------------------------------------------------------ UNet */

static const char *down_block(const void *self, int i)
{
    return ((const unet_config *)self)->depth[i][0] ? "CrossAttnDownBlock2D" : "DownBlock2D";
}

/* The way up is listed from the coarsest level. */
static const char *up_block(const void *self, int i)
{
    const unet_config *c = self;
    return c->up_depth[c->levels - 1 - i][0] ? "CrossAttnUpBlock2D" : "UpBlock2D";
}

/* One number for each level suffices when its transformers are equally deep, on both ways and in the middle. */
static bool depth_is_plain(const unet_config *c)
{
    for (int i = 0; i < c->levels; i++) {
        int depth = c->depth[i][0] ? c->depth[i][0] : c->up_depth[i][0];
        for (int j = 0; j <= c->layers[i]; j++)
            if ((c->up_depth[i][j] && c->up_depth[i][j] != depth) ||
                (j < c->layers[i] && c->depth[i][j] && c->depth[i][j] != depth))
                return false;
    }
    return true;
}

static void put_depth(config_writer *w, const unet_config *c)
{
    json_t *down = json_array(), *up = json_array();
    bool plain = depth_is_plain(c);
    for (int i = 0; i < c->levels; i++) {
        int depth = c->depth[i][0] ? c->depth[i][0] : c->up_depth[i][0], k = c->levels - 1 - i;
        if (!depth)
            depth = i == c->levels - 1 && c->middle_depth ? c->middle_depth : 1;
        json_array_append_new(down, plain || !c->depth[i][0] ? json_integer(depth)
                                                             : ints(c->depth[i], c->layers[i]));
        json_array_append_new(up,
                              c->up_depth[k][0] ? ints(c->up_depth[k], c->layers[k] + 1) : json_integer(1));
    }
    put(w, "transformer_layers_per_block", down);
    put(w, "reverse_transformer_layers_per_block", plain ? json_null() : json_incref(up));
    json_decref(up);
}

static void put_conditions(config_writer *w, const unet_config *c)
{
    static const char *const kinds[] = {NULL, NULL, "timestep", "projection", "identity"};
    put_text(w, "addition_embed_type", c->text_time ? "text_time" : NULL);
    put_positive(w, "addition_time_embed_dim", c->added_time_channels);
    put_text(w, "class_embed_type", kinds[c->class_kind]);
    put_positive(w, "num_class_embeds", c->class_count);
    put_positive(w, "projection_class_embeddings_input_dim",
                 c->text_time ? c->added_channels : c->class_channels);
    put_positive(w, "time_cond_proj_dim", c->time_condition_channels);
    put_positive(w, "time_embedding_dim", c->time_channels == 4 * c->channels[0] ? 0 : c->time_channels);
}

static char *unet_text(const unet_config *c)
{
    static const char *const middles[] = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D", NULL};
    config_writer w = {.object = json_object()};
    put_text(&w, "_class_name", "UNet2DConditionModel");
    put_text(&w, "_diffusers_version", DIFFUSERS_VERSION);
    put_text(&w, "act_fn", "silu");
    put(&w, "attention_head_dim", ints(c->heads, c->levels));
    put(&w, "block_out_channels", ints(c->channels, c->levels));
    put_bool(&w, "center_input_sample", c->center_input);
    put_int(&w, "conv_in_kernel", c->conv_in_kernel);
    put_int(&w, "conv_out_kernel", c->conv_out_kernel);
    put_int(&w, "cross_attention_dim", c->context_channels);
    put(&w, "down_block_types", texts(c->levels, down_block, c));
    put(&w, "up_block_types", texts(c->levels, up_block, c));
    put_int(&w, "downsample_padding", c->downsample_padding);
    put_bool(&w, "flip_sin_to_cos", c->cosine_first);
    put_int(&w, "freq_shift", (int)lrintf(c->frequency_shift));
    put_int(&w, "in_channels", c->in_channels);
    bool same_layers = true;
    for (int i = 1; i < c->levels; i++)
        same_layers = same_layers && c->layers[i] == c->layers[0];
    put(&w, "layers_per_block", same_layers ? json_integer(c->layers[0]) : ints(c->layers, c->levels));
    put_int(&w, "mid_block_scale_factor", 1);
    put_text(&w, "mid_block_type", middles[c->middle]);
    put_real(&w, "norm_eps", c->norm_epsilon);
    put_int(&w, "norm_num_groups", c->groups);
    json_t *only = json_array();
    for (int i = 0; i < c->levels; i++)
        json_array_append_new(only, json_boolean(c->only_cross_attention[i]));
    put(&w, "only_cross_attention", only);
    put_int(&w, "out_channels", c->out_channels);
    put_text(&w, "resnet_time_scale_shift", "default");
    put_int(&w, "sample_size", c->sample_size);
    put_bool(&w, "use_linear_projection", c->linear_projection);
    put_depth(&w, c);
    put_conditions(&w, c);
    return finish(&w);
}

/* ------------------------------------------------------------------------------------ VAE, text encoder */

static const char *encoder_block(const void *self, int i)
{
    (void)self;
    (void)i;
    return "DownEncoderBlock2D";
}

static const char *decoder_block(const void *self, int i)
{
    (void)self;
    (void)i;
    return "UpDecoderBlock2D";
}

static json_t *reals(const float *numbers, int count)
{
    json_t *list = count ? json_array() : json_null();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real((double)numbers[i]));
    return list;
}

static char *vae_text(const vae_config *c)
{
    config_writer w = {.object = json_object()};
    put_text(&w, "_class_name", "AutoencoderKL");
    put_text(&w, "_diffusers_version", DIFFUSERS_VERSION);
    put_text(&w, "act_fn", "silu");
    put(&w, "block_out_channels", ints(c->channels, c->levels));
    put(&w, "down_block_types", texts(c->levels, encoder_block, NULL));
    put(&w, "up_block_types", texts(c->levels, decoder_block, NULL));
    put_bool(&w, "force_upcast", c->force_upcast);
    put_int(&w, "in_channels", c->in_channels);
    put_int(&w, "latent_channels", c->latent_channels);
    put(&w, "latents_mean", reals(c->latents_mean, c->statistics));
    put(&w, "latents_std", reals(c->latents_deviation, c->statistics));
    put_int(&w, "layers_per_block", c->layers);
    put_bool(&w, "mid_block_add_attention", c->middle_attention);
    put_int(&w, "norm_num_groups", c->groups);
    put_int(&w, "out_channels", c->out_channels);
    put_int(&w, "sample_size", c->sample_size);
    put_real(&w, "scaling_factor", c->scaling_factor);
    if (c->shift_factor != 0.0f)
        put_real(&w, "shift_factor", c->shift_factor);
    put_bool(&w, "use_quant_conv", c->quant_convolution);
    put_bool(&w, "use_post_quant_conv", c->post_quant_convolution);
    return finish(&w);
}

static char *text_encoder_text(const clip_text_config *c)
{
    config_writer w = {.object = json_object()};
    put(&w, "architectures",
        json_pack("[s]", c->projection_channels ? "CLIPTextModelWithProjection" : "CLIPTextModel"));
    put_real(&w, "attention_dropout", 0.0f);
    put_int(&w, "bos_token_id", 0);
    put_int(&w, "eos_token_id", c->eos_token);
    put_text(&w, "hidden_act", c->quick_gelu ? "quick_gelu" : "gelu");
    put_int(&w, "hidden_size", c->width);
    put_real(&w, "initializer_factor", 1.0f);
    put_real(&w, "initializer_range", 0.02f);
    put_int(&w, "intermediate_size", c->feed_forward);
    put_real(&w, "layer_norm_eps", c->norm_epsilon);
    put_int(&w, "max_position_embeddings", c->positions);
    put_text(&w, "model_type", "clip_text_model");
    put_int(&w, "num_attention_heads", c->heads);
    put_int(&w, "num_hidden_layers", c->layers);
    put_int(&w, "pad_token_id", 1);
    put_int(&w, "projection_dim", c->projection_channels ? c->projection_channels : c->width);
    put_int(&w, "vocab_size", c->vocabulary);
    return finish(&w);
}

/* The names are those of the published code's arguments. */
static char *upscaler_text(const upscale_config *c)
{
    config_writer w = {.object = json_object()};
    put_text(&w, "_class_name", "SRVGGNetCompact");
    put_text(&w, "act_type", "prelu");
    put_int(&w, "num_conv", c->of.compact.convolutions);
    put_int(&w, "num_feat", c->of.compact.features);
    put_int(&w, "num_in_ch", c->channels);
    put_int(&w, "num_out_ch", c->channels);
    put_int(&w, "upscale", c->scale);
    return finish(&w);
}

char *part_config_text(const model_parts *parts, part_kind kind)
{
    if (parts->part[kind].config)
        return strdup(parts->part[kind].config);
    switch (kind) {
    case PART_UNET:
        return unet_text(&parts->unet);
    case PART_VAE:
        return vae_text(&parts->vae);
    case PART_TEXT:
        return text_encoder_text(&parts->text);
    case PART_TEXT_2:
        return text_encoder_text(&parts->text_2);
    case PART_UPSCALER:
        return upscaler_text(&parts->upscaler);
    case PART_COUNT:
        break;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------ model_index.json */

static const char *pipeline_class(const model_parts *parts)
{
    int channels = parts->part[PART_UNET].present ? parts->unet.in_channels : 4;
    switch (parts->family) {
    case FAMILY_SDXL:
        return channels == 9 ? "StableDiffusionXLInpaintPipeline" : "StableDiffusionXLPipeline";
    case FAMILY_SDXL_REFINER:
        return "StableDiffusionXLImg2ImgPipeline";
    case FAMILY_X4_UPSCALER:
        return "StableDiffusionUpscalePipeline";
    default:
        return channels == 9                                    ? "StableDiffusionInpaintPipeline"
               : channels == 8 && parts->unet.out_channels == 4 ? "StableDiffusionInstructPix2PixPipeline"
               : channels == 5                                  ? "StableDiffusionDepth2ImgPipeline"
                                                                : "StableDiffusionPipeline";
    }
}

static void put_class(config_writer *w, const char *field, bool present, const char *library,
                      const char *class_name)
{
    put(w, field, present ? json_pack("[s, s]", library, class_name) : json_pack("[n, n]"));
}

static void put_scheduler(config_writer *w, const char *scheduler)
{
    json_error_t where;
    json_t *config = json_loads(scheduler, 0, &where);
    const char *class_name = json_string_value(json_object_get(config, "_class_name"));
    put_class(w, "scheduler", true, "diffusers", class_name ? class_name : "DDIMScheduler");
    json_decref(config);
}

char *model_index_text(const model_parts *parts, const char *note)
{
    const model_part *part = parts->part;
    bool xl = parts->family == FAMILY_SDXL || parts->family == FAMILY_SDXL_REFINER;
    config_writer w = {.object = json_object()};
    put_text(&w, "_class_name", pipeline_class(parts));
    put_text(&w, "_diffusers_version", DIFFUSERS_VERSION);
    if (note)
        put_text(&w, "_note", note);
    if (parts->guidance > 0)
        put(&w, "_recommended", json_pack("{s:f}", "guidance_scale", parts->guidance));
    put_class(&w, "unet", part[PART_UNET].present, "diffusers", "UNet2DConditionModel");
    put_class(&w, "vae", part[PART_VAE].present, "diffusers", "AutoencoderKL");
    put_class(&w, "text_encoder", part[PART_TEXT].present, "transformers", "CLIPTextModel");
    put_class(&w, "tokenizer", part[PART_TEXT].present, "transformers", "CLIPTokenizer");
    if (part[PART_UPSCALER].present)
        put_class(&w, "upscaler", true, "kiln", "SRVGGNetCompact");
    put_scheduler(&w, parts->scheduler);
    put_class(&w, "feature_extractor", false, NULL, NULL);
    put_class(&w, "image_encoder", false, NULL, NULL);
    if (xl) {
        put_class(&w, "text_encoder_2", part[PART_TEXT_2].present, "transformers",
                  "CLIPTextModelWithProjection");
        put_class(&w, "tokenizer_2", part[PART_TEXT_2].present, "transformers", "CLIPTokenizer");
        put_bool(&w, "force_zeros_for_empty_prompt", parts->zero_empty_prompt);
        if (parts->time_ids_score)
            put_bool(&w, "requires_aesthetics_score", true);
    } else {
        put_class(&w, "safety_checker", false, NULL, NULL);
        put_bool(&w, "requires_safety_checker", false);
    }
    return finish(&w);
}

/* ------------------------------------------------------------------------------------ tokenizer */

static json_t *special_token(const char *content)
{
    return json_pack("{s:s, s:b, s:b, s:b, s:b}", "content", content, "lstrip", 0, "normalized", 1, "rstrip",
                     0, "single_word", 0);
}

char *tokenizer_config_text(const char *pad)
{
    config_writer w = {.object = json_object()};
    put_bool(&w, "add_prefix_space", false);
    put(&w, "bos_token", special_token("<|startoftext|>"));
    put(&w, "eos_token", special_token("<|endoftext|>"));
    put(&w, "unk_token", special_token("<|endoftext|>"));
    put_text(&w, "pad_token", pad);
    put_bool(&w, "do_lower_case", true);
    put_text(&w, "errors", "replace");
    put_int(&w, "model_max_length", 77);
    put_text(&w, "tokenizer_class", "CLIPTokenizer");
    return finish(&w);
}

char *special_tokens_text(const char *pad)
{
    config_writer w = {.object = json_object()};
    put(&w, "bos_token", special_token("<|startoftext|>"));
    put(&w, "eos_token", special_token("<|endoftext|>"));
    put(&w, "unk_token", special_token("<|endoftext|>"));
    put_text(&w, "pad_token", pad);
    return finish(&w);
}
