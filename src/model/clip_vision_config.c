/* clip_vision_config.c - the vision encoder's config.json, and its shape told from a file's tensors. */
#include "model/clip_vision.h"

#include <string.h>

static kiln_status check(const clip_vision_config *c, const char *name, kiln_error *err)
{
    if (c->heads < 1 || c->width % c->heads)
        return fail(err, KILN_BAD_FORMAT, "%s: 'num_attention_heads' %d does not divide 'hidden_size' %d",
                    name, c->heads, c->width);
    if (c->image_size % c->patch)
        return fail(err, KILN_BAD_FORMAT, "%s: 'patch_size' %d does not divide 'image_size' %d", name,
                    c->patch, c->image_size);
    return KILN_OK;
}

/* A bare CLIPVisionModel has no projection; every other class has one. */
static bool says_projection(const config_reader *r)
{
    const json_t *list = json_object_get(r->root, "architectures");
    const char *word = json_string_value(json_array_get(list, 0));
    return !word || strcmp(word, "CLIPVisionModel") != 0;
}

static void read_fields(config_reader *r, int projection, clip_vision_config *c)
{
    static const char *const activations[] = {"quick_gelu", "gelu", NULL};
    c->image_size = config_int(r, "image_size", 224, 1, 4096);
    c->patch = config_int(r, "patch_size", 32, 1, 4096);
    c->width = config_int(r, "hidden_size", 768, 1, 65536);
    c->feed_forward = config_int(r, "intermediate_size", 3072, 1, 1 << 18);
    c->layers = config_int(r, "num_hidden_layers", 12, 1, 512);
    c->heads = config_int(r, "num_attention_heads", 12, 1, 1024);
    c->quick_gelu = config_word(r, "hidden_act", 0, activations) == 0;
    c->norm_epsilon = (float)config_real(r, "layer_norm_eps", 1e-5, 1e-12, 1.0);
    c->projection_channels = config_int(r, "projection_dim", projection, 0, 65536);
    if (config_int(r, "num_channels", 3, 1, 64) != 3)
        config_fail(r, KILN_UNSUPPORTED, "'num_channels' is not 3: pictures are RGB here");
}

kiln_status clip_vision_config_parse(const char *json, size_t length, const char *name,
                                     clip_vision_config *out, kiln_error *err)
{
    static const char *const kinds[] = {"clip_vision_model", "clip", NULL};
    config_reader reader, *r = &reader;
    clip_vision_config c = {0};
    *out = c;
    config_open(r, json, length, name, err);
    config_word(r, "model_type", 0, kinds);
    if (r->status == KILN_OK) {
        bool projected = says_projection(r);
        int outer = config_int(r, "projection_dim", 512, 0, 65536);
        json_t *nested = config_get(r, "vision_config");
        if (nested && !json_is_object(nested))
            config_fail(r, KILN_BAD_FORMAT, "'vision_config' must be an object");
        else if (nested)
            r->root = nested;
        read_fields(r, outer, &c);
        /* A whole model's own projection_dim counts, not the one that its vision_config repeats. */
        c.projection_channels = !projected ? 0 : nested ? outer : c.projection_channels;
    }
    kiln_status status = config_close(r);
    if (status == KILN_OK)
        status = check(&c, name, err);
    if (status == KILN_OK)
        *out = c;
    return status;
}

/* OpenAI's and Stability's encoders have heads of 64 channels, the larger of OpenCLIP have 16 heads: ViT-H 1280, g
 * 1408, bigG 1664. */
static int custom_heads(int width)
{
    if (width == 1280 || width == 1408 || width == 1664)
        return 16;
    return width >= 64 ? width / 64 : 1;
}

static int whole_root(int n)
{
    int root = 1;
    while ((root + 1) * (root + 1) <= n && root < 4096)
        root++;
    return root * root == n ? root : 0;
}

kiln_status clip_vision_config_from_tensors(const tensor_finder *f, bool openclip, int heads,
                                            clip_vision_config *out, kiln_error *err)
{
    const char *patches = openclip ? "conv1.weight" : "vision_model.embeddings.patch_embedding.weight";
    const char *positions =
        openclip ? "positional_embedding" : "vision_model.embeddings.position_embedding.weight";
    const char *first =
        openclip ? "transformer.resblocks.0.mlp.c_fc.weight" : "vision_model.encoder.layers.0.mlp.fc1.weight";
    const char *layer = openclip ? "transformer.resblocks.%d.ln_1.weight"
                                 : "vision_model.encoder.layers.%d.layer_norm1.weight";
    clip_vision_config c = {.norm_epsilon = 1e-5f};
    *out = c;
    c.width = find_dim(f, 0, "%s", patches);
    c.patch = find_dim(f, 2, "%s", patches);
    c.feed_forward = find_dim(f, 0, "%s", first);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    while (c.layers < 512 && find_shape(f, layer, c.layers))
        c.layers++;
#pragma GCC diagnostic pop
    int side = whole_root(find_dim(f, 0, "%s", positions) - 1);
    if (!c.width || !c.patch || !c.layers || !c.feed_forward || !side || c.patch > 4096)
        return fail(
            err, KILN_NOT_FOUND,
            "there is no CLIP vision encoder here: its patch or position embedding or its first layer "
            "is missing");
    c.image_size = side * c.patch;
    c.projection_channels = openclip ? find_dim(f, 1, "proj") : find_dim(f, 0, "visual_projection.weight");
    c.heads = heads > 0 ? heads : custom_heads(c.width);
    c.quick_gelu = c.width == 768 || c.width == 1024;
    kiln_status status = check(&c, "the vision encoder's tensors", err);
    *out = status == KILN_OK ? c : (clip_vision_config){0};
    return status;
}
