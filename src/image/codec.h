/* codec.h - what each file format gives to picture_file.c: read from memory, write to memory. Internal.
 *
 * A reader refuses a picture with missing or damaged data, fills `text` (never NULL), and has applied the
 * EXIF orientation. A writer makes the same bytes from the same input, every time. */
#ifndef KILN_IMAGE_CODEC_H
#define KILN_IMAGE_CODEC_H

#include "image/byte_buffer.h"
#include "image/image.h"
#include "image/picture_text.h"

typedef struct encoded_picture {
    const unsigned char *bytes;
    size_t size;
    const char *name;   /* for messages: the path */
    int64_t max_pixels; /* at most IMAGE_MAX_PIXELS */
} encoded_picture;

typedef struct encoding {
    const char *name; /* for messages: the path */
    int quality;      /* 1..100 */
    bool lossless;    /* WebP only */
} encoding;

/* Refuse sizes out of range, in the file's name. */
kiln_status codec_check_size(const encoded_picture *, int64_t width, int64_t height, kiln_error *);

kiln_status codec_png_read(const encoded_picture *, image **, picture_text *text, kiln_error *);
kiln_status codec_jpeg_read(const encoded_picture *, image **, picture_text *text, kiln_error *);
kiln_status codec_webp_read(const encoded_picture *, image **, picture_text *text, kiln_error *);

kiln_status codec_png_write(const image *, const picture_text *, const encoding *, byte_buffer *,
                            kiln_error *);
kiln_status codec_jpeg_write(const image *, const picture_text *, const encoding *, byte_buffer *,
                             kiln_error *);
kiln_status codec_webp_write(const image *, const picture_text *, const encoding *, byte_buffer *,
                             kiln_error *);

#endif
