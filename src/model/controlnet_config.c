/* controlnet_config.c - a ControlNet's config.json, and its shape told from a file's tensors. */
#include "model/controlnet.h"

#include "model/unet_parts.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ config.json */

static void read_hint(config_reader *r, controlnet_config *c)
{
    static const char *const orders[] = {"rgb", "bgr", NULL};
    static const int custom[] = {16, 32, 96, 256};
    c->hint_channels = config_int(r, "conditioning_channels", 3, 1, 64);
    c->bgr = config_word(r, "controlnet_conditioning_channel_order", 0, orders) == 1;
    c->global_pool = config_bool(r, "global_pool_conditions", false);
    if (config_get(r, "conditioning_embedding_out_channels")) {
        c->hint_levels =
            config_int_list(r, "conditioning_embedding_out_channels", CONTROLNET_MAX_HINT, 1, 16384, c->hint);
    } else {
        memcpy(c->hint, custom, sizeof custom);
        c->hint_levels = 4;
    }
    if (c->hint_channels != 3)
        config_fail(r, KILN_UNSUPPORTED, "'conditioning_channels' is %d: control pictures are RGB here",
                    c->hint_channels);
}

/* The rest is a UNet's: told as one, with the way up that mirrors the way down, it is read and checked as one. */
static char *as_unet(const json_t *document)
{
    static const char *const names[][2] = {{"DownBlock2D", "UpBlock2D"},
                                           {"CrossAttnDownBlock2D", "CrossAttnUpBlock2D"}};
    json_t *copy = json_copy((json_t *)document), *up = json_array();
    const json_t *down = json_object_get(document, "down_block_types");
    for (size_t i = json_array_size(down); i-- > 0;) {
        const char *word = json_string_value(json_array_get(down, i));
        for (int k = 0; word && k < 2; k++)
            if (strcmp(word, names[k][0]) == 0)
                json_array_append_new(up, json_string(names[k][1]));
    }
    json_object_set_new(copy, "up_block_types", up);
    json_object_set_new(copy, "_class_name", json_string("UNet2DConditionModel"));
    json_object_set_new(copy, "out_channels", json_integer(4));
    char *text = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
    json_decref(copy);
    return text;
}

kiln_status controlnet_config_parse(const char *json, size_t length, const char *name, controlnet_config *out,
                                    kiln_error *err)
{
    config_reader reader, *r = &reader;
    controlnet_config c = {0};
    *out = c;
    config_open(r, json, length, name, err);
    config_only_word(r, "_class_name", "ControlNetModel");
    read_hint(r, &c);
    char *text = r->status == KILN_OK ? as_unet(r->root) : NULL;
    if (r->status == KILN_OK && !text)
        config_fail(r, KILN_NO_MEMORY, "out of memory");
    kiln_status status = config_close(r);
    if (status == KILN_OK)
        status = unet_config_parse(text, strlen(text), name, &c.unet, err);
    free(text);
    if (status == KILN_OK)
        *out = c;
    return status;
}

/* ------------------------------------------------------------------------------------ told from tensors */

static int count_depth(const tensor_finder *f, int level, int j)
{
    int depth = 0;
    while (depth < UNET_MAX_DEPTH &&
           find_shape(f, "down_blocks.%d.attentions.%d.transformer_blocks.%d.norm1.weight", level, j, depth))
        depth++;
    return depth;
}

/* The way down in diffusers' names. */
static void walk_down(const tensor_finder *f, unet_config *c)
{
    for (int i = 0; i < UNET_MAX_LEVELS; i++) {
        int j = 0;
        for (; j < UNET_MAX_LAYERS; j++) {
            int channels = find_dim(f, 0, "down_blocks.%d.resnets.%d.conv1.weight", i, j);
            if (!channels)
                break;
            c->channels[i] = channels;
            c->depth[i][j] = count_depth(f, i, j);
            if (!c->depth[i][j])
                continue;
            const shape *projection = find_shape(f, "down_blocks.%d.attentions.%d.proj_in.weight", i, j);
            c->linear_projection = projection && projection->rank == 2;
            c->context_channels =
                find_dim(f, 1, "down_blocks.%d.attentions.%d.transformer_blocks.0.attn2.to_k.weight", i, j);
        }
        if (!j)
            return;
        c->layers[i] = j;
        c->levels = i + 1;
    }
}

