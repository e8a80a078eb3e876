/* hypernetworks.h - the hypernetworks of a session: those that the prompt of the last drawing asked for. Internal.
 *
 * They are drawn into the UNet's graph beside its attention layers, one after the other in the order of the prompt. A session
 * with hypernetworks packs the UNet's weights for itself, because parameters of theirs lie among them; a strength of 0 is the
 * same as none at all. */
#ifndef KILN_PIPELINE_HYPERNETWORKS_H
#define KILN_PIPELINE_HYPERNETWORKS_H

#include "pipeline/session.h"

typedef struct session_hypernetworks session_hypernetworks;

/* Open what the options ask for, or keep it where it is the same; after session_use_loras, on whose weights they lie. With
 * `options` NULL: none. KILN_NOT_FOUND, KILN_MISMATCH when a width is not the model's, and the others of
 * hypernetwork_file_open; the session then has none. */
kiln_status session_use_hypernetworks(kiln_session *, const kiln_draw_options *options, kiln_error *err);
/* Let go of them, and of the plans that they are in. */
void session_drop_hypernetworks(kiln_session *);

/* What a network is drawn with, and where its weights are: the session's own, the LoRAs', or the model's. */
const graph_hooks *session_hooks(const kiln_session *, network_kind);
packed_store *session_bent_store(const kiln_session *, network_kind);
/* Bytes of the session's own. */
size_t session_hypernetworks_bytes(const kiln_session *);

#endif
