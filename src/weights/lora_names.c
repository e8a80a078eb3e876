/* lora_names.c - the names of LoRA tensors in all dialects: what a tensor is, and of which module.
 *
 *   kohya                    lora_unet_<module>.lora_down.weight, lora_te_, for SDXL lora_te1_ and lora_te2_
 *   diffusers                unet.<module>.lora.down.weight, text_encoder., text_encoder_2.
 *   ... of attention layers  <attention>.processor.to_q_lora.down.weight
 *   PEFT                     unet.<module>.lora_A.weight, also below base_model.model.
 *   cloneofsimo              unet:12:down, numbered in the order in which torch walks through the attention layers
 *   LyCORIS                  lora_unet_<module>.hada_w1_a, .lokr_w1, .diff, ...; lycoris_<module>
 *
 * Modules are told apart after every dot has become '_', so that one comparison serves all of them. */
#include "weights/lora_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, size_t length, const char *with)
{
    size_t n = strlen(with);
    return length > n && memcmp(text + length - n, with, n) == 0;
}

/* Longer endings before those that they end with. */
static const struct {
    const char *end;
    lora_role role;
} endings[] = {
    {".lora_down.weight", LORA_DOWN},
    {".lora_up.weight", LORA_UP},
    {".lora_mid.weight", LORA_MID},
    {".lora_linear_layer.down.weight", LORA_DOWN},
    {".lora_linear_layer.up.weight", LORA_UP},
    {".lora.down.weight", LORA_DOWN},
    {".lora.up.weight", LORA_UP},
    {"_lora.down.weight", LORA_DOWN},
    {"_lora.up.weight", LORA_UP},
    {"_lora_down.weight", LORA_DOWN},
    {"_lora_up.weight", LORA_UP},
    {".lora_A.weight", LORA_DOWN},
    {".lora_B.weight", LORA_UP},
    {".lora_A.default.weight", LORA_DOWN},
    {".lora_B.default.weight", LORA_UP},
    {".lora_magnitude_vector.default.weight", LORA_OUTPUT_MAGNITUDE},
    {".lora_magnitude_vector.weight", LORA_OUTPUT_MAGNITUDE},
    {".lora_magnitude_vector", LORA_OUTPUT_MAGNITUDE},
    {".dora_scale", LORA_MAGNITUDE},
    {".alpha", LORA_ALPHA},
    {".hada_w1_a", LORA_W1_A},
    {".hada_w1_b", LORA_W1_B},
    {".hada_w2_a", LORA_W2_A},
    {".hada_w2_b", LORA_W2_B},
    {".hada_t1", LORA_T1},
    {".hada_t2", LORA_T2},
    {".lokr_w1", LORA_W1},
    {".lokr_w2", LORA_W2},
    {".lokr_w1_a", LORA_KRONECKER_W1_A},
    {".lokr_w1_b", LORA_KRONECKER_W1_B},
    {".lokr_w2_a", LORA_KRONECKER_W2_A},
    {".lokr_w2_b", LORA_KRONECKER_W2_B},
    {".lokr_t2", LORA_KRONECKER_T2},
    {".diff", LORA_DIFFERENCE},
    {".diff_b", LORA_BIAS_DIFFERENCE},
    {".w_norm", LORA_DIFFERENCE},
    {".b_norm", LORA_BIAS_DIFFERENCE},
    {".on_input", LORA_ON_INPUT},
    {".a1.weight", LORA_A1},
    {".a2.weight", LORA_A2},
    {".b1.weight", LORA_B1},
    {".b2.weight", LORA_B2},
    {".oft_blocks", LORA_BLOCKS},
    {".rescale", LORA_RESCALE},
    {".weight", LORA_SCALE},
};

/* The longest beginning that fits counts. */
static const struct {
    const char *begin;
    lora_network network;
} beginnings[] = {
    {"lora_unet_", LORA_UNET},    {"lycoris_", LORA_UNET},          {"lora_te_", LORA_TEXT},
    {"lora_te1_", LORA_TEXT},     {"lora_te2_", LORA_TEXT_2},       {"unet.", LORA_UNET},
    {"text_encoder.", LORA_TEXT}, {"text_encoder_2.", LORA_TEXT_2}, {"diffusion_model.", LORA_UNET},
};

static const struct {
    const char *part, *what;
} unsupported[] = {
    {".oft_diag", "OFT of early LyCORIS"},
    {".oft_r", "PEFT's OFT"},
    {".oft_R", "PEFT's OFT"},
    {".boft_", "PEFT's BOFT"},
    {"lora_te3_", "Stable Diffusion 3 or FLUX.1"},
    {"double_blocks", "FLUX.1"},
    {"single_blocks", "FLUX.1"},
    {"joint_blocks", "Stable Diffusion 3"},
    {"lora_transformer_", "a diffusion transformer"},
    {"lora_prior_", "Stable Cascade or Würstchen"},
};

bool lora_flatten(const char *name, size_t length, char out[LORA_NAME])
{
    if (length >= LORA_NAME)
        return false;
    for (size_t i = 0; i < length; i++)
        out[i] = name[i] == '.' ? '_' : name[i];
    out[length] = '\0';
    return true;
}

/* Where torch finds layer `index` of cloneofsimo's LoRA: 9 in every transformer block of a UNet, on the way down, then on the
 * way up, and the middle last, since it is registered last; 4 in every layer of a text encoder. */
