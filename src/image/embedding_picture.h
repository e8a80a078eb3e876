/* embedding_picture.h - embeddings in pictures, as A1111's web UI writes and reads them.
 *
 * Two forms, which a picture may have both of:
 *   text      a PNG text "sd-ti-embedding": base64 of the JSON of A1111's dict, tensors as {"TORCHTENSOR": nested lists}
 *   pixels    zlib of the same JSON in two blocks beside the picture, a column of black between: low halves of the bytes
 *             left, high halves right, in the low 4 bits of the samples, each xor a fixed sequence; the high 4 bits carry a
 *             pattern of dots. It outlives tools that drop texts, but no lossy compression
 */
#ifndef KILN_IMAGE_EMBEDDING_PICTURE_H
#define KILN_IMAGE_EMBEDDING_PICTURE_H

#include "formats/embedding.h"
#include "image/image.h"
#include "image/picture_text.h"

/* The embedding in a picture, the text first. *found false (and KILN_OK) when there is none; something that was begun as one
 * and is damaged is KILN_BAD_FORMAT. `path` stands in sentences. `out` starts as {0}. */
kiln_status embedding_of_picture(const image *, const picture_text *, const char *path, bool *found,
                                 embedding *out, kiln_error *err);

/* The embeddings in a file, told by its content: a picture (PNG, WebP, JPEG), or what embedding_list_read takes.
 * KILN_NOT_FOUND: a picture without one. */
kiln_status embedding_open(const char *path, embedding_list *out, kiln_error *err);

/* A picture that holds the embedding in both forms: `front` (any form, at least 64 px high) between two blocks, and the text
 * added to `text`. Only embeddings of one text encoder: the layout has no place for two (KILN_UNSUPPORTED). `word`: what it
 * is called where it does not say. *out is the caller's. */
kiln_status embedding_to_picture(const embedding *, const char *word, const image *front, image **out,
                                 picture_text *text, kiln_error *err);

#endif