static void read_middle(const tensor_finder *f, unet_config *c)
{
    while (c->middle_depth < UNET_MAX_DEPTH &&
           find_shape(f, "mid_block.attentions.0.transformer_blocks.%d.norm1.weight", c->middle_depth))
        c->middle_depth++;
    c->middle = c->middle_depth                                     ? UNET_MIDDLE_ATTENTION
                : find_shape(f, "mid_block.resnets.0.norm1.weight") ? UNET_MIDDLE_RESNET
                                                                    : UNET_MIDDLE_NONE;
    if (!c->context_channels)
        c->context_channels = find_dim(f, 1, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
}

static void read_diffusers(const tensor_finder *f, const unet_hints *hints, unet_config *c)
{
    c->in_channels = find_dim(f, 1, "conv_in.weight");
    c->conv_in_kernel = find_dim(f, 2, "conv_in.weight");
    c->time_channels = find_dim(f, 0, "time_embedding.linear_1.weight");
    walk_down(f, c);
    read_middle(f, c);
    c->added_channels = find_dim(f, 1, "add_embedding.linear_1.weight");
    c->text_time = c->added_channels > 0;
    if (c->text_time)
        c->added_time_channels = hints->added_time_channels ? hints->added_time_channels : 256;
    unet_custom_heads(hints, c);
}

/* The encoder's widths: its convolutions are numbered, two a level after the first. */
static void read_hint_encoder(const tensor_finder *f, bool original, controlnet_config *c)
{
    const char *first = original ? "input_hint_block.0.weight" : "controlnet_cond_embedding.conv_in.weight";
    c->hint_channels = find_dim(f, 1, "%s", first);
    c->hint[0] = find_dim(f, 0, "%s", first);
    c->hint_levels = c->hint[0] > 0;
    while (c->hint_levels && c->hint_levels < CONTROLNET_MAX_HINT) {
        int i = c->hint_levels - 1;
        int next = original ? find_dim(f, 0, "input_hint_block.%d.weight", 4 * i + 4)
                            : find_dim(f, 0, "controlnet_cond_embedding.blocks.%d.weight", 2 * i + 1);
        if (!next)
            break;
        c->hint[c->hint_levels++] = next;
    }
}

/* The way up that nobody draws has to pass the checks, too. */
static void mirror(unet_config *c)
{
    for (int i = 0; i < c->levels; i++)
        for (int j = 0; j <= c->layers[i]; j++)
            c->up_depth[i][j] = c->depth[i][j < c->layers[i] ? j : c->layers[i] - 1];
    c->out_channels = c->in_channels;
    c->conv_out_kernel = 3;
}

kiln_status controlnet_config_from_tensors(const tensor_finder *f, bool original, const unet_hints *hints,
                                           controlnet_config *out, kiln_error *err)
{
    static const unet_hints none = {0};
    controlnet_config c = {.unet = {.norm_epsilon = 1e-5f, .downsample_padding = 1, .cosine_first = true}};
    *out = (controlnet_config){0};
    hints = hints ? hints : &none;
    c.unet.groups = hints->groups ? hints->groups : 32;
    if (original)
        unet_read_way_down(f, hints, &c.unet);
    else
        read_diffusers(f, hints, &c.unet);
    read_hint_encoder(f, original, &c);
    if (c.unet.levels < 1 || !c.unet.in_channels || !c.unet.time_channels || !c.hint_levels)
        return fail(
            err, KILN_NOT_FOUND,
            "there is no ControlNet here: its first convolution, its time embedding, its picture encoder or "
            "its first level is missing");
    /* The smallest of SDXL look at no words at all. */
    if (!c.unet.context_channels && c.unet.text_time)
        c.unet.context_channels = 2048;
    if (!c.unet.context_channels || c.hint_channels != 3)
        return fail(err, KILN_UNSUPPORTED, "the ControlNet %s, which is not supported",
                    c.hint_channels != 3 ? "takes pictures that are not RGB" : "has no cross attention");
    mirror(&c.unet);
    kiln_status status = unet_config_check(&c.unet, "the ControlNet's tensors", err);
    if (status == KILN_OK)
        *out = c;
    return status;
}
