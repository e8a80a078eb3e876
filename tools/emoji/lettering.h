/* lettering.h - small capitals and letters of 5x7 pixels for contact sheets, so that no text font is needed. */
#ifndef EMOJI_LETTERING_H
#define EMOJI_LETTERING_H

#include <stdint.h>

enum { LETTER_WIDTH = 6, LETTER_HEIGHT = 9 };

/* Write `text` in black into an RGB picture, from (x, y), broken at spaces into at most `lines` lines of `columns`
 * letters. Characters that are not ASCII become '?'. */
void lettering_write(uint8_t *rgb, int width, int height, int x, int y, int columns, int lines,
                     const char *text);

#endif
