/* bitmap_font.h - text in pictures: a font of 5 by 9 dots with the printable characters of ASCII. */
#ifndef KILN_IMAGE_BITMAP_FONT_H
#define KILN_IMAGE_BITMAP_FONT_H

#include "image/image.h"

enum { FONT_ADVANCE = 6, FONT_HEIGHT = 9 };

/* Pixels that the text (UTF-8) is wide when each dot is `scale` pixels. */
int font_text_width(const char *text, int scale);
/* Draw on an 8-bit RGB picture with the upper left corner at (x, y); what lies outside is cut off. */
void font_draw(image *on, int x, int y, int scale, const unsigned char rgb[3], const char *text);

#endif
