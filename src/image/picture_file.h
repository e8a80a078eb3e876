/* picture_file.h - pictures in files: PNG, JPEG and WebP, in and out.
 *
 * Reading goes by content, never by name. Writing goes by the name's extension, to a temporary file in the
 * same folder that is renamed when it is complete and on disk: no half file, ever. */
#ifndef KILN_IMAGE_PICTURE_FILE_H
#define KILN_IMAGE_PICTURE_FILE_H

#include "image/image.h"
#include "image/picture_text.h"

/* Read a picture, upright (the EXIF orientation is applied). `text` may be NULL; else *text is the list of
 * texts in the file (possibly empty), the caller's to free, and NULL after a failure. Fails with NOT_FOUND,
 * IO, BAD_FORMAT (truncated, damaged, no picture), UNSUPPORTED (a picture of another kind), NO_MEMORY. */
kiln_status image_read(const char *path, image **out, picture_text **text, kiln_error *err);

/* Same from `size` bytes; `name` stands for the path in messages; `max_pixels` limits what is accepted
 * (0: IMAGE_MAX_PIXELS). */
kiln_status image_read_memory(const void *bytes, size_t size, const char *name, int64_t max_pixels,
                              image **out, picture_text **text, kiln_error *err);

typedef enum image_format {
    IMAGE_FORMAT_NONE,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_WEBP
} image_format;

/* The format of a path by its extension (.png .jpg .jpeg .webp, any case), or NONE. */
image_format image_format_of_path(const char *path);

typedef struct image_write_options {
    int quality;   /* 1..100; 0 means 95 for JPEG and 90 for WebP; PNG has none */
    bool lossless; /* WebP only */
} image_write_options;

/* Write a picture and its text (NULL for none; UTF-8). JPEG and WebP hold 8 bits and the text "parameters"
 * only; JPEG has no alpha (composited over white). `options` may be NULL. Same input, same bytes. */
kiln_status image_write(const char *path, const image *, const picture_text *text,
                        const image_write_options *options, kiln_error *err);

/* Same to memory: *bytes is the caller's (free). */
kiln_status image_write_memory(image_format, const image *, const picture_text *text,
                               const image_write_options *options, unsigned char **bytes, size_t *size,
                               kiln_error *err);

/* Whether image_write could write to that path: known extension, a folder that exists and takes files, no
 * folder in the way. Leaves nothing behind. To be asked before work that takes long. */
kiln_status image_write_check(const char *path, kiln_error *err);

#endif
