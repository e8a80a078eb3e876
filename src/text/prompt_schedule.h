/* prompt_schedule.h - a prompt that changes while a picture is drawn: [from:to:when] and [a|b].
 *
 * The grammar is that of AUTOMATIC1111's web UI (1.6 and later):
 *
 *     [from:to:when]  from until step `when`, then to; [to:when] begins and [from::when] ends there
 *     [a|b|c]         another one in each step; an empty one ([fe|]male) is nothing
 *
 * A `when` with a point is a share of all steps, one without is a step. They nest, and what is in them may be emphasised.
 * Brackets that are neither stay in the text for prompt_attention.h, and so do escapes. A prompt that breaks the grammar,
 * such as one with a | outside of brackets, changes nothing: it is one text as it stands. */
#ifndef KILN_TEXT_PROMPT_SCHEDULE_H
#define KILN_TEXT_PROMPT_SCHEDULE_H

#include "base/error.h"

enum { PROMPT_MAX_STEPS = 100000 };

typedef struct prompt_period {
    int until; /* the last step, counted from 1; the last period's is the number of steps */
    int text;  /* index into texts */
} prompt_period;

/* Owned by the caller; starts as {0}. */
typedef struct prompt_schedule {
    int count, text_count; /* each at least 1 after success */
    prompt_period *periods;
    char **texts; /* each another */
} prompt_schedule;

/* `prompt` is NUL-terminated; steps 1 .. PROMPT_MAX_STEPS. A prompt with too many different texts is KILN_BAD_ARGUMENT.
 * `*out` is {0} after a failure. */
kiln_status prompt_schedule_of(const char *prompt, int steps, prompt_schedule *out, kiln_error *err);
void prompt_schedule_free(prompt_schedule *);

/* The text of a step counted from 0, as the web UI takes it: the first period with step <= until. So a period that ends
 * "at step 10" is seen in eleven evaluations, and the first text of an alternation in two. */
int prompt_schedule_text(const prompt_schedule *, int step);

#endif
