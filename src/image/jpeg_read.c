/* jpeg_read.c - JPEG to pixels and text, with libjpeg-turbo.
 *
 * Gray stays gray; YCbCr and RGB become RGB; CMYK and YCCK become RGB, their inks taken as stored
 * inverted, which is Adobe's custom and what browsers assume. 8 bits only; sequential, progressive and
 * arithmetic coding.
 *
 * A file that ends early gets an end marker from us, and libjpeg then says whether it lacked data: a
 * warning when entropy-coded data ran out, coefficients not known to the last bit when progressive scans
 * are missing. Both are refused; a missing end marker alone is not. */
#include "image/codec.h"
#include "image/exif.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* More scans than any encoder makes: a file with so many is made to burn time. */
enum { MAX_SCANS = 400 };

typedef struct jpeg_job {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const encoded_picture *file;
    kiln_error *err;
    kiln_status status;
    bool ended; /* the file ended and an end marker was made up */
    int damage; /* code of the first warning that means lost data, or 0 */
    image *picture;
    unsigned char *row; /* one row of CMYK */
} jpeg_job;

static jpeg_job *job_of(j_common_ptr codec)
{
    return codec->client_data;
}

static void on_error(j_common_ptr codec)
{
    jpeg_job *job = job_of(codec);
    const char *name = job->file->name;
    char reason[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, reason);
    switch (codec->err->msg_code) {
    case JERR_BAD_PRECISION:
        job->status =
            fail(job->err, KILN_UNSUPPORTED, "%s: a JPEG with %d bits per sample; only 8 are supported", name,
                 codec->err->msg_parm.i[0]);
        break;
    case JERR_SOF_UNSUPPORTED:
        job->status = fail(job->err, KILN_UNSUPPORTED,
                           "%s: a lossless or hierarchical JPEG (frame type 0x%02X), which is not supported",
                           name, (unsigned)codec->err->msg_parm.i[0]);
        break;
    case JERR_OUT_OF_MEMORY:
        job->status = fail(job->err, KILN_NO_MEMORY, "%s: not enough memory to decode this JPEG", name);
        break;
    default:
        job->status =
            job->ended
                ? fail(job->err, KILN_BAD_FORMAT, "%s: the JPEG is truncated: the file ends after %zu bytes",
                       name, job->file->size)
                : fail(job->err, KILN_BAD_FORMAT, "%s: the JPEG is damaged: %s", name, reason);
    }
    longjmp(job->escape, 1);
}

static void on_message(j_common_ptr codec, int level)
{
    jpeg_job *job = job_of(codec);
    int code = codec->err->msg_code;
    bool loses_data = code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE ||
                      code == JWRN_MUST_RESYNC;
    if (level < 0)
        codec->err->num_warnings++;
    if (level < 0 && loses_data && job->damage == 0)
        job->damage = code;
}

static void on_output(j_common_ptr codec)
{
    (void)codec;
}

static void source_start(j_decompress_ptr codec)
{
    (void)codec;
}

static boolean source_fill(j_decompress_ptr codec)
{
    static const JOCTET end_marker[2] = {0xFF, JPEG_EOI};
    jpeg_job *job = job_of((j_common_ptr)codec);
    job->ended = true;
    codec->src->next_input_byte = end_marker;
    codec->src->bytes_in_buffer = sizeof end_marker;
    return TRUE;
}

static void source_skip(j_decompress_ptr codec, long count)
{
    if (count <= 0)
        return;
    if ((size_t)count >= codec->src->bytes_in_buffer) {
        source_fill(codec);
        return;
    }
    codec->src->next_input_byte += count;
    codec->src->bytes_in_buffer -= (size_t)count;
}

static void on_progress(j_common_ptr codec)
{
    jpeg_job *job = job_of(codec);
    if (codec->is_decompressor && ((j_decompress_ptr)codec)->input_scan_number > MAX_SCANS) {
        job->status = fail(job->err, KILN_BAD_FORMAT, "%s: the JPEG is damaged: more than %d scans",
                           job->file->name, MAX_SCANS);
        longjmp(job->escape, 1);
    }
}

static void connect(jpeg_job *job)
{
    job->codec.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    job->errors.output_message = on_output;
    job->codec.client_data = job;
    job->source = (struct jpeg_source_mgr){
        .next_input_byte = job->file->bytes,
        .bytes_in_buffer = job->file->size,
        .init_source = source_start,
        .fill_input_buffer = source_fill,
        .skip_input_data = source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = source_start,
    };
    job->progress.progress_monitor = on_progress;
}

