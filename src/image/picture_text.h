/* picture_text.h - the words that a picture file carries: pairs of keyword and text, in file order.
 *
 * PNG has them natively (tEXt, zTXt, iTXt). JPEG and WebP have one slot, the EXIF UserComment, which is
 * known here by the keyword "parameters", as the A1111 family uses it. All text is UTF-8. */
#ifndef KILN_IMAGE_PICTURE_TEXT_H
#define KILN_IMAGE_PICTURE_TEXT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICTURE_TEXT_PARAMETERS "parameters"

typedef struct picture_text_entry {
    char *keyword;
    char *text;
} picture_text_entry;

typedef struct picture_text {
    picture_text_entry *entries;
    size_t count;
} picture_text;

/* Empty; NULL when memory is short. */
picture_text *picture_text_new(void);
/* Accepts NULL. */
void picture_text_free(picture_text *);
/* Append a copy of the pair. */
kiln_status picture_text_add(picture_text *, const char *keyword, const char *text, kiln_error *err);
/* Append a pair whose text is `size` bytes of Latin-1 (ISO 8859-1); it ends early at a NUL. Bytes that are
 * valid UTF-8 with at least one multi-byte character are taken as UTF-8: several programs write that. */
kiln_status picture_text_add_latin1(picture_text *, const char *keyword, const char *text, size_t size,
                                    kiln_error *err);
/* The first text of that keyword, or NULL. `list` may be NULL. */
const char *picture_text_get(const picture_text *list, const char *keyword);

/* True when the bytes are UTF-8 (shortest forms, no surrogates, at most U+10FFFF). */
bool text_is_utf8(const char *text, size_t size);
/* Decode the character at *p (valid UTF-8 assumed) and step over it. */
uint32_t text_next_character(const char **p);
/* Write a character as UTF-8 into at most 4 bytes; gives the number written. */
size_t text_put_character(uint32_t character, char *to);

#endif
