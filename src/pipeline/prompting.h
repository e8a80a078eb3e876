/* prompting.h - a whole prompt, encoded: parts joined by AND, each a schedule of texts over the steps. Internal.
 *
 * Every different text of a part is encoded once, before the first step. All have as many windows as the longest, so that
 * a step changes what the UNet looks at by copying alone. */
#ifndef KILN_PIPELINE_PROMPTING_H
#define KILN_PIPELINE_PROMPTING_H

#include "pipeline/conditioning.h"
#include "text/prompt_parts.h"
#include "text/prompt_schedule.h"

enum { PROMPTING_MAX_TEXTS = 256 };

/* How a prompt is to be read. */
typedef struct prompting_rules {
    int steps, clip_skip;
    emphasis emphasis;
    bool negative; /* AND is a word like any other */
} prompting_rules;

typedef struct prompting {
    prompt_parts parts;
    prompt_schedule schedule[PROMPT_MAX_PARTS];
    kiln_map **maps[PROMPT_MAX_PARTS]; /* per text of the schedule */
} prompting;

kiln_status prompting_encode(kiln_session *, const char *prompt, const prompting_rules *, prompting **out,
                             kiln_error *);
void prompting_free(prompting *);
/* How many tokens that takes, and whether it can be; nothing is run. */
kiln_status prompting_tokens(const kiln_session *, const char *prompt, const prompting_rules *, int *tokens,
                             kiln_error *);

/* Set used[i] for every word of model_words that is in it. */
kiln_status prompting_words(const kiln_session *, const char *prompt, const prompting_rules *, bool *used,
                            kiln_error *);

/* What a part is in a step, counted from 0. */
const kiln_map *prompting_map(const prompting *, int part, int step);
/* One text of weight 1 from the first step to the last. */
bool prompting_is_plain(const prompting *);
/* The same of a prompt that is not encoded; one that cannot be read is taken for plain. */
bool prompting_text_is_plain(const char *prompt, bool negative, int steps);

#endif
