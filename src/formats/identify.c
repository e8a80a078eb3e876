/* identify.c - see identify.h: checkpoints, UNets, VAEs, text encoders, ControlNets. */
#include "formats/identify_parts.h"

const char *weights_kind_text(weights_kind kind)
{
    static const char *const texts[] = {
#define KIND_TEXT(name, text) text,
        WEIGHTS_KIND_MAP(KIND_TEXT)
#undef KIND_TEXT
    };
    return (size_t)kind < sizeof texts / sizeof *texts ? texts[kind] : "unknown";
}

int identify_rank(const tensor_file *file, const char *name)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    return entry ? entry->shape.rank : -1;
}

int identify_dim(const tensor_file *file, const char *name, int axis)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    bool there = entry && axis < entry->shape.rank && entry->shape.dim[axis] <= INT32_MAX;
    return there ? (int)entry->shape.dim[axis] : 0;
}

const tensor_entry *identify_like(const tensor_file *file, const char *begin, const char *end)
{
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        if (begins(entry->name, begin) && ends(entry->name, end))
            return entry;
    }
    return NULL;
}

static bool any(const tensor_file *file, const char *begin)
{
    return identify_like(file, begin, "") != NULL;
}

void identify_by_context(identity *out, int width)
{
    static const struct {
        int width;
        weights_family family;
        const char *text;
    } families[] = {{768, WEIGHTS_FAMILY_SD1, "Stable Diffusion 1.x"},
                    {1024, WEIGHTS_FAMILY_SD2, "Stable Diffusion 2.x"},
                    {2048, WEIGHTS_FAMILY_SDXL, "Stable Diffusion XL"},
                    {1280, WEIGHTS_FAMILY_SDXL_REFINER, "Stable Diffusion XL refiner"}};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i].width == width) {
            out->family = families[i].family;
            SAY(family_text, "%s", families[i].text);
        }
}

/* What is told by the UNet: names are those of the original code below `prefix`, or of diffusers. */
typedef struct unet_facts {
    int in_channels, out_channels, context,
        labels; /* labels: width of the added embedding, or number of classes */
    bool linear_projection, class_labels;
} unet_facts;

static unet_facts original_unet(const tensor_file *file, const char *prefix)
{
    char name[128];
    unet_facts facts = {0};
    snprintf(name, sizeof name, "%sinput_blocks.0.0.weight", prefix);
    facts.in_channels = identify_dim(file, name, 1);
    snprintf(name, sizeof name, "%sout.2.weight", prefix);
    facts.out_channels = identify_dim(file, name, 0);
    snprintf(name, sizeof name, "%slabel_emb.0.0.weight", prefix);
    facts.labels = identify_dim(file, name, 1);
    snprintf(name, sizeof name, "%slabel_emb.weight", prefix);
    facts.class_labels = tensor_file_find(file, name) != NULL;
    const tensor_entry *key = identify_like(file, prefix, "attn2.to_k.weight");
    facts.context = key && key->shape.rank == 2 ? (int)key->shape.dim[1] : 0;
    const tensor_entry *projection = identify_like(file, prefix, "proj_in.weight");
    facts.linear_projection = projection && projection->shape.rank == 2;
    return facts;
}

static unet_facts diffusers_unet(const tensor_file *file)
{
    unet_facts facts = {.in_channels = identify_dim(file, "conv_in.weight", 1),
                        .out_channels = identify_dim(file, "conv_out.weight", 0),
                        .labels = identify_dim(file, "add_embedding.linear_1.weight", 1),
                        .class_labels = tensor_file_find(file, "class_embedding.weight") != NULL};
    const tensor_entry *key = identify_like(file, "", "attn2.to_k.weight");
    facts.context = key && key->shape.rank == 2 ? (int)key->shape.dim[1] : 0;
    const tensor_entry *projection = identify_like(file, "", "proj_in.weight");
    facts.linear_projection = projection && projection->shape.rank == 2;
    return facts;
}

static void name_family(identity *out, weights_family family, const char *text)
{
    out->family = family;
    SAY(family_text, "%s", text);
}

