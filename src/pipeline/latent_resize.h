/* latent_resize.h - latents at another size, by the names of A1111's latent upscalers. Internal. */
#ifndef KILN_PIPELINE_LATENT_RESIZE_H
#define KILN_PIPELINE_LATENT_RESIZE_H

#include "base/error.h"

#include <stdbool.h>

/* "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
 * "Latent (nearest-exact)", in any case. */
bool latent_resize_known(const char *name);
/* [channels, height, width] to [channels, to_height, to_width], as torch's interpolate does it (align_corners false). */
kiln_status latent_resize(const char *name, const float *from, int channels, int height, int width, float *to,
                          int to_height, int to_width, kiln_error *);

#endif
