/* jpeg_write.c - pixels and text to JPEG, with libjpeg-turbo.
 *
 * Baseline, optimised Huffman tables, the exact integer DCT; colour at full resolution from quality 90 up,
 * halved below. 16 bits become 8 and alpha is composited over white (see image_to_bytes). The text
 * "parameters" goes to the EXIF UserComment; one APP1 segment holds at most 65,533 bytes. */
#include "image/codec.h"
#include "image/exif.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { FULL_COLOUR_QUALITY = 90, SEGMENT_BYTES = 65533, CHUNK_BYTES = 65536 };

typedef struct jpeg_job {
    struct jpeg_compress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr target;
    jmp_buf escape;
    const image *picture;
    const encoding *how;
    byte_buffer exif;
    byte_buffer *to;
    kiln_error *err;
    unsigned char chunk[CHUNK_BYTES];
} jpeg_job;

static void on_error(j_common_ptr codec)
{
    jpeg_job *job = codec->client_data;
    char reason[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, reason);
    fail(job->err, KILN_INTERNAL, "%s: cannot encode as JPEG: %s", job->how->name, reason);
    longjmp(job->escape, 1);
}

static void on_message(j_common_ptr codec, int level)
{
    (void)codec;
    (void)level;
}

static void on_output(j_common_ptr codec)
{
    (void)codec;
}

static void target_start(j_compress_ptr codec)
{
    jpeg_job *job = codec->client_data;
    codec->dest->next_output_byte = job->chunk;
    codec->dest->free_in_buffer = CHUNK_BYTES;
}

/* A buffer that is short of memory stays so; the caller looks at the end. */
static boolean target_empty(j_compress_ptr codec)
{
    jpeg_job *job = codec->client_data;
    byte_buffer_add(job->to, job->chunk, CHUNK_BYTES);
    target_start(codec);
    return TRUE;
}

static void target_end(j_compress_ptr codec)
{
    jpeg_job *job = codec->client_data;
    byte_buffer_add(job->to, job->chunk, CHUNK_BYTES - codec->dest->free_in_buffer);
}

static void configure(jpeg_job *job)
{
    struct jpeg_compress_struct *codec = &job->codec;
    codec->image_width = (JDIMENSION)job->picture->width;
    codec->image_height = (JDIMENSION)job->picture->height;
    codec->input_components = job->picture->channels;
    codec->in_color_space = job->picture->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(codec);
    jpeg_set_quality(codec, job->how->quality, TRUE);
    codec->optimize_coding = TRUE;
    codec->dct_method = JDCT_ISLOW;
    if (job->how->quality >= FULL_COLOUR_QUALITY)
        for (int c = 0; c < codec->num_components; c++)
            codec->comp_info[c].h_samp_factor = codec->comp_info[c].v_samp_factor = 1;
}

static bool write_all(jpeg_job *job)
{
    if (setjmp(job->escape))
        return false;
    jpeg_create_compress(&job->codec);
    job->codec.dest = &job->target;
    configure(job);
    jpeg_start_compress(&job->codec, TRUE);
    if (job->exif.size > 0)
        jpeg_write_marker(&job->codec, JPEG_APP0 + 1, job->exif.bytes, (unsigned)job->exif.size);
    for (size_t y = 0; y < (size_t)job->picture->height; y++) {
        JSAMPROW row = (unsigned char *)job->picture->pixels + y * image_row_bytes(job->picture);
        jpeg_write_scanlines(&job->codec, &row, 1);
    }
    jpeg_finish_compress(&job->codec);
    return true;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* The EXIF segment of a comment. UTF-16 does not always fit into 64 KiB; plain ASCII is then tried. */
static kiln_status make_exif(jpeg_job *job, const char *comment)
{
    for (int ascii = 0; ascii <= 1; ascii++) {
        job->exif.size = 0;
        byte_buffer_add(&job->exif, "Exif\0", 6);
        exif_put_user_comment(&job->exif, comment, ascii);
        if (job->exif.short_of_memory)
            return fail(job->err, KILN_NO_MEMORY, "%s: not enough memory for its text", job->how->name);
        if (job->exif.size <= SEGMENT_BYTES)
            return KILN_OK;
        if (!is_ascii(comment))
            break;
    }
    return fail(
        job->err, KILN_UNSUPPORTED,
        "%s: a JPEG cannot hold %zu bytes of generation parameters (64 KiB at most); write a PNG instead",
        job->how->name, strlen(comment));
}

kiln_status codec_jpeg_write(const image *picture, const picture_text *text, const encoding *how,
                             byte_buffer *to, kiln_error *err)
{
    image *bytes = NULL;
    const char *comment = picture_text_get(text, PICTURE_TEXT_PARAMETERS);
    jpeg_job *job = calloc(1, sizeof *job);
    if (!job)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", how->name);
    job->how = how;
    job->err = err;
    job->to = to;
    job->codec.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    job->errors.output_message = on_output;
    job->codec.client_data = job;
    job->target = (struct jpeg_destination_mgr){.init_destination = target_start,
                                                .empty_output_buffer = target_empty,
                                                .term_destination = target_end};
    kiln_status status = comment ? make_exif(job, comment) : KILN_OK;
    if (status == KILN_OK)
        status = image_to_bytes(picture, picture->channels <= 2 ? 1 : 3, &bytes, err);
    job->picture = bytes;
    if (status == KILN_OK && !write_all(job))
        status = KILN_INTERNAL;
    jpeg_destroy_compress(&job->codec);
    byte_buffer_fini(&job->exif);
    image_free(bytes);
    free(job);
    return status;
}
