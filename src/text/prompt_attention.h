/* prompt_attention.h - a prompt's weights: (more), (so much:1.3), [less].
 *
 * As AUTOMATIC1111's web UI reads them: (x) times 1.1, [x] divided by 1.1, (x:1.3) times 1.3; nested ones multiply, and a
 * bracket that is never closed reaches to the end. \( \) \[ \] \\ are those characters, and any other \ is left out.
 * The word BREAK ends a window; unlike there, in brackets as well. */
#ifndef KILN_TEXT_PROMPT_ATTENTION_H
#define KILN_TEXT_PROMPT_ATTENTION_H

#include "base/error.h"

#include <stddef.h>

typedef struct prompt_piece {
    size_t begin, length; /* in prompt_pieces.text */
    double weight;
    bool ends_window; /* a BREAK: no text */
} prompt_piece;

/* Owned by the caller; starts as {0}. Neighbours have different weights. */
typedef struct prompt_pieces {
    char *text; /* without marks and escapes */
    prompt_piece *pieces;
    size_t count;  /* 0: an empty prompt */
    bool weighted; /* a weight is not 1 */
} prompt_pieces;

/* `prompt` is NUL-terminated UTF-8 of at most 128 KiB. */
kiln_status prompt_pieces_of(const char *prompt, prompt_pieces *out, kiln_error *err);
/* Words as they stand: no marks, no escapes; BREAK only. */
kiln_status prompt_pieces_plain(const char *prompt, prompt_pieces *out, kiln_error *err);
void prompt_pieces_free(prompt_pieces *);

#endif
