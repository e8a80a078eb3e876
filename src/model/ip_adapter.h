/* ip_adapter.h - IP-Adapter (Ye et al. 2023, arXiv:2308.06721): a picture as a prompt. What CLIP's vision encoder says of
 * it becomes a few tokens, and these become keys and values for every cross-attention of a UNet (unet_draw's
 * image_key_<p>_<l> and image_value_<p>_<l>).
 *
 * The parameters' original names are those of the published files, canonical ones those of diffusers' modules. */
#ifndef KILN_MODEL_IP_ADAPTER_H
#define KILN_MODEL_IP_ADAPTER_H

#include "model/unet.h"

enum { IP_ADAPTER_MAX_LAYERS = 512 };

typedef enum ip_projection {
    IP_LINEAR,    /* image_embeds, by one matrix, to a few tokens */
    IP_RESAMPLER, /* "plus": hidden states, by learned queries (Perceiver; Jaegle et al. 2021) */
    IP_FULL       /* "full face": every hidden state by a small network */
} ip_projection;

typedef struct ip_adapter_config {
    ip_projection projection;
    int image_channels;                  /* width of what it takes of the vision encoder */
    int context_channels;                /* width of the tokens */
    int tokens;                          /* IP_FULL: 0, as many as there are hidden states */
    int inner, depth, heads;             /* of the resampler */
    int feed_forward;                    /* likewise */
    int layers;                          /* cross-attentions it serves */
    int channels[IP_ADAPTER_MAX_LAYERS]; /* their widths */
} ip_adapter_config;

/* Tell the configuration from the tensors of a file. KILN_NOT_FOUND when it is no IP-Adapter, KILN_UNSUPPORTED for those
 * that need a face recogniser. */
kiln_status ip_adapter_config_from_tensors(const tensor_finder *, ip_adapter_config *out, kiln_error *err);

/* KILN_MISMATCH with the numbers when it was made for another UNet. */
kiln_status ip_adapter_check(const ip_adapter_config *, const unet_config *, const char *name,
                             kiln_error *err);

/* Tokens that a picture becomes, of `states` hidden states. */
int ip_adapter_tokens(const ip_adapter_config *, int states);

/* Draw it for one picture.
 *   input     image [1,image_channels] for IP_LINEAR, else [1,states,image_channels]
 *   outputs   tokens [1,tokens,context_channels], and for each layer image_key_<l>, image_value_<l> [1,tokens,C] */
void ip_adapter_draw(graph *, const ip_adapter_config *, int states);

#endif
