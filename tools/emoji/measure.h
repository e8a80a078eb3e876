/* measure.h - which emoji is seen at a place in a picture: all of them, ranked by distance.
 *
 * The place (a square a little larger than the glyph's cell) is averaged down to a small grid. Every emoji is laid over
 * the background, as the picture's border shows it, in the same grid, in 5 sizes and at 7x7 shifts. The distance of two
 * grids is the squared difference in an opponent colour space, and of the edges of its lightness, each over the energy
 * of both: 0 for equal pictures, about 1 for unrelated ones, 1 for a blank. An emoji's distance is its least over sizes
 * and shifts. A cheap first pass (one size, 3x3 shifts) chooses the emoji that the second looks at. */
#ifndef EMOJI_MEASURE_H
#define EMOJI_MEASURE_H

#include "emoji/scene.h"

enum { MEASURE_KEPT = 160, MEASURE_LAST = MEASURE_KEPT + 1 };

typedef struct measure measure;

/* `set` must outlive it. */
kiln_status measure_new(const glyph_set *set, measure **out, kiln_error *err);
void measure_free(measure *);

/* The median colour of the picture's border, two pixels wide: sRGB 0..1. */
void measure_background(const uint8_t *rgb, int width, int height, float ground[3]);

/* The rank (from 1) of `where->glyph` among all emoji at that place of a picture; candidates that can be recoloured
 * have where->tint. MEASURE_LAST when the first pass does not keep it. Emoji at the same distance rank before it, so
 * that a blank picture earns nothing. `best` (may be NULL) is the nearest emoji. */
kiln_status measure_rank(measure *, const uint8_t *rgb, int width, int height, const scene_object *where,
                         int *rank, int *best, kiln_error *err);

/* Which of the tints (or NO_TINT) the emoji `where->glyph` is nearest in. */
kiln_status measure_tint(measure *, const uint8_t *rgb, int width, int height, const scene_object *where,
                         int *tint, kiln_error *err);

#endif
