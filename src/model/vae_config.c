/* vae_config.c - the autoencoder's config.json, its presets, and its shape told from a checkpoint. */
#include "model/vae.h"

#include <string.h>

#define COMMON                                                                                               \
    .in_channels = 3, .out_channels = 3, .latent_channels = 4, .layers = 2, .groups = 32,                    \
    .quant_convolution = true, .post_quant_convolution = true, .middle_attention = true
#define FOUR_LEVELS .levels = 4, .channels = {128, 256, 512, 512}

const vae_config vae_sd = {COMMON, FOUR_LEVELS, .sample_size = 512, .scaling_factor = 0.18215f};
const vae_config vae_sdxl = {COMMON, FOUR_LEVELS, .sample_size = 1024, .scaling_factor = 0.13025f,
                             .force_upcast = true};
const vae_config vae_x4_upscaler = {COMMON, .levels = 3, .channels = {128, 256, 512}, .sample_size = 256,
                                    .scaling_factor = 0.08333f};

static kiln_status check(const vae_config *c, const char *name, kiln_error *err)
{
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] % c->groups)
            return fail(err, KILN_BAD_FORMAT,
                        "%s: 'block_out_channels' has %d, which 'norm_num_groups' %d does not "
                        "divide",
                        name, c->channels[i], c->groups);
    return KILN_OK;
}

static void check_blocks(config_reader *r, const char *field, int levels, const char *kind)
{
    const json_t *list = config_get(r, field);
    if (!list)
        return;
    if (!json_is_array(list) || json_array_size(list) != (size_t)levels) {
        config_fail(r, KILN_BAD_FORMAT,
                    "'%s' must be a list of %d block names, one for each of block_out_channels", field,
                    levels);
        return;
    }
    for (int i = 0; i < levels; i++) {
        const char *word = json_string_value(json_array_get(list, (size_t)i));
        if (!word || strcmp(word, kind) != 0)
            config_fail(r, KILN_UNSUPPORTED, "'%s' holds '%.80s'; only %s is supported", field,
                        word ? word : "something that is no text", kind);
    }
}

static void read_statistics(config_reader *r, vae_config *c)
{
    int means = config_real_list(r, "latents_mean", VAE_MAX_LATENT_CHANNELS, -1e6, 1e6, c->latents_mean);
    int deviations =
        config_real_list(r, "latents_std", VAE_MAX_LATENT_CHANNELS, 1e-6, 1e6, c->latents_deviation);
    if (r->status == KILN_OK && (means != deviations || (means && means != c->latent_channels)))
        config_fail(r, KILN_BAD_FORMAT,
                    "'latents_mean' and 'latents_std' have %d and %d entries for %d latent "
                    "channels",
                    means, deviations, c->latent_channels);
    c->statistics = means;
}

kiln_status vae_config_parse(const char *json, size_t length, const char *name, vae_config *out,
                             kiln_error *err)
{
    static const char *const activations[] = {"silu", "swish", NULL};
    config_reader reader, *r = &reader;
    vae_config c = {0};
    *out = c;
    config_open(r, json, length, name, err);
    config_only_word(r, "_class_name", "AutoencoderKL");
    config_word(r, "act_fn", 0, activations);
    c.in_channels = config_int(r, "in_channels", 3, 1, 1024);
    c.out_channels = config_int(r, "out_channels", 3, 1, 1024);
    c.latent_channels = config_int(r, "latent_channels", 4, 1, VAE_MAX_LATENT_CHANNELS);
    c.levels = config_int_list(r, "block_out_channels", VAE_MAX_LEVELS, 1, 16384, c.channels);
    c.layers = config_int(r, "layers_per_block", 1, 1, 64);
    c.groups = config_int(r, "norm_num_groups", 32, 1, 16384);
    c.sample_size = config_int(r, "sample_size", 512, 1, 65536);
    c.quant_convolution = config_bool(r, "use_quant_conv", true);
    c.post_quant_convolution = config_bool(r, "use_post_quant_conv", true);
    c.middle_attention = config_bool(r, "mid_block_add_attention", true);
    c.force_upcast = config_bool(r, "force_upcast", true);
    c.scaling_factor = (float)config_real(r, "scaling_factor", 0.18215, 1e-6, 1e6);
    c.shift_factor = (float)config_real(r, "shift_factor", 0.0, -1e6, 1e6);
    if (r->status == KILN_OK) {
        check_blocks(r, "down_block_types", c.levels, "DownEncoderBlock2D");
        check_blocks(r, "up_block_types", c.levels, "UpDecoderBlock2D");
        read_statistics(r, &c);
    }
    kiln_status status = config_close(r);
    if (status == KILN_OK)
        status = check(&c, name, err);
    if (status == KILN_OK)
        *out = c;
    return status;
}

kiln_status vae_config_from_tensors(const tensor_finder *f, float scaling_factor, int groups, vae_config *out,
                                    kiln_error *err)
{
    vae_config c = {.sample_size = 512};
    *out = (vae_config){0};
    c.scaling_factor = scaling_factor > 0.0f ? scaling_factor : vae_sd.scaling_factor;
    c.groups = groups > 0 ? groups : 32;
    c.latent_channels = find_dim(f, 1, "decoder.conv_in.weight");
    c.out_channels = find_dim(f, 0, "decoder.conv_out.weight");
    c.in_channels = find_dim(f, 1, "encoder.conv_in.weight");
    if (!c.in_channels)
        c.in_channels = c.out_channels;
    c.quant_convolution = find_shape(f, "quant_conv.weight") != NULL;
    c.post_quant_convolution = find_shape(f, "post_quant_conv.weight") != NULL;
    c.middle_attention = find_shape(f, "decoder.mid.attn_1.q.weight") != NULL;
    while (c.levels < VAE_MAX_LEVELS && find_shape(f, "decoder.up.%d.block.0.conv1.weight", c.levels)) {
        c.channels[c.levels] = find_dim(f, 0, "decoder.up.%d.block.0.conv1.weight", c.levels);
        c.levels++;
    }
    int up = 0;
    while (up < 65 && find_shape(f, "decoder.up.0.block.%d.conv1.weight", up))
        up++;
    c.layers = up - 1;
    if (!c.latent_channels || !c.out_channels || c.levels < 1 || c.layers < 1)
        return fail(err, KILN_NOT_FOUND,
                    "there is no VAE here: 'decoder.conv_in.weight' or the decoder's blocks are "
                    "missing");
    if (c.latent_channels > VAE_MAX_LATENT_CHANNELS)
        return fail(err, KILN_UNSUPPORTED, "the VAE has %d latent channels; at most %d are supported",
                    c.latent_channels, (int)VAE_MAX_LATENT_CHANNELS);
    kiln_status status = check(&c, "the VAE's tensors", err);
    if (status == KILN_OK)
        *out = c;
    return status;
}
