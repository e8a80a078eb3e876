/* unet_config.c - the UNet's config.json: every field read, typed, ranged; what cannot be honoured refused by
 * name. */
#include "model/unet.h"

#include <string.h>

enum { MAX_CHANNELS = 16384 };

/* The words of a list of block types: 0 a plain block, 1 one with attention. */
static void read_blocks(config_reader *r, const char *field, int levels, const char *plain,
                        const char *attention, bool *out)
{
    json_t *list = config_get(r, field);
    if (!list || !json_is_array(list) || json_array_size(list) != (size_t)levels) {
        config_fail(r, KILN_BAD_FORMAT,
                    "'%s' must be a list of %d block names, one for each of block_out_channels", field,
                    levels);
        return;
    }
    for (int i = 0; i < levels; i++) {
        const char *word = json_string_value(json_array_get(list, (size_t)i));
        if (!word)
            config_fail(r, KILN_BAD_FORMAT, "'%s' must hold texts", field);
        else if (strcmp(word, plain) != 0 && strcmp(word, attention) != 0)
            config_fail(r, KILN_UNSUPPORTED, "'%s' holds '%.80s', which is not supported", field, word);
        else
            out[i] = strcmp(word, attention) == 0;
    }
}

/* One level's transformer blocks: a number for all its places, or a list with one for each. */
static void read_depth_level(config_reader *r, const char *field, const json_t *entry, int places, int *out)
{
    if (json_is_array(entry) && json_array_size(entry) != (size_t)places) {
        config_fail(r, KILN_UNSUPPORTED, "'%s' has a list of %zu numbers for %d transformers", field,
                    json_array_size(entry), places);
        return;
    }
    for (int j = 0; j < places; j++)
        out[j] = config_number(r, field, json_is_array(entry) ? json_array_get(entry, (size_t)j) : entry, 1,
                               UNET_MAX_DEPTH);
}

static const json_t *level_entry(const json_t *list, int i)
{
    return json_is_array(list) ? json_array_get(list, (size_t)i) : list;
}

static void check_depth_list(config_reader *r, const char *field, const json_t *list, int levels)
{
    if (list && !json_is_integer(list) && !(json_is_array(list) && json_array_size(list) == (size_t)levels))
        config_fail(r, KILN_BAD_FORMAT, "'%s' must be a whole number or a list of %d entries", field, levels);
}

static void read_middle_depth(config_reader *r, const char *field, const json_t *entry, unet_config *c)
{
    if (json_is_array(entry))
        entry = json_array_get(entry, 0);
    if (c->middle == UNET_MIDDLE_ATTENTION && entry)
        c->middle_depth = config_number(r, field, entry, 1, UNET_MAX_DEPTH);
}

/* transformer_layers_per_block: a number, a number per level, or a list per level with a number per place.
 * The way up takes it in reverse, unless reverse_transformer_layers_per_block is given. */
static void read_depth(config_reader *r, unet_config *c, const bool *down, const bool *up)
{
    static const char field[] = "transformer_layers_per_block",
                      reverse[] = "reverse_transformer_layers_per_block";
    const json_t *list = config_get(r, field), *back = config_get(r, reverse);
    json_t *one = json_integer(1);
    if (!one)
        config_fail(r, KILN_NO_MEMORY, "out of memory");
    check_depth_list(r, field, list, c->levels);
    check_depth_list(r, reverse, back, c->levels);
    list = list ? list : one;
    for (int i = 0; r->status == KILN_OK && i < c->levels; i++) {
        const json_t *entry = level_entry(list, i);
        int k = c->levels - 1 - i;
        if (down[i])
            read_depth_level(r, field, entry, c->layers[i], c->depth[i]);
        if (up[k] && !back && json_is_array(entry))
            config_fail(r, KILN_UNSUPPORTED, "'%s' has lists within lists, and '%s' is missing", field,
                        reverse);
        else if (up[k])
            read_depth_level(r, back ? reverse : field, back ? level_entry(back, k) : entry, c->layers[i] + 1,
                             c->up_depth[i]);
    }
    if (r->status == KILN_OK)
        read_middle_depth(r, field, level_entry(list, c->levels - 1), c);
    json_decref(one);
}

/* "attention_head_dim" is a misnomer that the published files rely on: it is the NUMBER of heads. The field
 * num_attention_heads, where somebody set it, says the same under its right name. */
