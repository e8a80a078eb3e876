/* glyphs.h - the pictures of Noto Color Emoji with their English names: what the scenes are made of.
 *
 * Pictures: the font's colour bitmaps (CBDT, one strike of 136x128), through FreeType. Names: CLDR (annotations.h),
 * turned into phrases (words.h). Left out: skin tones, single ASCII characters, hair components, and pictures that
 * are the same to the byte as an earlier one (the flags of some islands). Order: by the bytes of the sequence, so
 * that the same packages give the same list. */
#ifndef EMOJI_GLYPHS_H
#define EMOJI_GLYPHS_H

#include "base/error.h"
#include "emoji/words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GLYPHS_FONT "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
#define GLYPHS_CLDR "/usr/share/unicode/cldr/common"

enum { GLYPH_WIDTH = 136, GLYPH_HEIGHT = 128 };

/* What recolouring needs to know of a picture (colours.h). */
typedef struct glyph_hue {
    float hue;               /* the main one, radians */
    float share;             /* 0..1: how much of the opaque area has it */
    float lightness, chroma; /* means over that area (of all opaque pixels when there is no main hue) */
    float mean[3];           /* Oklab mean of all opaque pixels */
} glyph_hue;

typedef struct glyph {
    char *sequence;  /* UTF-8 */
    char *name;      /* CLDR's short name */
    char *keywords;  /* "face | grin", or NULL */
    phrase words;    /* how captions speak of it */
    bool person;     /* a person or a hand: never recoloured */
    bool recolours;  /* captions may ask for it in another colour */
    uint8_t *pixels; /* RGBA, premultiplied, GLYPH_HEIGHT x GLYPH_WIDTH */
    glyph_hue hue;
} glyph;

typedef struct glyph_set {
    glyph *items;
    int count;
} glyph_set;

/* Read the pictures and the names; NULL paths: where Debian has them. `*out` is the caller's (glyphs_close). */
kiln_status glyphs_open(const char *font, const char *cldr, glyph_set **out, kiln_error *err);
/* Accepts NULL. */
void glyphs_close(glyph_set *);

/* The emoji of that phrase or short name ("red apple"); -1 when there is none. */
int glyphs_find(const glyph_set *, const char *name);
/* Leave only the emoji of these names, which stand with commas between; three of them at least must be things that can
 * stand beside others. NOT_FOUND names one that is not there. When it fails the set is as it was. */
kiln_status glyphs_keep(glyph_set *, const char *names, kiln_error *err);

#endif
