/* make_checkpoint.c - write a full-size single-file checkpoint with random weights, to measure memory and time with.
 *
 *     make_checkpoint sd15|sdxl FILE.safetensors
 *
 * f16, original naming: the form in which people have these models. SD 1.5 is 2.1 GB, SDXL 6.9 GB. Pictures drawn with it
 * are noise. */
#include "bench/random_weights.h"

#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "weights/write.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NETWORKS = 5 };

typedef struct checkpoint {
    weights_output outputs[MAX_NETWORKS];
    graph *graphs[MAX_NETWORKS];
    int count;
} checkpoint;

static void add(checkpoint *c, graph *g, const char *prefix)
{
    c->graphs[c->count] = g;
    c->outputs[c->count++] = (weights_output){.graph = g,
                                              .source = random_weights(),
                                              .prefix = prefix,
                                              .dialect = DIALECT_ORIGINAL,
                                              .type = DTYPE_F16};
}

static void add_text(checkpoint *c, const clip_text_config *config, const char *prefix)
{
    graph *g = graph_new();
    clip_text_draw(g, config,
                   &(clip_text_shape){.batch = 1, .tokens = 77, .outputs = CLIP_HIDDEN_LN, .skip = 1});
    add(c, g, prefix);
}

static void draw_networks(checkpoint *c, bool large)
{
    const vae_config *vae = large ? &vae_sdxl : &vae_sd;
    graph *unet = graph_new(), *encoder = graph_new(), *decoder = graph_new();
    unet_draw(unet, large ? &unet_sdxl : &unet_sd15,
              &(unet_shape){.batch = 1, .height = 8, .width = 8, .context_tokens = 77});
    vae_draw_encoder(encoder, vae, 1, 64, 64);
    vae_draw_decoder(decoder, vae, 1, 8, 8);
    add(c, unet, "model.diffusion_model.");
    add(c, encoder, VAE_ORIGINAL_PREFIX);
    add(c, decoder, VAE_ORIGINAL_PREFIX);
    add_text(c, &clip_text_l, large ? CLIP_PREFIX_SDXL_1 : CLIP_PREFIX_SD1);
    if (large)
        add_text(c, &clip_text_big_g, CLIP_PREFIX_SDXL_2);
}

static kiln_status write_all(const checkpoint *c, const char *path, kiln_error *err)
{
    safetensors_writer *w = NULL;
    kiln_status status = safetensors_writer_open(path, &w, err);
    if (status != KILN_OK)
        return status;
    for (int i = 0; status == KILN_OK && i < c->count; i++)
        status = weights_declare(w, &c->outputs[i], err);
    for (int i = 0; status == KILN_OK && i < c->count; i++)
        status = weights_write(w, &c->outputs[i], NULL, err);
    if (status == KILN_OK)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3 || (strcmp(argv[1], "sd15") != 0 && strcmp(argv[1], "sdxl") != 0)) {
        fprintf(stderr, "usage: make_checkpoint sd15|sdxl FILE.safetensors\n");
        return 2;
    }
    checkpoint c = {0};
    kiln_error err = {0};
    draw_networks(&c, strcmp(argv[1], "sdxl") == 0);
    kiln_status status = write_all(&c, argv[2], &err);
    if (status != KILN_OK)
        fprintf(stderr, "make_checkpoint: %s\n", err.text);
    for (int i = 0; i < c.count; i++)
        graph_free(c.graphs[i]);
    return status == KILN_OK ? 0 : 1;
}
