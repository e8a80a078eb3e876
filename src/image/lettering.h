/* lettering.h - lines of text in pictures: in a font of the system through FreeType, or in dots where there is none. */
#ifndef KILN_IMAGE_LETTERING_H
#define KILN_IMAGE_LETTERING_H

#include "image/image.h"

typedef struct lettering lettering;

/* Letters whose em is `size_px` (6..512) pixels high, of the font file at `font`; NULL: the first of the usual sans-serif
 * fonts that is there, else letters of dots, about as large, with the characters of ASCII. NOT_FOUND or BAD_FORMAT when a
 * font that was named cannot be used. One thread at a time. The caller gives it back with lettering_free. */
kiln_status lettering_new(const char *font, int size_px, lettering **out, kiln_error *err) KILN_CHECKED;
/* Accepts NULL. */
void lettering_free(lettering *);

/* Pixels from one line to the next. */
int lettering_line(const lettering *);
/* Pixels that the first `bytes` bytes of a text (UTF-8) are wide. */
int lettering_width(const lettering *, const char *text, size_t bytes);
/* How many bytes of a text fit into `width` pixels, up to a blank where there is one; at least one character. */
size_t lettering_fit(const lettering *, const char *text, int width);
/* Draw them on an 8-bit RGB picture, with the upper left corner of the line at (x, y); what lies outside is cut off. */
void lettering_draw(const lettering *, image *on, int x, int y, const unsigned char rgb[3], const char *text,
                    size_t bytes);

#endif
