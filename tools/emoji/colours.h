/* colours.h - colours with names, and objects in other colours.
 *
 * All comparisons are in Oklab (B. Ottosson 2020), where distances are about as large as they look. Recolouring moves
 * the main hue of a picture to a target: what has that hue takes the target's, with its lightness and chroma moved to
 * the target's means, while other hues (the leaf of an apple) and greys stay. A picture without any hue is tinted. */
#ifndef EMOJI_COLOURS_H
#define EMOJI_COLOURS_H

#include "emoji/glyphs.h"

typedef struct named_colour {
    const char *name;
    uint8_t rgb[3];
} named_colour;

/* Backgrounds. COLOUR_WHITE is what a caption that names none means. */
enum { COLOUR_WHITE = 0, BACKGROUND_COUNT = 14, TINT_COUNT = 7 };
extern const named_colour background_colours[BACKGROUND_COUNT];
/* What objects can be recoloured to. */
extern const named_colour tint_colours[TINT_COUNT];

/* sRGB 0..1 to Oklab and back (clipped to the gamut). */
void colours_to_lab(const float rgb[3], float lab[3]);
void colours_from_lab(const float lab[3], float rgb[3]);
void colours_lab_of(const named_colour *, float lab[3]);
float colours_distance(const float a[3], const float b[3]);

/* The background colour nearest to an sRGB colour 0..1. */
int colours_nearest_background(const float rgb[3]);

/* Measure a glyph's main hue. */
void colours_measure(glyph *);

/* Recolour `count` premultiplied RGBA pixels (0..1) of a glyph. */
void colours_tint(const glyph_hue *, int tint, float *rgba, int count);

/* The Oklab mean of a glyph in that tint (-1: as it is), about. */
void colours_mean(const glyph *, int tint, float lab[3]);

#endif
