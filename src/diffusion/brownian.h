/* brownian.h - noise of the SDE samplers as increments of one Brownian path over the noise level.
 *
 * A sampler that solves an SDE asks for the noise between two levels. Drawn afresh each time, that noise has nothing
 * to do with the noise of the same picture at another number of steps. Here it is W(from) - W(to) of a path W that
 * the seed alone determines, so that
 *
 *   - more steps refine the same picture instead of drawing another;
 *   - the noise of an interval does not depend on which others were asked for, or in what order: what is drawn of
 *     two parts adds up to what is drawn of the whole.
 *
 * W is a Levy-Ciesielski tree: its values at the ends of a fixed frame are drawn first, then at the middle (in log
 * sigma) of each interval given its ends, to a depth below which levels are told apart by their own bits. Every
 * normal number comes from Philox4x32-10 (Salmon et al. 2011) with the node and the element as its counter; what is
 * remembered of the last way through the tree saves time and changes nothing. (k-diffusion uses torchsde's BrownianTree to the same end; its numbers
 * cannot be had without torch, and are other ones.) */
#ifndef KILN_DIFFUSION_BROWNIAN_H
#define KILN_DIFFUSION_BROWNIAN_H

#include "base/error.h"

typedef struct brownian brownian;

/* A path of n elements. The caller frees with brownian_free(). */
kiln_status brownian_new(brownian **out, uint64_t seed, size_t n, kiln_error *err);
void brownian_free(brownian *path);
/* The same memory, another path. */
void brownian_reseed(brownian *path, uint64_t seed);

/* (W(a) - W(b)) / sqrt(|a - b|) for levels a, b >= 0 into out, n elements of unit variance; zeros when a == b.
 * Allocates nothing. Not for two threads at once. */
void brownian_increment(brownian *path, float a, float b, float *out);

#endif