static void read_heads(config_reader *r, unet_config *c)
{
    const char *field = config_get(r, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
    config_int_each(r, field, 8, c->levels, 1, 1024, c->heads);
}

static void read_structure(config_reader *r, unet_config *c)
{
    static const char *const middles[] = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D", NULL};
    bool down[UNET_MAX_LEVELS] = {false}, up[UNET_MAX_LEVELS] = {false};
    c->levels = config_int_list(r, "block_out_channels", UNET_MAX_LEVELS, 2, MAX_CHANNELS, c->channels);
    if (r->status != KILN_OK)
        return;
    config_int_each(r, "layers_per_block", 2, c->levels, 1, UNET_MAX_LAYERS, c->layers);
    read_blocks(r, "down_block_types", c->levels, "DownBlock2D", "CrossAttnDownBlock2D", down);
    read_blocks(r, "up_block_types", c->levels, "UpBlock2D", "CrossAttnUpBlock2D", up);
    c->middle = (unet_middle)config_word(r, "mid_block_type", UNET_MIDDLE_ATTENTION, middles);
    if (r->status != KILN_OK)
        return;
    if (json_is_null(json_object_get(r->root, "mid_block_type")))
        c->middle = UNET_MIDDLE_NONE;
    read_heads(r, c);
    read_depth(r, c, down, up);
    config_bool_each(r, "only_cross_attention", false, c->levels, c->only_cross_attention);
}

static void read_context(config_reader *r, unet_config *c)
{
    int each[UNET_MAX_LEVELS];
    config_int_each(r, "cross_attention_dim", 1280, c->levels, 1, MAX_CHANNELS, each);
    for (int i = 0; r->status == KILN_OK && i < c->levels; i++)
        if (each[i] != each[0])
            config_fail(r, KILN_UNSUPPORTED,
                        "'cross_attention_dim' differs between levels (%d and %d), which is "
                        "not supported",
                        each[0], each[i]);
    c->context_channels = each[0];
}

static void read_class(config_reader *r, unet_config *c)
{
    static const char *const kinds[] = {"timestep", "projection", "identity", NULL};
    static const unet_class meaning[] = {UNET_CLASS_TIMESTEP, UNET_CLASS_PROJECTION, UNET_CLASS_IDENTITY};
    int kind = config_word(r, "class_embed_type", -1, kinds);
    c->class_count = config_int(r, "num_class_embeds", 0, 1, 1 << 20);
    if (kind >= 0)
        c->class_kind = meaning[kind];
    else if (c->class_count)
        c->class_kind = UNET_CLASS_TABLE;
    if (c->class_kind != UNET_CLASS_PROJECTION)
        return;
    c->class_channels = config_int(r, "projection_class_embeddings_input_dim", 0, 1, 1 << 20);
    if (!c->class_channels)
        config_fail(r, KILN_BAD_FORMAT,
                    "'projection_class_embeddings_input_dim' is missing, and "
                    "class_embed_type is 'projection'");
}

static void read_added(config_reader *r, unet_config *c)
{
    static const char *const kinds[] = {"text_time", NULL};
    c->text_time = config_word(r, "addition_embed_type", -1, kinds) == 0;
    if (!c->text_time)
        return;
    c->added_time_channels = config_int(r, "addition_time_embed_dim", 0, 2, MAX_CHANNELS);
    c->added_channels = config_int(r, "projection_class_embeddings_input_dim", 0, 1, 1 << 20);
    if (!c->added_time_channels || !c->added_channels)
        config_fail(r, KILN_BAD_FORMAT, "'%s' is missing, and addition_embed_type is 'text_time'",
                    c->added_channels ? "addition_time_embed_dim" : "projection_class_embeddings_input_dim");
}

static void read_time(config_reader *r, unet_config *c)
{
    c->time_channels = config_int(r, "time_embedding_dim", c->channels[0] * 4, 1, MAX_CHANNELS * 4);
    c->cosine_first = config_bool(r, "flip_sin_to_cos", true);
    c->frequency_shift = (float)config_real(r, "freq_shift", 0.0, 0.0, 1.0);
    c->time_condition_channels = config_int(r, "time_cond_proj_dim", 0, 1, MAX_CHANNELS);
    config_only_word(r, "time_embedding_type", "positional");
    config_only_null(r, "time_embedding_act_fn");
    config_only_null(r, "timestep_post_act");
}

/* Fields of UNet2DConditionModel that other families use. */
static void refuse_others(config_reader *r)
{
    static const char *const activations[] = {"silu", "swish", NULL};
    config_word(r, "act_fn", 0, activations);
    config_only_word(r, "_class_name", "UNet2DConditionModel");
    config_only_word(r, "resnet_time_scale_shift", "default");
    config_only_word(r, "attention_type", "default");
    config_only_null(r, "cross_attention_norm");
    config_only_null(r, "encoder_hid_dim");
    config_only_null(r, "encoder_hid_dim_type");
    config_only_bool(r, "dual_cross_attention", false);
    config_only_bool(r, "class_embeddings_concat", false);
    config_only_bool(r, "resnet_skip_time_act", false);
    config_only_real(r, "resnet_out_scale_factor", 1.0);
    config_only_real(r, "mid_block_scale_factor", 1.0);
    config_bool(r, "upcast_attention", false); /* softmax is always f32 here */
}

/* A square kernel that keeps the size. */
static int read_kernel(config_reader *r, const char *field)
{
    return config_int(r, field, 3, 1, 15);
}

kiln_status unet_config_parse(const char *json, size_t length, const char *name, unet_config *out,
                              kiln_error *err)
{
    config_reader reader, *r = &reader;
    unet_config c = {0};
    *out = c;
    config_open(r, json, length, name, err);
    refuse_others(r);
    c.in_channels = config_int(r, "in_channels", 4, 1, 1024);
    c.out_channels = config_int(r, "out_channels", 4, 1, 1024);
    c.groups = config_int(r, "norm_num_groups", 32, 1, MAX_CHANNELS);
    c.norm_epsilon = (float)config_real(r, "norm_eps", 1e-5, 1e-12, 1.0);
    c.linear_projection = config_bool(r, "use_linear_projection", false);
    c.center_input = config_bool(r, "center_input_sample", false);
    c.conv_in_kernel = read_kernel(r, "conv_in_kernel");
    c.conv_out_kernel = read_kernel(r, "conv_out_kernel");
    c.downsample_padding = config_int(r, "downsample_padding", 1, 0, 1);
    read_structure(r, &c);
    if (r->status == KILN_OK) {
        int sizes[2];
        config_int_each(r, "sample_size", 64, json_is_array(config_get(r, "sample_size")) ? 2 : 1, 1, 65536,
                        sizes);
        c.sample_size = sizes[0];
        read_context(r, &c);
        read_time(r, &c);
        read_class(r, &c);
        read_added(r, &c);
    }
    kiln_status status = config_close(r);
    if (status == KILN_OK)
        status = unet_config_check(&c, name, err);
    if (status == KILN_OK)
        *out = c;
    return status;
}

static bool level_has_attention(const unet_config *c, int i)
{
    for (int j = 0; j <= c->layers[i]; j++)
        if (c->up_depth[i][j] || (j < c->layers[i] && c->depth[i][j]))
            return true;
    return i == c->levels - 1 && c->middle == UNET_MIDDLE_ATTENTION;
}

kiln_status unet_config_check(const unet_config *c, const char *name, kiln_error *err)
{
    if (c->conv_in_kernel % 2 == 0 || c->conv_in_kernel > 15 || c->conv_out_kernel % 2 == 0 ||
        c->conv_out_kernel > 15)
        return fail(err, KILN_UNSUPPORTED,
                    "%s: the kernels %d and %d of conv_in and conv_out must be odd, 15 at most", name,
                    c->conv_in_kernel, c->conv_out_kernel);
    if (c->channels[0] % 2)
        return fail(err, KILN_UNSUPPORTED, "%s: 'block_out_channels' starts with the odd number %d", name,
                    c->channels[0]);
    for (int i = 0; i < c->levels; i++) {
        if (c->channels[i] % c->groups)
            return fail(err, KILN_BAD_FORMAT,
                        "%s: 'block_out_channels' has %d, which 'norm_num_groups' %d does not "
                        "divide",
                        name, c->channels[i], c->groups);
        if (level_has_attention(c, i) && c->channels[i] % c->heads[i])
            return fail(err, KILN_BAD_FORMAT,
                        "%s: 'attention_head_dim' has %d heads, which do not divide the %d "
                        "channels of level %d",
                        name, c->heads[i], c->channels[i], i);
    }
    if (c->text_time && c->added_channels <= 5 * c->added_time_channels)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: 'projection_class_embeddings_input_dim' is %d, too few for the time "
                    "ids of %d each",
                    name, c->added_channels, c->added_time_channels);
    return KILN_OK;
}
