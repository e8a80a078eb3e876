/* fuzz_model_config.c - any bytes as the config.json of a UNet, a VAE and a text encoder; what is accepted is
 * drawn. floors: base tensor graph ops nn model */
#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A graph is whole, or it says why it is not. */
static void finish(graph *g)
{
    kiln_error err = {0};
    if (graph_finish(g, &err) == KILN_OK ? g->output_count < 1 : !err.text[0])
        abort();
    graph_free(g);
}

static void try_unet(const char *json, size_t size)
{
    kiln_error err = {0};
    unet_config c;
    if (unet_config_parse(json, size, "fuzz", &c, &err) != KILN_OK) {
        if (!err.text[0] || c.levels)
            abort();
        return;
    }
    graph *g = graph_new();
    if (!g)
        return;
    unet_draw(g, &c, &(unet_shape){.batch = 2, .height = 9, .width = 16, .context_tokens = 7});
    finish(g);
}

static void try_vae(const char *json, size_t size)
{
    kiln_error err = {0};
    vae_config c;
    if (vae_config_parse(json, size, "fuzz", &c, &err) != KILN_OK) {
        if (!err.text[0] || c.levels)
            abort();
        return;
    }
    graph *encoder = graph_new(), *decoder = graph_new();
    if (encoder && decoder) {
        vae_draw_encoder(encoder, &c, 1, 2 * vae_factor(&c), vae_factor(&c));
        vae_draw_decoder(decoder, &c, 1, 2, 3);
        finish(encoder);
        finish(decoder);
    }
}

static void try_text(const char *json, size_t size)
{
    kiln_error err = {0};
    clip_text_config c;
    if (clip_text_config_parse(json, size, "fuzz", &c, &err) != KILN_OK) {
        if (!err.text[0] || c.layers)
            abort();
        return;
    }
    graph *g = graph_new();
    if (!g)
        return;
    unsigned outputs =
        CLIP_HIDDEN_0 | CLIP_LAST_HIDDEN_STATE | CLIP_HIDDEN_RAW | CLIP_HIDDEN_LN | CLIP_POOLED;
    clip_text_draw(g, &c, &(clip_text_shape){.batch = 2, .tokens = 1, .outputs = outputs, .skip = 2});
    finish(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16)
        return 0;
    try_unet((const char *)data, size);
    try_vae((const char *)data, size);
    try_text((const char *)data, size);
    return 0;
}
