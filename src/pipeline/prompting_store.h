/* prompting_store.h - prompts that are encoded, each once: by their text, how it is read, and the LoRAs that bent the text
 * encoders. Internal. */
#ifndef KILN_PIPELINE_PROMPTING_STORE_H
#define KILN_PIPELINE_PROMPTING_STORE_H

#include "pipeline/prompting.h"

/* Starts as {0}. */
typedef struct prompting_store {
    struct prompting_entry *list;
    int count, capacity;
} prompting_store;

/* The prompt, encoded now if it was not before. It lives as long as the store. */
kiln_status prompting_store_get(prompting_store *, kiln_session *, const char *prompt,
                                const prompting_rules *, const prompting **out, kiln_error *);
void prompting_store_free(prompting_store *);

#endif
