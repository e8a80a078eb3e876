/* embedding_json.h - A1111's dict of an embedding as JSON, and as base64. Internal to image/. */
#ifndef KILN_IMAGE_EMBEDDING_JSON_H
#define KILN_IMAGE_EMBEDDING_JSON_H

#include "formats/embedding.h"

/* `out` starts as {0}; after a failure the caller frees what it holds. */
kiln_status embedding_of_json(const char *json, size_t length, const char *path, embedding *out,
                              kiln_error *err);
/* NUL-terminated; *json is the caller's (free). */
kiln_status embedding_to_json(const embedding *, const char *word, char **json, kiln_error *err);

/* *bytes is the caller's (free). Blanks are skipped; anything else that is no base64 is KILN_BAD_FORMAT. */
kiln_status base64_decode(const char *text, const char *path, unsigned char **bytes, size_t *size,
                          kiln_error *err);
/* NULL when memory is short. */
char *base64_encode(const void *bytes, size_t size);

#endif
