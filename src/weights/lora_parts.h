/* lora_parts.h - what the files lora_*.c share. Private to weights/. */
#ifndef KILN_WEIGHTS_LORA_PARTS_H
#define KILN_WEIGHTS_LORA_PARTS_H

#include "weights/lora.h"

enum { LORA_NAME = 256 };

/* What the key of a tensor says. */
typedef struct lora_key {
    lora_network network;
    lora_role role;
    char module[LORA_NAME]; /* with '_' for every dot */
} lora_key;

typedef enum lora_key_kind {
    LORA_KEY_FACTOR,      /* of a module: `out` is filled */
    LORA_KEY_EMBEDDING,   /* an embedding that travels with the LoRA */
    LORA_KEY_UNSUPPORTED, /* of a kind or a family that is not applied: *what says which */
    LORA_KEY_UNKNOWN
} lora_key_kind;
lora_key_kind lora_key_of(const char *name, lora_key *out, const char **what);

/* Where a module of a file may lie in a model: `name` as variant i (0: as it is) into `out`; false past the last. */
bool lora_name_variant(const char *name, int i, char out[LORA_NAME]);

/* The dots of a name to '_'; false where it is too long. */
bool lora_flatten(const char *name, size_t length, char out[LORA_NAME]);

/* Everything that a module needs is there and of fitting shapes; fills kind and rank. */
kiln_status lora_module_check(const lora *, lora_module *, kiln_error *err);
/* Whether what the module makes is of the size of a weight of that shape. */
bool lora_module_fits(const lora_module *, shape weight);
/* OFT's and BOFT's blocks: whether a tensor is of such a shape, and whether it is for so many rows. */
bool lora_rotation_is(const tensor_entry *blocks);
bool lora_rotation_fits(const tensor_entry *blocks, int64_t rows);
typedef struct lora_rotation {
    const char *path; /* for sentences */
    const tensor_entry *entry;
    const float *values, *rescale; /* rescale NULL: none */
    double alpha;
} lora_rotation;
/* Turn the rows of a weight [rows,columns], in place. */
kiln_status lora_rotate(const lora_rotation *, float *weight, int64_t rows, int64_t columns, kiln_error *err);

/* The axis of the weight that the module's magnitudes run along: 0 by row, 1 by column. */
int lora_magnitude_axis(const lora_module *, shape weight);

#endif
