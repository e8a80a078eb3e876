/* prompt_template_parts.h - what may stand in a template's place, and the choice among it. Internal to prompt_template*.c. */
#ifndef KILN_TEXT_PROMPT_TEMPLATE_PARTS_H
#define KILN_TEXT_PROMPT_TEMPLATE_PARTS_H

#include "text/prompt_template.h"

typedef struct template_option {
    const char *text;
    size_t length;
    const char *file; /* of a wildcard's line; else NULL */
    double weight;
} template_option;

typedef struct template_options {
    template_option *list;
    uint32_t count;
} template_options;

/* "1-2$$ and $$a|b", read. */
typedef struct template_variant {
    uint32_t low, high; /* how many of them; no more than there are */
    const char *separator;
    size_t separator_length;
    template_options options;
} template_variant;

/* Texts are borrowed. A line's weight is the number before its "::". */
kiln_status template_options_of_lines(const wildcard_lines *, template_options *out, kiln_error *err);
kiln_status template_variant_of(const char *text, size_t length, const template_rules *,
                                template_variant *out, kiln_error *err);
/* One of them, taken out. KILN_BAD_ARGUMENT where all weights are 0. */
kiln_status template_choose(template_options *, prompt_chance *, template_option *out, kiln_error *err);
void template_options_free(template_options *);

/* For every byte the place of the brace that closes the one there, or 0. free(). */
kiln_status template_braces(const char *text, size_t length, size_t **out, kiln_error *err);
/* The bytes at `at` that mean nothing but themselves, at least 1: a comment, an escaped character, or a character. */
size_t template_skip(const char *text, size_t length, size_t at);

#endif
