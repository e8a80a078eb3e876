/* upscale_strip.h - one direction of a tiled picture: tiles of one size, evenly spread, and how much each counts where
 * two overlap.
 *
 *     |------ tile 0 ------|
 *                   |------ tile 1 ------|          the picture is extended to `length`
 *     1111111111111111\0000
 *                   0000\1111111111111111           the ramp lies in the middle of the overlap
 *
 * A pixel near a tile's cut edge does not count: the network did not see what is beyond. Positions are in pixels of the
 * smaller picture and multiples of `unit`; weights are for pixels of the larger one. */
#ifndef KILN_PIPELINE_UPSCALE_STRIP_H
#define KILN_PIPELINE_UPSCALE_STRIP_H

#include <stdint.h>

typedef struct upscale_strip {
    int length; /* of the picture, extended */
    int size;   /* of a tile */
    int count;
    int unit;
    int scale;
} upscale_strip;

enum { STRIP_RAMP = 8, STRIP_ROOM = 32 }; /* px of the ramp; what a tile must have beyond the overlap */

/* `picture` px long; sides of the network's picture are multiples of `multiple`, tiles begin at multiples of `align`.
 * tile <= 0, or not smaller than the picture: one tile. It is made larger when it could not hold the overlap. */
upscale_strip upscale_strip_of(int picture, int multiple, int align, int tile, int overlap, int scale);
/* Where tile k begins, in pixels of the smaller picture. */
int upscale_strip_start(const upscale_strip *, int k);
/* The pixels first .. end-1 of the larger picture for which tile k counts. */
void upscale_strip_zone(const upscale_strip *, int k, int *first, int *end);
/* How much, 0..1; those of all tiles are 1 together. */
float upscale_strip_weight(const upscale_strip *, int k, int pixel);

#endif
