/* seed_variation.h - the noise of one seed moved towards that of another, and placed on a canvas of another size. */
#ifndef KILN_DIFFUSION_SEED_VARIATION_H
#define KILN_DIFFUSION_SEED_VARIATION_H

/* Latents of this size, [channels, height, width]. */
typedef struct noise_shape {
    int channels, height, width;
} noise_shape;

/* `noise` goes the share `strength` (0..1) of the way to `other`, along the arc between them (Shoemake 1985), each column
 * of each channel by its own angle: what AUTOMATIC1111's web UI does, whose norm runs over the height alone. Where the two
 * are all but parallel (mean cosine above 0.9995) it goes along the straight line, and, as there, from `other` to `noise`. */
void noise_vary(float *noise, const float *other, noise_shape, double strength);

/* Put the middle of `small`, of shape `from`, into the middle of `canvas`; the canvas keeps what is not covered. Odd
 * differences round down, as in the web UI. The shapes have the same channels. */
void noise_place(const float *small, noise_shape from, float *canvas, noise_shape to);

#endif
