/* webp_write.c - pixels and text to WebP, with libwebp.
 *
 * 16 bits become 8; gray becomes RGB; alpha is kept. The text "parameters" goes to an EXIF chunk. Lossless
 * keeps the colours under transparent pixels too. */
#include "image/codec.h"
#include "image/exif.h"

#include <stdlib.h>
#include <string.h>

#include <webp/encode.h>
#include <webp/mux.h>

static const char *reason_of(WebPEncodingError code)
{
    switch (code) {
    case VP8_ENC_ERROR_OUT_OF_MEMORY:
    case VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY:
        return "not enough memory";
    case VP8_ENC_ERROR_PARTITION0_OVERFLOW:
    case VP8_ENC_ERROR_PARTITION_OVERFLOW:
        return "the picture is too detailed for this quality";
    default:
        return "the encoder refused it";
    }
}

static kiln_status encode(const image *bytes, const encoding *how, WebPMemoryWriter *writer, kiln_error *err)
{
    WebPConfig config;
    WebPPicture picture;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&picture))
        return fail(err, KILN_INTERNAL, "%s: the WebP library does not fit the one this was built with",
                    how->name);
    config.quality = (float)how->quality;
    if (how->lossless && !WebPConfigLosslessPreset(&config, 6))
        return fail(err, KILN_INTERNAL, "%s: cannot set the WebP encoder to lossless", how->name);
    config.exact = how->lossless;
    config.thread_level = 0;
    picture.use_argb = how->lossless;
    picture.width = bytes->width;
    picture.height = bytes->height;
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = writer;
    int stride = (int)image_row_bytes(bytes);
    int good = bytes->channels == 4 ? WebPPictureImportRGBA(&picture, bytes->pixels, stride)
                                    : WebPPictureImportRGB(&picture, bytes->pixels, stride);
    good = good && WebPEncode(&config, &picture);
    WebPEncodingError code = picture.error_code;
    WebPPictureFree(&picture);
    if (good)
        return KILN_OK;
    const char *reason = reason_of(code);
    return fail(err, strstr(reason, "memory") ? KILN_NO_MEMORY : KILN_INTERNAL,
                "%s: cannot encode as WebP: %s", how->name, reason);
}

/* Wrap the encoded picture and the comment's EXIF block into one file. */
static kiln_status assemble(const WebPMemoryWriter *writer, const char *comment, const encoding *how,
                            byte_buffer *to, kiln_error *err)
{
    if (!comment) {
        byte_buffer_add(to, writer->mem, writer->size);
        return KILN_OK;
    }
    byte_buffer exif = {0};
    exif_put_user_comment(&exif, comment, false);
    WebPData whole = {NULL, 0}, block = {exif.bytes, exif.size}, picture = {writer->mem, writer->size};
    WebPMux *mux = exif.short_of_memory ? NULL : WebPMuxNew();
    bool good = mux && WebPMuxSetImage(mux, &picture, 0) == WEBP_MUX_OK &&
                WebPMuxSetChunk(mux, "EXIF", &block, 0) == WEBP_MUX_OK &&
                WebPMuxAssemble(mux, &whole) == WEBP_MUX_OK;
    if (good)
        byte_buffer_add(to, whole.bytes, whole.size);
    WebPDataClear(&whole);
    WebPMuxDelete(mux);
    byte_buffer_fini(&exif);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: cannot put the text into the WebP", how->name);
}

kiln_status codec_webp_write(const image *picture, const picture_text *text, const encoding *how,
                             byte_buffer *to, kiln_error *err)
{
    image *bytes = NULL;
    WebPMemoryWriter writer;
    if (picture->width > WEBP_MAX_DIMENSION || picture->height > WEBP_MAX_DIMENSION)
        return fail(err, KILN_UNSUPPORTED, "%s: a WebP has at most %d pixels a side, the picture is %d x %d",
                    how->name, WEBP_MAX_DIMENSION, picture->width, picture->height);
    kiln_status status = image_to_bytes(picture, image_has_alpha(picture) ? 4 : 3, &bytes, err);
    if (status != KILN_OK)
        return status;
    WebPMemoryWriterInit(&writer);
    status = encode(bytes, how, &writer, err);
    if (status == KILN_OK)
        status = assemble(&writer, picture_text_get(text, PICTURE_TEXT_PARAMETERS), how, to, err);
    WebPMemoryWriterClear(&writer);
    image_free(bytes);
    return status;
}
