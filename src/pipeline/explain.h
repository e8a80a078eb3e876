/* explain.h - how a prompt is understood, as text to read. Internal. */
#ifndef KILN_PIPELINE_EXPLAIN_H
#define KILN_PIPELINE_EXPLAIN_H

#include "text/tokenizer.h"

/* `*out` is the caller's to free. steps: 1 .. PROMPT_MAX_STEPS. */
kiln_status explain_prompt(const tokenizer *, const char *prompt, int steps, char **out, kiln_error *err);

#endif
