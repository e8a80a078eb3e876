/* caption.h - a scene in English. */
#ifndef EMOJI_CAPTION_H
#define EMOJI_CAPTION_H

#include "emoji/scene.h"

enum { CAPTION_SIZE = 512 };

/* One of many phrasings, chosen by `r`. */
void caption_write(const glyph_set *, const scene *, random_source *r, char out[CAPTION_SIZE]);
/* The most usual phrasing: "a red apple", "a green cat left of a rocket on a pink background". */
void caption_write_plain(const glyph_set *, const scene *, char out[CAPTION_SIZE]);

#endif
