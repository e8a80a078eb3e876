/* explain.h - how a prompt is understood, as text to read. Internal. */
#ifndef KILN_PIPELINE_EXPLAIN_H
#define KILN_PIPELINE_EXPLAIN_H

#include "pipeline/model_words.h"

/* `words` (NULL: none) are cut by this tokenizer, as its first. `*out` is the caller's to free. steps: 1 .. PROMPT_MAX_STEPS. */
kiln_status explain_prompt(const tokenizer *, const char *prompt, int steps, const model_words *words,
                           char **out, kiln_error *err);

#endif