static bool numbered_unet(long index, char out[LORA_NAME])
{
    static const char *const leaves[9] = {"attn1_to_q",     "attn1_to_k",    "attn1_to_v",
                                          "attn1_to_out_0", "ff_net_0_proj", "attn2_to_q",
                                          "attn2_to_k",     "attn2_to_v",    "attn2_to_out_0"};
    /* Stable Diffusion 1 and 2, the only models that this dialect was used with. */
    static const char *const places[16] = {
        "down_blocks_0_attentions_0", "down_blocks_0_attentions_1", "down_blocks_1_attentions_0",
        "down_blocks_1_attentions_1", "down_blocks_2_attentions_0", "down_blocks_2_attentions_1",
        "up_blocks_1_attentions_0",   "up_blocks_1_attentions_1",   "up_blocks_1_attentions_2",
        "up_blocks_2_attentions_0",   "up_blocks_2_attentions_1",   "up_blocks_2_attentions_2",
        "up_blocks_3_attentions_0",   "up_blocks_3_attentions_1",   "up_blocks_3_attentions_2",
        "mid_block_attentions_0"};
    if (index >= 9 * 16)
        return false;
    snprintf(out, LORA_NAME, "%s_transformer_blocks_0_%s", places[index / 9], leaves[index % 9]);
    return true;
}

static bool numbered_text(long index, char out[LORA_NAME])
{
    static const char *const leaves[4] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    snprintf(out, LORA_NAME, "text_model_encoder_layers_%ld_self_attn_%s", index / 4, leaves[index % 4]);
    return true;
}

static bool numbered_key(const char *name, lora_key *out)
{
    bool text = begins(name, "text_encoder:");
    if (!text && !begins(name, "unet:"))
        return false;
    char *end;
    long index = strtol(strchr(name, ':') + 1, &end, 10);
    bool down = strcmp(end, ":down") == 0;
    if (index < 0 || index > 100000 || (!down && strcmp(end, ":up") != 0))
        return false;
    out->network = text ? LORA_TEXT : LORA_UNET;
    out->role = down ? LORA_DOWN : LORA_UP;
    return text ? numbered_text(index, out->module) : numbered_unet(index, out->module);
}

static bool is_embedding(const char *name)
{
    return begins(name, "bundle_emb.") || begins(name, "string_to_param") || *name == '<' ||
           strcmp(name, "emb_params") == 0 || strcmp(name, "clip_l") == 0 || strcmp(name, "clip_g") == 0;
}

/* "<attention>.processor.to_out" is the attention's own to_out.0. */
static void leave_out(char *module, const char *part)
{
    char *found = strstr(module, part);
    if (found)
        memmove(found, found + strlen(part), strlen(found + strlen(part)) + 1);
}

static const char *below_network(const char *name, lora_network *network)
{
    static const char peft[] = "base_model.model.";
    *network = LORA_UNET;
    if (begins(name, peft))
        name += sizeof peft - 1;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (begins(name, beginnings[i].begin)) {
            *network = beginnings[i].network;
            return name + strlen(beginnings[i].begin);
        }
    if (begins(name, "text_model."))
        *network = LORA_TEXT;
    return name;
}

lora_key_kind lora_key_of(const char *name, lora_key *out, const char **what)
{
    if (is_embedding(name))
        return LORA_KEY_EMBEDDING;
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (strstr(name, unsupported[i].part)) {
            *what = unsupported[i].what;
            return LORA_KEY_UNSUPPORTED;
        }
    if (numbered_key(name, out))
        return LORA_KEY_FACTOR;
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (!ends(name, length, endings[i].end))
            continue;
        const char *module = below_network(name, &out->network);
        size_t own = (size_t)(name + length - module), last = strlen(endings[i].end);
        out->role = endings[i].role;
        if (own <= last || !lora_flatten(module, own - last, out->module))
            return LORA_KEY_UNKNOWN;
        leave_out(out->module, "_processor");
        return LORA_KEY_FACTOR;
    }
    return LORA_KEY_UNKNOWN;
}

/* ------------------------------------------------------------------------------------ where it may lie */

/* `name` with the ending `from` as `to`, or "". */
static void ending_as(const char *name, const char *from, const char *to, char out[LORA_NAME])
{
    size_t length = strlen(name);
    out[0] = '\0';
    if (ends(name, length, from) && length + strlen(to) < LORA_NAME + strlen(from))
        snprintf(out, LORA_NAME, "%.*s%s", (int)(length - strlen(from)), name, to);
}

bool lora_name_variant(const char *name, int i, char out[LORA_NAME])
{
    static const char *const old[][2] = {
        {"_to_out", "_to_out_0"}, /* of attention processors */
        {"_self_attn_to_q", "_self_attn_q_proj"},
        {"_self_attn_to_k", "_self_attn_k_proj"},
        {"_self_attn_to_v", "_self_attn_v_proj"},
        {"_self_attn_to_out", "_self_attn_out_proj"},
    };
    enum { OLD = sizeof old / sizeof *old };
    out[0] = '\0';
    if (i == 0)
        snprintf(out, LORA_NAME, "%s", name);
    else if (i == 1 && begins(name, "unet_")) /* renamed by hand, from "unet." to "lora_unet_" */
        snprintf(out, LORA_NAME, "%s", name + strlen("unet_"));
    else if (i >= 2 && i < 2 + OLD)
        ending_as(name, old[i - 2][0], old[i - 2][1], out);
    return i < 2 + OLD;
}
