/* identify_adapters.c - LoRAs, textual inversions and hypernetworks; see identify.h. */
#include "formats/identify_parts.h"

#include <ctype.h>
#include <stdlib.h>

/* The first pattern that any name contains names the dialect; the "down" matrix is [rank, in, ...]. */
static const struct {
    const char *part, *dialect;
    bool down; /* the tensor is the down matrix */
} dialects[] = {
    {".hada_w1_a", "LoHa", false},
    {".lokr_w", "LoKr", false},
    {".oft_blocks", "OFT", false},
    {".oft_diag", "OFT", false},
    {".a1.weight", "GLoRA", false},
    {"_lora.down.weight", "diffusers attention processors", true},
    {".lora.down.weight", "diffusers", true},
    {".lora_linear_layer.down.weight", "diffusers", true},
    {".lora_A.", "PEFT", true},
    {"lora_down.weight", "kohya", true},
    {".on_input", "IA3", false},
    {":0:down", "cloneofsimo", true},
};

static const tensor_entry *containing(const tensor_file *file, const char *part)
{
    for (size_t i = 0; i < tensor_file_count(file); i++)
        if (strstr(tensor_file_entry(file, i)->name, part))
            return tensor_file_entry(file, i);
    return NULL;
}

/* LyCORIS' whole differences and norms, in a file that has nothing else. */
static const tensor_entry *whole_difference(const tensor_file *file)
{
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const char *name = tensor_file_entry(file, i)->name;
        if ((begins(name, "lora_") || begins(name, "lycoris_")) &&
            (ends(name, ".diff") || ends(name, ".w_norm")))
            return tensor_file_entry(file, i);
    }
    return NULL;
}

/* The width of the text that the adapted cross-attention reads. */
static int context_width(const tensor_file *file)
{
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        bool key =
            strstr(entry->name, "attn2") && (strstr(entry->name, "to_k") || strstr(entry->name, "to_v"));
        bool down =
            strstr(entry->name, "down") || strstr(entry->name, "lora_A") || strstr(entry->name, "w1_b");
        if (key && down && !strstr(entry->name, "down_blocks") && entry->shape.rank >= 2)
            return (int)entry->shape.dim[1];
        if (key && entry->shape.rank >= 2 &&
            (strstr(entry->name, "lora_down.") || strstr(entry->name, "lora.down.") ||
             strstr(entry->name, "lora_A.") || ends(entry->name, ".diff")))
            return (int)entry->shape.dim[1];
    }
    return 0;
}

/* What the trainer wrote, for LoRAs whose shapes do not tell. */
static void family_from_metadata(const tensor_file *file, identity *out)
{
    const char *base = tensor_file_metadata(file, "ss_base_model_version");
    const char *spec = tensor_file_metadata(file, "modelspec.architecture");
    const char *text = base ? base : spec ? spec : "";
    if (begins(text, "sd_v1") || begins(text, "stable-diffusion-v1"))
        identify_by_context(out, 768);
    else if (begins(text, "sd_v2") || begins(text, "stable-diffusion-v2"))
        identify_by_context(out, 1024);
    else if (begins(text, "sdxl") || begins(text, "stable-diffusion-xl"))
        identify_by_context(out, 2048);
    else if (*text) {
        out->family = WEIGHTS_FAMILY_OTHER;
        out->supported = false;
        SAY(family_text, "%.60s", text);
    }
}

static void family_from_names(const tensor_file *file, identity *out)
{
    static const struct {
        const char *part, *family;
    } names[] = {{"double_blocks", "FLUX.1"},
                 {"single_transformer_blocks", "FLUX.1"},
                 {"joint_blocks", "Stable Diffusion 3"},
                 {"add_k_proj", "Stable Diffusion 3 or FLUX.1"},
                 {"img_mod", "Qwen-Image"}};
    for (size_t i = 0; i < sizeof names / sizeof *names && !out->family; i++)
        if (containing(file, names[i].part)) {
            out->family = WEIGHTS_FAMILY_OTHER;
            out->supported = false;
            SAY(family_text, "%s", names[i].family);
        }
    if (out->family)
        return;
    if (containing(file, "lora_te2_") || containing(file, "text_encoder_2."))
        identify_by_context(out, 2048);
    /* cloneofsimo numbers the layers; only cross-attention reads text, so a width of text tells the family. */
    for (size_t i = 0; i < tensor_file_count(file) && !out->family; i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        bool reads = begins(entry->name, "unet:") && ends(entry->name, ":down") && entry->shape.rank >= 2;
        if (reads && (entry->shape.dim[1] == 768 || entry->shape.dim[1] == 1024))
            identify_by_context(out, (int)entry->shape.dim[1]);
    }
}

static bool identify_dialect(const tensor_file *file, identity *out)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        const tensor_entry *found = containing(file, dialects[i].part);
        if (!found)
            continue;
        SAY(dialect, "%s", dialects[i].dialect);
        if (dialects[i].down && found->shape.rank >= 2)
            out->rank = (int)found->shape.dim[0];
        return true;
    }
    if (!whole_difference(file))
        return false;
    SAY(dialect, "LyCORIS full");
    return true;
}

