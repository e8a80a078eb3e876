/* prompt_template.h - a prompt with places for other texts, filled by chance.
 *
 *     __name__         a line of the wildcard of that name, which is anything without white space: animals/cats
 *     {a|b|c}          one of these; {2::a|b}: a twice as likely. Only where variants are asked for
 *     {2$$a|b|c}       two different ones, in any order, with ", " between them; {1-3$$a|b|c}: one, two or three;
 *                      {2$$ and $$a|b|c}: with " and " between them; {2$$__name__}: different lines
 *
 * The first is that of AUTOMATIC1111's script, the others are those of sd-dynamic-prompts (its variables, ${...}, are not
 * known here and refused). Lines and variants may hold more of them. Comments and escaped characters stay as they are: \__name__
 * is no wildcard. In the tag of an extra network, a name that no wildcard has belongs to the tag. */
#ifndef KILN_TEXT_PROMPT_TEMPLATE_H
#define KILN_TEXT_PROMPT_TEMPLATE_H

#include "base/error.h"
#include "text/prompt_chance.h"

#include <stddef.h>

typedef struct wildcard_line {
    const char *text; /* not empty */
    const char *file; /* that it stands in */
} wildcard_line;

typedef struct wildcard_lines {
    const wildcard_line *list;
    uint32_t count; /* at least 1 */
} wildcard_lines;

/* Where wildcards come from. Lines live as long as it does, in an order that is always the same. KILN_NOT_FOUND: there is no
 * such wildcard; the sentence says where it would be. */
typedef struct wildcard_source {
    void *self;
    kiln_status (*find)(void *self, const char *name, wildcard_lines *out, kiln_error *err);
} wildcard_source;

typedef struct template_rules {
    wildcard_source wildcards; /* find NULL: __name__ is text */
    bool variants;
} template_rules;

/* `*out`: free(). KILN_BAD_ARGUMENT: a wildcard comes back to itself, the text becomes longer than a prompt may be, or a variant
 * asks for what it cannot have; and what `find` gives. */
kiln_status template_fill(const char *text, const template_rules *, prompt_chance *, char **out,
                          kiln_error *err);

#endif
