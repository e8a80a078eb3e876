/* identify_small.c - TAESD, VAE-approx, upscalers, and families that are only recognised; see identify.h. */
#include "formats/identify_parts.h"

#include <ctype.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------- small autoencoders */

/* The tensor "<prefix><n>.weight" of the largest n; NULL when there is none. */
static const tensor_entry *last_layer(const tensor_file *file, const char *prefix)
{
    const tensor_entry *last = NULL;
    long last_number = -1;
    size_t skip = strlen(prefix);
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        char *rest;
        if (!begins(entry->name, prefix) || !isdigit((unsigned char)entry->name[skip]))
            continue;
        long number = strtol(entry->name + skip, &rest, 10);
        if (number > last_number && strcmp(rest, ".weight") == 0 && entry->shape.rank == 4) {
            last = entry;
            last_number = number;
        }
    }
    return last;
}

static bool has_block(const tensor_file *file, const char *prefix)
{
    return identify_like(file, prefix, ".conv.0.weight") != NULL;
}

/* An encoder ends in the latent's channels, a decoder in 3 colours; an encoder begins with 3 colours. */
static bool taesd_half(const tensor_file *file, const char *prefix, identity *out)
{
    char name[64];
    const tensor_entry *last = last_layer(file, prefix);
    if (!last || !has_block(file, prefix))
        return false;
    snprintf(name, sizeof name, "%s0.weight", prefix);
    bool encoder = identify_dim(file, name, 1) == 3;
    snprintf(name, sizeof name, "%s1.weight", prefix);
    int first = identify_dim(file, name, 1);
    if (!first) {
        /* diffusers' decoder has no clamp layer in front. */
        snprintf(name, sizeof name, "%s0.weight", prefix);
        first = identify_dim(file, name, 1);
    }
    if (!encoder && last->shape.dim[0] != 3)
        return false;
    out->channels = encoder ? (int)last->shape.dim[0] : first;
    out->has_vae_encoder |= encoder;
    out->has_vae_decoder |= !encoder;
    return true;
}

static bool identify_taesd(const tensor_file *file, identity *out)
{
    static const char *const prefixes[] = {
        "", "encoder.layers.", "decoder.layers.", "taesd_encoder.", "taesd_decoder.", "encoder.", "decoder."};
    bool found = false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (taesd_half(file, prefixes[i], out)) {
            found = true;
            SAY(dialect, "%s", ends(prefixes[i], "layers.") ? "diffusers" : "original");
            out->diffusers_names |= ends(prefixes[i], "layers.");
        }
    if (!found)
        return false;
    bool pooled = identify_like(file, "", ".pool.0.weight") != NULL;
    out->kind = WEIGHTS_TAESD;
    out->supported = true;
    SAY(parts, "%s%s%s", out->has_vae_encoder ? "encoder" : "",
        out->has_vae_encoder && out->has_vae_decoder ? ", " : "", out->has_vae_decoder ? "decoder" : "");
    SAY(detail, "%d latent channels%s", out->channels, pooled ? ", pooled middle blocks" : "");
    return true;
}

static bool identify_vae_approx(const tensor_file *file, identity *out)
{
    if (identify_rank(file, "conv1.weight") != 4 || identify_rank(file, "conv8.weight") != 4 ||
        identify_dim(file, "conv1.weight", 2) != 7 || identify_dim(file, "conv8.weight", 0) != 3)
        return false;
    out->kind = WEIGHTS_VAE_APPROX;
    out->channels = identify_dim(file, "conv1.weight", 1);
    out->has_vae_decoder = out->supported = true;
    SAY(dialect, "A1111");
    SAY(detail, "%d latent channels", out->channels);
    return true;
}

/* ------------------------------------------------------------------------------------- upscalers */