static bool identify_lora(const tensor_file *file, identity *out)
{
    if (!identify_dialect(file, out))
        return false;
    out->kind = WEIGHTS_LORA;
    out->supported = true;
    identify_by_context(out, context_width(file));
    if (!out->family)
        family_from_metadata(file, out);
    if (!out->family)
        family_from_names(file, out);
    out->has_unet = containing(file, "unet") || containing(file, "blocks");
    out->has_text_encoder = containing(file, "lora_te") || containing(file, "text_encoder");
    SAY(parts, "%s%s%s", out->has_unet ? "UNet" : "", out->has_unet && out->has_text_encoder ? ", " : "",
        out->has_text_encoder ? "text encoder" : "");
    char rank[32] = "";
    if (out->rank)
        snprintf(rank, sizeof rank, "rank %d", out->rank);
    SAY(detail, "%s%s%s", rank, containing(file, "dora_scale") ? ", DoRA" : "",
        containing(file, "<") ? ", with embeddings" : "");
    return true;
}

/* What the width of an embedding tells of its text encoder. */
static const char *embedding_family(int width)
{
    return width == 768    ? "Stable Diffusion 1.x"
           : width == 1024 ? "Stable Diffusion 2.x"
           : width == 1280 ? "OpenCLIP bigG or LDM-BERT"
           : width == 4096 ? "T5"
                           : NULL;
}

static void describe_inversion(identity *out, const tensor_entry *entry, const char *dialect)
{
    int rank = entry->shape.rank;
    out->kind = WEIGHTS_TEXTUAL_INVERSION;
    out->vectors = rank == 2 ? (int)entry->shape.dim[0] : 1;
    out->width = rank >= 1 ? (int)entry->shape.dim[rank - 1] : 0;
    out->supported = rank == 1 || rank == 2;
    out->family = out->width == 768    ? WEIGHTS_FAMILY_SD1
                  : out->width == 1024 ? WEIGHTS_FAMILY_SD2
                                       : WEIGHTS_FAMILY_OTHER;
    const char *family = embedding_family(out->width);
    SAY(family_text, "%s", family ? family : "unknown text encoder");
    SAY(dialect, "%s", dialect);
    SAY(detail, "%d vector%s of %d", out->vectors, out->vectors == 1 ? "" : "s", out->width);
}

static void describe_pair(identity *out, const tensor_entry *l, const tensor_entry *g, const char *dialect)
{
    describe_inversion(out, l, dialect);
    out->family = WEIGHTS_FAMILY_SDXL;
    SAY(family_text, "Stable Diffusion XL");
    int rank = g->shape.rank;
    SAY(detail, "%d vector%s of %d and %d", out->vectors, out->vectors == 1 ? "" : "s", out->width,
        rank ? (int)g->shape.dim[rank - 1] : 0);
}

/* diffusers: every tensor is one token's embedding, and its name is the token. */
static bool all_are_tokens(const tensor_file *file)
{
    size_t count = tensor_file_count(file);
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        int rank = entry->shape.rank;
        if (rank < 1 || rank > 2 || !dtype_is_floating(entry->type) ||
            !embedding_family((int)entry->shape.dim[rank - 1]) || (rank == 2 && entry->shape.dim[0] > 512))
            return false;
        /* Tokens are mostly "<like-this>"; one with a dot in it is the name of a parameter. */
        bool plain = count == 1 && !strchr(entry->name, '.') && strcmp(entry->name, "tensor") != 0;
        bool token = *entry->name == '<' || plain;
        if (!token)
            return false;
    }
    return count > 0;
}

static bool identify_inversion(const tensor_file *file, identity *out)
{
    const tensor_entry *l = tensor_file_find(file, "clip_l"), *g = tensor_file_find(file, "clip_g");
    if (l && g) {
        describe_pair(out, l, g, tensor_file_find(file, "t5xxl") ? "SD3" : "kohya SDXL");
        return true;
    }
    const tensor_entry *entry = tensor_file_find(file, "emb_params");
    if (entry) {
        describe_inversion(out, entry, "kohya");
        return true;
    }
    if ((entry = identify_like(file, "string_to_param.", ""))) {
        bool a1111 = tensor_file_value(file, "name") || tensor_file_value(file, "step");
        describe_inversion(out, entry, a1111 ? "A1111" : "original (textual_inversion)");
        return true;
    }
    l = identify_like(file, "", "emb");
    g = identify_like(file, "", "emb2");
    if (l && g && l->shape.rank == 1 && g->shape.rank == 1) {
        describe_pair(out, l, g, "XL-Textual-Inversion");
        return true;
    }
    if (!all_are_tokens(file))
        return false;
    describe_inversion(out, tensor_file_entry(file, 0), "diffusers");
    return true;
}

/* "<width>.0.linear..." and "<width>.1.linear...": the networks for keys and for values. */
static bool identify_hypernetwork(const tensor_file *file, identity *out)
{
    char widths[96] = "";
    long last = -1;
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const char *name = tensor_file_entry(file, i)->name;
        char *rest;
        long width = isdigit((unsigned char)*name) ? strtol(name, &rest, 10) : -1;
        if (width < 1 || (!begins(rest, ".0.linear") && !begins(rest, ".1.linear")))
            return false;
        size_t used = strlen(widths);
        if (width != last)
            snprintf(widths + used, sizeof widths - used, "%s%ld", used ? ", " : "", width);
        last = width;
        if (width == 768 || width == 1024 || width == 2048)
            identify_by_context(out, (int)width);
    }
    if (last < 0)
        return false;
    const char *activation = tensor_file_value(file, "activation_func");
    bool ours = !activation && (activation = tensor_file_metadata(file, "activation_func"));
    out->kind = WEIGHTS_HYPERNETWORK;
    out->supported = true;
    SAY(dialect, "%s", ours ? "Kiln" : "A1111");
    SAY(detail, "widths %s; activation %.24s", widths, activation ? activation : "linear");
    return true;
}

bool identify_adapter(const tensor_file *file, identity *out)
{
    return identify_lora(file, out) || identify_inversion(file, out) || identify_hypernetwork(file, out);
}