/* The structure decides; widths only where structures agree (a test model has other widths). */
static void family_of_unet(const tensor_file *file, const unet_facts *facts, identity *out)
{
    bool two_encoders = any(file, "conditioner.embedders.1.");
    bool pixels = facts->in_channels == 3 && facts->out_channels == 3;
    bool large = two_encoders || facts->context == 2048 || facts->labels == 2816;
    if (pixels)
        name_family(out, WEIGHTS_FAMILY_OTHER, "pixel-space diffusion");
    else if (facts->class_labels && facts->in_channels == 7)
        name_family(out, WEIGHTS_FAMILY_UPSCALER_X4, "Stable Diffusion x4 upscaler");
    else if (facts->context == 1280 ||
             (any(file, "conditioner.embedders.0.model.") && !two_encoders && facts->labels == 2560))
        name_family(out, WEIGHTS_FAMILY_SDXL_REFINER, "Stable Diffusion XL refiner");
    else if (!large && facts->labels && any(file, "embedder.model."))
        name_family(out, WEIGHTS_FAMILY_SD2, "Stable Diffusion 2.1 unCLIP");
    else if (large || facts->labels)
        name_family(out, WEIGHTS_FAMILY_SDXL, "Stable Diffusion XL");
    else if (facts->linear_projection)
        name_family(out, WEIGHTS_FAMILY_SD2, "Stable Diffusion 2.x");
    else
        name_family(out, WEIGHTS_FAMILY_SD1, "Stable Diffusion 1.x");
    out->supported =
        pixels || (out->family != WEIGHTS_FAMILY_OTHER && out->family != WEIGHTS_FAMILY_SDXL_REFINER);
    out->channels = facts->in_channels;
    const char *variant = "";
    if (out->family != WEIGHTS_FAMILY_UPSCALER_X4 && facts->in_channels == 9)
        variant = " inpainting";
    else if (out->family != WEIGHTS_FAMILY_UPSCALER_X4 && facts->in_channels == 8 && facts->out_channels != 8)
        variant = " InstructPix2Pix";
    else if (out->family == WEIGHTS_FAMILY_SD2 && facts->in_channels == 5)
        variant = " depth";
    out->inpainting = strcmp(variant, " inpainting") == 0;
    out->edits_images = strcmp(variant, " InstructPix2Pix") == 0;
    if (strcmp(variant, " depth") == 0)
        out->supported = false;
    size_t used = strlen(out->family_text);
    snprintf(out->family_text + used, sizeof out->family_text - used, "%s", variant);
}

static void say_prediction(identity *out, weights_prediction prediction, const char *text)
{
    out->prediction = prediction;
    SAY(prediction_text, "%s", text);
}

static void prediction_of(const tensor_file *file, identity *out)
{
    const char *told = tensor_file_metadata(file, "modelspec.prediction_type");
    const char *architecture = tensor_file_metadata(file, "modelspec.architecture");
    const char *base = tensor_file_metadata(file, "ss_base_model_version");
    bool told_v = told && (strcmp(told, "v") == 0 || strcmp(told, "v_prediction") == 0),
         told_epsilon = told && begins(told, "eps"),
         named_v = (architecture && strstr(architecture, "-768-v")) || (base && strstr(base, "_768_v"));
    out->zero_snr = tensor_file_find(file, "ztsnr") != NULL;
    if (tensor_file_find(file, "edm_mean") || tensor_file_find(file, "edm_vpred.sigma_max")) {
        say_prediction(out, WEIGHTS_PREDICTION_UNKNOWN, "EDM (not supported)");
        out->supported = false;
    } else if (tensor_file_find(file, "v_pred"))
        say_prediction(out, WEIGHTS_PREDICTION_V,
                       out->zero_snr ? "v, zero terminal SNR (marked in the file)"
                                     : "v (marked in the file)");
    else if (told_v || (named_v && !told_epsilon))
        say_prediction(out, WEIGHTS_PREDICTION_V, "v (from the metadata)");
    else if (told_epsilon)
        say_prediction(out, WEIGHTS_PREDICTION_EPSILON, "epsilon (from the metadata)");
    else if (out->family == WEIGHTS_FAMILY_UPSCALER_X4)
        say_prediction(out, WEIGHTS_PREDICTION_V, "v");
    else if (out->family == WEIGHTS_FAMILY_SD2 && !out->inpainting && out->channels == 4)
        say_prediction(out, WEIGHTS_PREDICTION_UNKNOWN,
                       "not recorded in the file (v for 768-v models, else epsilon)");
    else if (out->family == WEIGHTS_FAMILY_SDXL)
        say_prediction(out, WEIGHTS_PREDICTION_EPSILON, "epsilon (nothing in the file says v)");
    else if (out->family != WEIGHTS_FAMILY_NONE && out->family != WEIGHTS_FAMILY_OTHER)
        say_prediction(out, WEIGHTS_PREDICTION_EPSILON, "epsilon");
}

