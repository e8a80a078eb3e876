/* vae_approx.h - the "VAE-approx" preview decoder: eight small convolutions from scaled latents to a picture
 * at twice the latents' size. Files: model.pt (SD 1.x, 2.x), vaeapprox-sdxl.pt, vaeapprox-sd3.pt; names
 * conv1..conv8. */
#ifndef KILN_MODEL_VAE_APPROX_H
#define KILN_MODEL_VAE_APPROX_H

#include "graph/graph.h"
#include "model/config.h"

typedef struct vae_approx_config {
    int latent_channels; /* 4, or 16 */
} vae_approx_config;

/* KILN_NOT_FOUND when the tensors are not those of a VAE-approx. */
kiln_status vae_approx_config_from_tensors(const tensor_finder *finder, vae_approx_config *out,
                                           kiln_error *err);

/* latents [N,height,width,C] -> image [N,2*height,2*width,3] in -1..1, not clamped. */
void vae_approx_draw(graph *graph, const vae_approx_config *config, int batch, int height, int width);

#endif
