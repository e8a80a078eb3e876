/* prompt_parts.h - the parts of a prompt that are drawn together: comments and extra networks (extra_networks.h) left out,
 * then cut at AND.
 *
 * "a cat :1.2 AND a dog :-0.3": every part is an answer of its own, and weighs as the number behind its last colon says
 * (Liu et al. 2022, arXiv:2206.01714, as AUTOMATIC1111's web UI writes it). There, a weight counts in a prompt of one
 * part too; so it does here. */
#ifndef KILN_TEXT_PROMPT_PARTS_H
#define KILN_TEXT_PROMPT_PARTS_H

#include "base/error.h"

#include <stddef.h>

enum { PROMPT_MAX_PARTS = 16 };

typedef struct prompt_part {
    char *text;
    double weight; /* 1 where none is written */
} prompt_part;

/* Owned by the caller; starts as {0}. */
typedef struct prompt_parts {
    int count;
    prompt_part part[PROMPT_MAX_PARTS];
} prompt_parts;

/* `prompt` is NUL-terminated. More than PROMPT_MAX_PARTS parts, or a weight beyond 1000, is KILN_BAD_ARGUMENT. */
kiln_status prompt_parts_of(const char *prompt, prompt_parts *out, kiln_error *err);
/* One part of weight 1 whatever it says: a negative prompt. Comments are left out. */
kiln_status prompt_parts_single(const char *prompt, prompt_parts *out, kiln_error *err);
void prompt_parts_free(prompt_parts *);

/* Whether a comment begins at that byte: from a # to the end of the line. \# is none, and neither is the emoji of a key (#
 * before U+FE0F or U+20E3). */
bool prompt_is_comment(const char *prompt, size_t at);
/* The prompt without its comments. `*out` is the caller's to free. */
kiln_status prompt_without_comments(const char *prompt, char **out, kiln_error *err);

#endif