static void list_part(char *list, size_t size, const char *part)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", part);
}

static void part(identity *out, bool there, const char *name)
{
    if (there)
        list_part(out->parts, sizeof out->parts, name);
    else
        list_part(out->missing, sizeof out->missing, name);
}

static void find_parts(const tensor_file *file, identity *out)
{
    out->has_vae_encoder = tensor_file_find(file, "first_stage_model.encoder.conv_in.weight") != NULL;
    out->has_vae_decoder = tensor_file_find(file, "first_stage_model.decoder.conv_in.weight") != NULL;
    out->has_text_encoder = any(file, "cond_stage_model.") || any(file, "conditioner.embedders.0.");
    out->has_text_encoder_2 = any(file, "conditioner.embedders.1.");
    out->has_ema = any(file, "model_ema.");
    part(out, out->has_unet, "UNet");
    if (out->has_vae_encoder != out->has_vae_decoder) {
        part(out, out->has_vae_encoder, "VAE encoder");
        part(out, out->has_vae_decoder, "VAE decoder");
    } else {
        part(out, out->has_vae_encoder, "VAE");
    }
    if (out->family == WEIGHTS_FAMILY_SDXL) {
        part(out, out->has_text_encoder, "text encoder 1");
        part(out, out->has_text_encoder_2, "text encoder 2");
    } else {
        part(out, out->has_text_encoder, "text encoder");
    }
    if (out->has_ema)
        list_part(out->parts, sizeof out->parts, "EMA copy");
}

static bool identify_checkpoint(const tensor_file *file, identity *out)
{
    static const char prefix[] = "model.diffusion_model.";
    bool whole = tensor_file_find(file, "model.diffusion_model.input_blocks.0.0.weight") != NULL;
    if (!whole && !tensor_file_find(file, "input_blocks.0.0.weight"))
        return false;
    unet_facts facts = original_unet(file, whole ? prefix : "");
    out->kind = whole ? WEIGHTS_CHECKPOINT : WEIGHTS_UNET;
    out->has_unet = true;
    SAY(dialect, "original");
    family_of_unet(file, &facts, out);
    if (whole)
        find_parts(file, out);
    else
        SAY(parts, "UNet");
    prediction_of(file, out);
    return true;
}

static bool identify_diffusers_unet(const tensor_file *file, identity *out)
{
    if (!tensor_file_find(file, "conv_in.weight") ||
        !tensor_file_find(file, "time_embedding.linear_1.weight"))
        return false;
    unet_facts facts = diffusers_unet(file);
    out->kind = WEIGHTS_UNET;
    out->has_unet = out->diffusers_names = true;
    SAY(dialect, "diffusers");
    SAY(parts, "UNet");
    family_of_unet(file, &facts, out);
    prediction_of(file, out);
    return true;
}

