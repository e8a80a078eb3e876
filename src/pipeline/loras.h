/* loras.h - the LoRAs of a session: those that the prompt and the options of the last call asked for. Internal.
 *
 * They are merged into the weights where these are read, so that a drawing runs as fast as without; a session with LoRAs
 * packs weights of its own for the networks that they change. A strength of 0 changes nothing, not even by rounding: then
 * the model's own weights are used. Words with vectors of their own that a file carries are known as long as it is named. */
#ifndef KILN_PIPELINE_LORAS_H
#define KILN_PIPELINE_LORAS_H

#include "image/infotext.h"
#include "pipeline/session.h"

typedef struct session_loras session_loras;

/* Open what the options ask for, or keep it where it is the same. Plans of networks that change with it are forgotten.
 * With `options` NULL: none. KILN_NOT_FOUND, KILN_MISMATCH and the others of lora_open and lora_bind; the session then
 * has none. */
kiln_status session_use_loras(kiln_session *, const kiln_draw_options *options, kiln_error *err);
void session_loras_free(session_loras *);

/* The store with a network's weights: the session's own where LoRAs change them, else the model's. */
packed_store *session_store(const kiln_session *, network_kind);
/* The words that prompts know: the model's, and those that travel in the LoRAs. NULL: none. */
const struct model_words *session_words(const kiln_session *);
/* What tells the session's LoRAs from others: `*size` bytes, 0 where it has none. */
const void *session_loras_key(const kiln_session *, size_t *size);
/* Bytes of the session's own. */
size_t session_loras_bytes(const kiln_session *);

/* The prompt with a tag for every LoRA of the options, so that the text alone repeats the picture. free(); NULL when memory
 * is short. */
char *loras_prompt(const kiln_draw_options *);
/* "Lora hashes", as A1111 writes them. */
void loras_add_fields(const kiln_session *, infotext *);

#endif