/* A wrapper's prefix before every name, which loaders remove. */
static const char *upscaler_prefix(const tensor_file *file)
{
    static const char *const prefixes[] = {"module.", "netG."};
    for (size_t i = 0; i < 2; i++)
        if (tensor_file_count(file) && begins(tensor_file_entry(file, 0)->name, prefixes[i]))
            return prefixes[i];
    return "";
}

static int dim_under(const tensor_file *file, const char *prefix, const char *name, int axis)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return identify_dim(file, full, axis);
}

static void say_upscaler(identity *out, const char *family, const char *dialect, bool supported)
{
    out->kind = WEIGHTS_UPSCALER;
    out->supported = supported;
    SAY(family_text, "%s", family);
    SAY(dialect, "%s", dialect);
}

/* A pixel-unshuffle of 2 or 4 in front takes back as much of the scale. */
static int unshuffled(int scale, int in_channels)
{
    return in_channels == 12 ? scale / 2 : in_channels == 48 ? scale / 4 : scale;
}

static bool identify_esrgan(const tensor_file *file, const char *prefix, identity *out)
{
    static const struct {
        const char *first, *block, *dialect;
    } forms[] = {{"conv_first.weight", "body.0.rdb1.conv1.weight", "Real-ESRGAN"},
                 {"conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "BSRGAN"},
                 {"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "original"},
                 {"model.0.weight", "model.1.sub.0.RDB1.conv1x1.weight", "ESRGAN+"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int features = dim_under(file, prefix, forms[i].first, 0);
        if (!features || !dim_under(file, prefix, forms[i].block, 0))
            continue;
        int in_channels = dim_under(file, prefix, forms[i].first, 1);
        say_upscaler(out, "ESRGAN", forms[i].dialect, true);
        int scale = 1;
        char name[64];
        for (int n = 1; n <= 3; n++) {
            snprintf(name, sizeof name, i == 0 ? "conv_up%d.weight" : "upconv%d.weight", n);
            scale *= dim_under(file, prefix, name, 0) ? 2 : 1;
        }
        /* The old form numbers its layers: the last is 4, and 3 more for each enlargement by 2. */
        for (int n = 4; i >= 2 && n <= 13; n += 3) {
            snprintf(name, sizeof name, "model.%d.weight", n);
            if (dim_under(file, prefix, name, 0))
                break;
            scale *= 2;
        }
        out->scale = unshuffled(scale, in_channels);
        out->channels = in_channels;
        SAY(detail, "x%d, %d features", out->scale, features);
        return true;
    }
    return false;
}

/* SRVGGNetCompact: convolutions and PReLUs in one list, the last one with 3 scale^2 outputs. */
static bool identify_compact(const tensor_file *file, const char *prefix, identity *out)
{
    char full[64];
    snprintf(full, sizeof full, "%sbody.", prefix);
    const tensor_entry *last = last_layer(file, full);
    if (!last || !dim_under(file, prefix, "body.0.weight", 3) ||
        !dim_under(file, prefix, "body.1.weight", 0) || dim_under(file, prefix, "body.1.weight", 1))
        return false;
    int in_channels = dim_under(file, prefix, "body.0.weight", 1);
    if (!in_channels)
        return false;
    say_upscaler(out, "SRVGGNetCompact", "Real-ESRGAN", true);
    for (int scale = 1; scale <= 8; scale++)
        if (last->shape.dim[0] == (int64_t)in_channels * scale * scale)
            out->scale = scale;
    out->channels = in_channels;
    SAY(detail, "x%d, %d features", out->scale, dim_under(file, prefix, "body.0.weight", 0));
    return true;
}

static bool identify_upscaler(const tensor_file *file, identity *out)
{
    static const struct {
        const char *name, *family;
        bool supported;
    } others[] = {{"layers.0.residual_group.blocks.0.norm1.weight", "SwinIR", true},
                  {"layers.0.residual_group.blocks.0.attn.logit_scale", "Swin2SR", false},
                  {"layers.0.residual_group.blocks.0.conv_block.cab.0.weight", "HAT", false},
                  {"layers.0.blocks.0.attn.attns.0.rpe_biases", "DAT", true},
                  {"block_1.c1_r.sk.weight", "SPAN", true},
                  {"feats.1.lk.conv.weight", "RealPLKSR", true},
                  {"m_head.0.weight", "SCUNet", false},
                  {"residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "OmniSR", false}};
    const char *prefix = upscaler_prefix(file);
    if (identify_esrgan(file, prefix, out) || identify_compact(file, prefix, out))
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", prefix, others[i].name);
        if (tensor_file_find(file, full)) {
            /* HAT has SwinIR's names too. */
            bool hat = identify_like(file, prefix, "conv_block.cab.0.weight") != NULL;
            bool swin2 = identify_like(file, prefix, "attn.logit_scale") != NULL;
            say_upscaler(out,
                         hat && i == 0     ? "HAT"
                         : swin2 && i == 0 ? "Swin2SR"
                                           : others[i].family,
                         "", others[i].supported && !hat && !swin2);
            return true;
        }
    }
    return false;
}

bool identify_small(const tensor_file *file, identity *out)
{
    return identify_vae_approx(file, out) || identify_upscaler(file, out) || identify_taesd(file, out);
}

/* -------------------------------------------------------------------------------- other families */

/* The first match counts; names begin so after an optional "model.diffusion_model.". */
static const struct {
    const char *name, *family;
} other_families[] = {
    {"joint_blocks.0.context_block.", "Stable Diffusion 3"},
    {"distilled_guidance_layer.", "Chroma"},
    {"double_stream_modulation_img.lin.", "FLUX.2"},
    {"single_stream_modulation.lin.", "FLUX.2"},
    {"double_blocks.0.img_attn.norm.key_norm.scale", "FLUX.1"},
    {"single_transformer_blocks.0.", "FLUX.1 (diffusers)"},
    {"cap_embedder.0.weight", "Z-Image or Lumina 2"},
    {"txt_norm.weight", "Qwen-Image"},
    {"llm_adapter.blocks.0.cross_attn.q_proj.", "Anima"},
    {"txtfusion.projector", "Krea 2"},
    {"caption_projection.0.linear", "HiDream"},
    {"embed_image_indicator", "Ideogram 4"},
    {"layers.0.adaLN_sa_ln", "ERNIE-Image"},
    {"mlp_t5.0", "HunyuanDiT"},
    {"t_block.1", "PixArt"},
    {"double_layers.0.attn.w1q", "AuraFlow"},
    {"clip_txt_mapper.", "Stable Cascade"},
    {"head.modulation", "Wan"},
    {"adaln_single.emb.timestep_embedder.linear_1.bias", "LTX-Video or PixArt (diffusers)"},
};

/* "model.diffusion_model." is the prefix of single files; T5 and VAE parts lie beside it. */
static const char *bare(const char *name)
{
    static const char prefix[] = "model.diffusion_model.";
    return begins(name, prefix) ? name + sizeof prefix - 1 : name;
}

bool identify_other(const tensor_file *file, identity *out)
{
    size_t rows = sizeof other_families / sizeof *other_families;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < tensor_file_count(file); i++) {
            const tensor_entry *entry = tensor_file_entry(file, i);
            if (!begins(bare(entry->name), other_families[row].name))
                continue;
            out->kind = WEIGHTS_CHECKPOINT;
            out->family = WEIGHTS_FAMILY_OTHER;
            SAY(family_text, "%s", other_families[row].family);
            /* The width of the text encoder: Gemma 2 2B or Qwen3-4B. */
            if (begins(other_families[row].name, "cap_embedder") && entry->shape.rank == 1)
                SAY(family_text, "%s", entry->shape.dim[0] == 2304 ? "Lumina 2" : "Z-Image");
            SAY(detail, "recognised, but not supported");
            return true;
        }
    return false;
}
