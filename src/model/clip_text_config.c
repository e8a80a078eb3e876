/* clip_text_config.c - the text encoder's config.json, its presets, and its shape told from a checkpoint. */
#include "model/clip_text.h"

#include <string.h>

#define COMMON .vocabulary = 49408, .positions = 77, .norm_epsilon = 1e-5f, .eos_token = 2

const clip_text_config clip_text_l = {COMMON,       .width = 768, .feed_forward = 3072,
                                      .layers = 12, .heads = 12,  .quick_gelu = true};
const clip_text_config clip_text_h = {COMMON,       .width = 1024, .feed_forward = 4096,
                                      .layers = 23, .heads = 16,   .dialect = CLIP_DIALECT_OPENCLIP};
const clip_text_config clip_text_big_g = {COMMON,
                                          .width = 1280,
                                          .feed_forward = 5120,
                                          .layers = 32,
                                          .heads = 20,
                                          .projection_channels = 1280,
                                          .dialect = CLIP_DIALECT_OPENCLIP};

static kiln_status check(const clip_text_config *c, const char *name, kiln_error *err)
{
    if (c->heads < 1 || c->width % c->heads)
        return fail(err, KILN_BAD_FORMAT, "%s: 'num_attention_heads' %d does not divide 'hidden_size' %d",
                    name, c->heads, c->width);
    return KILN_OK;
}

/* "architectures" of the outer object: only the class with a projection has one beside the encoder. */
static bool says_projection(const config_reader *r)
{
    const json_t *list = json_object_get(r->root, "architectures");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (word && (strcmp(word, "CLIPTextModelWithProjection") == 0 || strcmp(word, "CLIPModel") == 0))
            return true;
    }
    return false;
}

static void check_kind(config_reader *r)
{
    static const char *const kinds[] = {"clip_text_model", "clip", NULL};
    config_word(r, "model_type", 0, kinds);
}

static void read_fields(config_reader *r, bool projection, clip_text_config *c)
{
    static const char *const activations[] = {"quick_gelu", "gelu", NULL};
    c->vocabulary = config_int(r, "vocab_size", 49408, 1, 1 << 24);
    c->positions = config_int(r, "max_position_embeddings", 77, 1, 65536);
    c->width = config_int(r, "hidden_size", 512, 1, 65536);
    c->feed_forward = config_int(r, "intermediate_size", 2048, 1, 1 << 18);
    c->layers = config_int(r, "num_hidden_layers", 12, 1, 512);
    c->heads = config_int(r, "num_attention_heads", 8, 1, 1024);
    c->quick_gelu = config_word(r, "hidden_act", 0, activations) == 0;
    c->norm_epsilon = (float)config_real(r, "layer_norm_eps", 1e-5, 1e-12, 1.0);
    c->eos_token = config_int(r, "eos_token_id", 49407, 0, 1 << 24);
    int projected = config_int(r, "projection_dim", 512, 0, 65536);
    c->projection_channels = projection ? projected : 0;
}

kiln_status clip_text_config_parse(const char *json, size_t length, const char *name, clip_text_config *out,
                                   kiln_error *err)
{
    config_reader reader, *r = &reader;
    clip_text_config c = {0};
    *out = c;
    config_open(r, json, length, name, err);
    check_kind(r);
    if (r->status == KILN_OK) {
        bool projection = says_projection(r);
        json_t *nested = config_get(r, "text_config");
        if (nested && !json_is_object(nested))
            config_fail(r, KILN_BAD_FORMAT, "'text_config' must be an object");
        else if (nested)
            r->root = nested;
        read_fields(r, projection, &c);
    }
    kiln_status status = config_close(r);
    if (status == KILN_OK)
        status = check(&c, name, err);
    if (status == KILN_OK)
        *out = c;
    return status;
}

static void read_transformers(const tensor_finder *f, const char *place, clip_text_config *c)
{
    c->vocabulary = find_dim(f, 0, "%sembeddings.token_embedding.weight", place);
    c->width = find_dim(f, 1, "%sembeddings.token_embedding.weight", place);
    c->positions = find_dim(f, 0, "%sembeddings.position_embedding.weight", place);
    c->feed_forward = find_dim(f, 0, "%sencoder.layers.0.mlp.fc1.weight", place);
    while (c->layers < 512 && find_shape(f, "%sencoder.layers.%d.layer_norm1.weight", place, c->layers))
        c->layers++;
    c->projection_channels = find_dim(f, 0, "text_projection.weight");
    c->quick_gelu = true;
}

static void read_openclip(const tensor_finder *f, clip_text_config *c)
{
    c->vocabulary = find_dim(f, 0, "token_embedding.weight");
    c->width = find_dim(f, 1, "token_embedding.weight");
    c->positions = find_dim(f, 0, "positional_embedding");
    c->feed_forward = find_dim(f, 0, "transformer.resblocks.0.mlp.c_fc.weight");
    while (c->layers < 512 && find_shape(f, "transformer.resblocks.%d.ln_1.weight", c->layers))
        c->layers++;
    c->projection_channels = find_dim(f, 1, "text_projection");
}

kiln_status clip_text_config_from_tensors(const tensor_finder *f, int heads, clip_text_config *out,
                                          kiln_error *err)
{
    clip_text_config c = {.norm_epsilon = 1e-5f, .eos_token = 2};
    *out = (clip_text_config){0};
    if (find_shape(f, "text_model.embeddings.token_embedding.weight")) {
        c.dialect = CLIP_DIALECT_TRANSFORMERS;
        read_transformers(f, "text_model.", &c);
    } else if (find_shape(f, "embeddings.token_embedding.weight")) {
        c.dialect = CLIP_DIALECT_BARE;
        read_transformers(f, "", &c);
    } else {
        c.dialect = CLIP_DIALECT_OPENCLIP;
        read_openclip(f, &c);
    }
    if (!c.width || !c.positions || !c.layers || !c.feed_forward)
        return fail(err, KILN_NOT_FOUND,
                    "there is no CLIP text encoder here: its token or position embedding or its "
                    "first layer is missing");
    c.heads = heads > 0 ? heads : c.width >= 64 ? c.width / 64 : 1;
    kiln_status status = check(&c, "the text encoder's tensors", err);
    if (status == KILN_OK)
        *out = c;
    return status;
}
