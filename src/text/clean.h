/* clean.h - the clean-up of a prompt before it is cut into words: NFC, every run of white space one space and
 * none at the ends, lower case.
 *
 * This is what CLIP's own tokenizer does (less its repair of broken encodings and its HTML unescaping) and
 * what transformers' fast CLIPTokenizer does. Two rules of BERT that transformers' slow tokenizer falls back
 * to where ftfy is not installed - spaces around Chinese characters, format and control characters dropped -
 * are not followed: the reference ids do not have them. Lower case is Python's str.lower: full mappings and
 * the final sigma. Character data: utf8proc (Unicode 15). */
#ifndef KILN_TEXT_CLEAN_H
#define KILN_TEXT_CLEAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Fails with KILN_BAD_ARGUMENT naming the first byte that is not UTF-8. */
kiln_status clean_check_utf8(const char *text, size_t length, kiln_error *err);

/* `text` is valid UTF-8. `*out` is NUL-terminated and the caller's to free; NULL on failure. */
kiln_status clean_text(const char *text, size_t length, char **out, size_t *out_length, kiln_error *err);

/* A letter, a number or an underscore: Python's \w. */
bool clean_is_word(int32_t code_point);
/* Whether text[begin, end) is not part of a longer word on either side: Python's \b around a word. Safe for bytes that
 * are not UTF-8. */
bool clean_is_apart(const char *text, size_t length, size_t begin, size_t end);

#endif