/* Ink stored inverted: a channel of RGB is ink times black, both as light. */
static void row_from_inks(const unsigned char *inks, unsigned char *rgb, int width)
{
    for (int x = 0; x < width; x++, inks += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = (unsigned char)((inks[c] * inks[3] + 127) / 255);
}

static kiln_status read_header(jpeg_job *job)
{
    struct jpeg_decompress_struct *codec = &job->codec;
    jpeg_save_markers(codec, JPEG_APP0 + 1, 0xFFFF);
    jpeg_save_markers(codec, JPEG_COM, 0xFFFF);
    jpeg_read_header(codec, TRUE);
    kiln_status status = codec_check_size(job->file, codec->image_width, codec->image_height, job->err);
    if (status != KILN_OK)
        return status;
    int inks = codec->num_components == 4;
    if (codec->num_components != 1 && codec->num_components != 3 && !inks)
        return fail(job->err, KILN_UNSUPPORTED, "%s: a JPEG with %d components; 1, 3 and 4 are supported",
                    job->file->name, codec->num_components);
    codec->out_color_space = inks ? JCS_CMYK : codec->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    codec->dct_method = JDCT_ISLOW;
    status = image_new((int)codec->image_width, (int)codec->image_height, inks ? 3 : codec->num_components, 8,
                       &job->picture, job->err);
    if (status == KILN_OK && inks && !(job->row = malloc((size_t)codec->image_width * 4)))
        status = fail(job->err, KILN_NO_MEMORY, "%s: not enough memory to decode this JPEG", job->file->name);
    return status;
}

/* True when every coefficient of every component is known to its last bit (always so when not
 * progressive). */
static bool scans_are_complete(const struct jpeg_decompress_struct *codec)
{
    for (int c = 0; codec->progressive_mode && codec->coef_bits && c < codec->num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (codec->coef_bits[c][k] != 0)
                return false;
    return true;
}

/* The steps that libjpeg may leave by longjmp. */
static kiln_status read_rows(jpeg_job *job)
{
    struct jpeg_decompress_struct *codec = &job->codec;
    if (setjmp(job->escape))
        return job->status;
    jpeg_create_decompress(codec);
    codec->src = &job->source;
    codec->progress = &job->progress;
    kiln_status status = read_header(job);
    if (status != KILN_OK)
        return status;
    jpeg_start_decompress(codec);
    while (codec->output_scanline < codec->output_height) {
        unsigned char *target =
            (unsigned char *)job->picture->pixels + codec->output_scanline * image_row_bytes(job->picture);
        JSAMPROW row = job->row ? job->row : target;
        if (jpeg_read_scanlines(codec, &row, 1) != 1)
            return fail(job->err, KILN_BAD_FORMAT, "%s: the JPEG is truncated", job->file->name);
        if (job->row)
            row_from_inks(job->row, target, job->picture->width);
    }
    if (job->damage != 0 || (job->ended && !scans_are_complete(codec)))
        return fail(job->err, KILN_BAD_FORMAT, "%s: the JPEG is %s", job->file->name,
                    job->ended ? "truncated: picture data is missing at the end"
                               : "damaged: its picture data is corrupt");
    return KILN_OK;
}

static kiln_status collect_text(jpeg_job *job, picture_text *text, int *orientation)
{
    bool seen = false;
    kiln_status status = KILN_OK;
    *orientation = 1;
    for (jpeg_saved_marker_ptr m = job->codec.marker_list; m && status == KILN_OK; m = m->next) {
        if (m->marker == JPEG_COM) {
            status =
                picture_text_add_latin1(text, "Comment", (const char *)m->data, m->data_length, job->err);
        } else if (!seen && m->data_length >= 6 && memcmp(m->data, "Exif\0", 5) == 0) {
            seen = true;
            *orientation = exif_orientation(m->data, m->data_length);
            char *comment = exif_user_comment(m->data, m->data_length);
            if (comment && *comment)
                status = picture_text_add(text, PICTURE_TEXT_PARAMETERS, comment, job->err);
            free(comment);
        }
    }
    return status;
}

kiln_status codec_jpeg_read(const encoded_picture *file, image **out, picture_text *text, kiln_error *err)
{
    *out = NULL;
    jpeg_job *job = calloc(1, sizeof *job);
    if (!job)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", file->name);
    int orientation = 1;
    job->file = file;
    job->err = err;
    connect(job);
    kiln_status status = read_rows(job);
    if (status == KILN_OK)
        status = collect_text(job, text, &orientation);
    if (status == KILN_OK)
        status = image_orient(&job->picture, orientation, err);
    jpeg_destroy_decompress(&job->codec);
    if (status == KILN_OK)
        *out = job->picture;
    else
        image_free(job->picture);
    free(job->row);
    free(job);
    return status;
}
