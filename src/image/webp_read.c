/* webp_read.c - WebP to pixels and text, with libwebp. Lossy, lossless, alpha; the first frame of an
 * animation, on a transparent canvas. */
#include "image/codec.h"
#include "image/exif.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

static kiln_status explain(const encoded_picture *file, VP8StatusCode code, kiln_error *err)
{
    if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
        return fail(err, KILN_BAD_FORMAT, "%s: the WebP is truncated: picture data is missing at the end",
                    file->name);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to decode this WebP", file->name);
    return fail(err, KILN_BAD_FORMAT, "%s: the WebP is damaged: its %s is corrupt", file->name,
                code == VP8_STATUS_UNSUPPORTED_FEATURE ? "header" : "picture data");
}

/* Decode one still picture of exactly `width` x `height` to rows `stride` bytes apart. */
static VP8StatusCode decode(const uint8_t *bytes, size_t size, int channels, unsigned char *to, size_t stride,
                            int width, int height)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return VP8_STATUS_INVALID_PARAM;
    VP8StatusCode code = WebPGetFeatures(bytes, size, &config.input);
    if (code != VP8_STATUS_OK)
        return code;
    if (config.input.width != width || config.input.height != height)
        return VP8_STATUS_BITSTREAM_ERROR;
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = to;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(height - 1) + (size_t)width * (size_t)channels;
    code = WebPDecode(bytes, size, &config);
    WebPFreeDecBuffer(&config.output);
    return code;
}

/* The demuxer, also when the tail of the file is missing: whether that matters is for the decoder to say. */
static WebPDemuxer *open_chunks(const encoded_picture *file)
{
    WebPDemuxState state;
    return WebPDemuxPartial(&(WebPData){file->bytes, file->size}, &state);
}

static VP8StatusCode decode_first_frame(WebPDemuxer *chunks, image *picture)
{
    WebPIterator frame;
    if (!chunks || !WebPDemuxGetFrame(chunks, 1, &frame))
        return VP8_STATUS_NOT_ENOUGH_DATA;
    VP8StatusCode code = VP8_STATUS_BITSTREAM_ERROR;
    bool inside = frame.width > 0 && frame.height > 0 && frame.x_offset >= 0 && frame.y_offset >= 0 &&
                  frame.width <= picture->width - frame.x_offset &&
                  frame.height <= picture->height - frame.y_offset;
    if (inside) {
        size_t stride = image_row_bytes(picture);
        unsigned char *to = (unsigned char *)picture->pixels + (size_t)frame.y_offset * stride +
                            (size_t)frame.x_offset * (size_t)picture->channels;
        code = decode(frame.fragment.bytes, frame.fragment.size, picture->channels, to, stride, frame.width,
                      frame.height);
    }
    WebPDemuxReleaseIterator(&frame);
    return code;
}

static kiln_status collect_text(WebPDemuxer *chunks, picture_text *text, int *orientation, kiln_error *err)
{
    WebPChunkIterator chunk;
    *orientation = 1;
    if (!chunks || !WebPDemuxGetChunk(chunks, "EXIF", 1, &chunk))
        return KILN_OK;
    *orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
    char *comment = exif_user_comment(chunk.chunk.bytes, chunk.chunk.size);
    kiln_status status = KILN_OK;
    if (comment && *comment)
        status = picture_text_add(text, PICTURE_TEXT_PARAMETERS, comment, err);
    free(comment);
    WebPDemuxReleaseChunkIterator(&chunk);
    return status;
}

kiln_status codec_webp_read(const encoded_picture *file, image **out, picture_text *text, kiln_error *err)
{
    WebPBitstreamFeatures features;
    image *picture = NULL;
    int orientation = 1;
    *out = NULL;
    VP8StatusCode code = WebPGetFeatures(file->bytes, file->size, &features);
    if (code != VP8_STATUS_OK)
        return explain(file, code, err);
    kiln_status status = codec_check_size(file, features.width, features.height, err);
    if (status == KILN_OK)
        status = image_new(features.width, features.height, features.has_alpha ? 4 : 3, 8, &picture, err);
    if (status != KILN_OK)
        return status;
    WebPDemuxer *chunks = open_chunks(file);
    code = features.has_animation ? decode_first_frame(chunks, picture)
                                  : decode(file->bytes, file->size, picture->channels, picture->pixels,
                                           image_row_bytes(picture), picture->width, picture->height);
    status = code == VP8_STATUS_OK ? collect_text(chunks, text, &orientation, err) : explain(file, code, err);
    WebPDemuxDelete(chunks);
    if (status == KILN_OK)
        status = image_orient(&picture, orientation, err);
    if (status == KILN_OK)
        *out = picture;
    else
        image_free(picture);
    return status;
}
