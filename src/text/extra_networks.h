/* extra_networks.h - what a prompt asks for beside its words: <lora:name:0.8>, <hypernet:name>.
 *
 *     '<' kind ':' item { ':' item } '>'      item: value, or key '=' value
 *
 * as AUTOMATIC1111's web UI reads it: a kind is letters, digits and _, and anything but '>' may follow. Comments (see
 * prompt_parts.h) are no part of a prompt, so tags in them ask for nothing. */
#ifndef KILN_TEXT_EXTRA_NETWORKS_H
#define KILN_TEXT_EXTRA_NETWORKS_H

#include "base/arena.h"
#include "base/error.h"

enum { EXTRA_NETWORK_ITEMS = 8, EXTRA_NETWORKS_MAX = 64 };

typedef struct extra_network {
    const char *text; /* the tag as it is written */
    const char *kind; /* "lora" */
    /* Values in their order: item[0] is the name. key: NULL for one without. */
    struct {
        const char *key, *value;
    } item[EXTRA_NETWORK_ITEMS];
    int count;
} extra_network;

/* Starts as {0}; free with extra_networks_free, after failures too. */
typedef struct extra_networks {
    arena memory;
    extra_network network[EXTRA_NETWORKS_MAX];
    int count;
} extra_networks;

/* The tags of a prompt, in their order. KILN_BAD_ARGUMENT: a kind that is neither lora (or lyco) nor hypernet, a tag
 * without a name, or too many of them. */
kiln_status extra_networks_of(const char *prompt, extra_networks *out, kiln_error *err);
void extra_networks_free(extra_networks *);

bool extra_network_is(const extra_network *, const char *kind);
/* Item `position` without a key, or that of the key: as a number. *out stays as it is where there is none;
 * KILN_BAD_ARGUMENT where it is none or beyond 1000. `key` may be NULL. */
kiln_status extra_network_number(const extra_network *, int position, const char *key, double *out,
                                 kiln_error *err);

/* Take the tags out of a text, in place. */
void extra_networks_strip(char *text);

#endif
