/* ligatures.h - which glyph an emoji of several characters has: the ligatures of the font's GSUB table.
 *
 * Noto Color Emoji forms every sequence (flags, families, keycaps) by one ligature, so that reading these is all
 * the shaping that is needed. Source: OpenType 1.9, GSUB lookup type 4. Trusts no offset. */
#ifndef EMOJI_LIGATURES_H
#define EMOJI_LIGATURES_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ligatures {
    unsigned char *table; /* GSUB, owned */
    size_t size;
} ligatures;

/* Takes a GSUB table (owned from then on, free with ligatures_fini). BAD_FORMAT when it has no list of lookups. */
kiln_status ligatures_init(ligatures *, unsigned char *table, size_t size, kiln_error *err);
void ligatures_fini(ligatures *);

/* The glyph of exactly these `count` glyphs; 0 when no ligature makes one of them. */
uint32_t ligatures_find(const ligatures *, const uint32_t *glyphs, size_t count);

#endif