static bool identify_vae(const tensor_file *file, identity *out)
{
    const char *prefix = any(file, "first_stage_model.") ? "first_stage_model." : "";
    char name[96];
    snprintf(name, sizeof name, "%sdecoder.conv_in.weight", prefix);
    out->has_vae_decoder = identify_rank(file, name) == 4;
    out->channels = identify_dim(file, name, 1);
    snprintf(name, sizeof name, "%sencoder.conv_out.weight", prefix);
    out->has_vae_encoder = identify_rank(file, name) == 4;
    if (!out->channels)
        out->channels = identify_dim(file, name, 0) / 2;
    if (!out->has_vae_decoder && !out->has_vae_encoder)
        return false;
    out->kind = WEIGHTS_VAE;
    out->diffusers_names = any(file, "decoder.mid_block.") || any(file, "encoder.mid_block.");
    out->supported = out->channels == 4;
    SAY(dialect, "%s", out->diffusers_names ? "diffusers" : "original");
    part(out, out->has_vae_encoder, "VAE encoder");
    part(out, out->has_vae_decoder, "VAE decoder");
    SAY(detail, "%d latent channels", out->channels);
    return true;
}

static bool identify_text_encoder(const tensor_file *file, identity *out)
{
    static const struct {
        const char *name, *dialect;
        int axis;
    } embeddings[] = {{"text_model.embeddings.token_embedding.weight", "transformers", 1},
                      {"transformer.text_model.embeddings.token_embedding.weight", "transformers", 1},
                      {"token_embedding.weight", "OpenCLIP", 1},
                      {"model.token_embedding.weight", "OpenCLIP", 1},
                      {"shared.weight", "T5", 1}};
    for (size_t i = 0; i < sizeof embeddings / sizeof *embeddings; i++) {
        int width = identify_dim(file, embeddings[i].name, embeddings[i].axis);
        if (!width)
            continue;
        bool t5 = strcmp(embeddings[i].dialect, "T5") == 0;
        out->kind = WEIGHTS_TEXT_ENCODER;
        out->has_text_encoder = true;
        out->supported = !t5;
        out->width = width;
        out->diffusers_names = begins(embeddings[i].name, "text_model.");
        SAY(dialect, "%s", embeddings[i].dialect);
        SAY(family_text, "%s",
            t5              ? "T5"
            : width == 768  ? "CLIP ViT-L"
            : width == 1024 ? "OpenCLIP ViT-H"
            : width == 1280 ? "OpenCLIP ViT-bigG"
                            : "CLIP");
        SAY(detail, "width %d%s", width,
            any(file, "vision_model.") || any(file, "visual.") ? ", with a vision encoder" : "");
        return true;
    }
    return false;
}

static bool identify_controlnet(const tensor_file *file, identity *out)
{
    bool original = any(file, "control_model.input_hint_block.") || any(file, "input_hint_block.");
    bool diffusers = any(file, "controlnet_cond_embedding.");
    if (!original && !diffusers)
        return false;
    out->kind = WEIGHTS_CONTROLNET;
    out->diffusers_names = diffusers;
    SAY(dialect, "%s", diffusers ? "diffusers" : "original");
    out->supported =
        !identify_like(file, "control_add_embedding.", "") && !identify_like(file, "task_embedding", "");
    const tensor_entry *key = identify_like(file, "", "attn2.to_k.weight");
    if (key && key->shape.rank == 2)
        identify_by_context(out, (int)key->shape.dim[1]);
    return true;
}

void identify(const tensor_file *file, identity *out)
{
    memset(out, 0, sizeof *out);
    /* Adapters first: their names contain those of what they adapt. */
    if (identify_adapter(file, out) || identify_controlnet(file, out) || identify_checkpoint(file, out) ||
        identify_diffusers_unet(file, out) || identify_other(file, out) || identify_small(file, out) ||
        identify_vae(file, out) || identify_text_encoder(file, out) || identify_vision(file, out))
        return;
    out->kind = WEIGHTS_UNKNOWN;
    if (tensor_file_count(file) == 0)
        SAY(detail, "the file holds no tensors");
    else
        SAY(detail, "%zu tensor%s of no known kind", tensor_file_count(file),
            tensor_file_count(file) == 1 ? "" : "s");
}
