/* png_read.c - PNG to pixels and text, with libpng.
 *
 * Every colour type becomes 1 to 4 channels of 8 or 16 bits: palettes become RGB, 1, 2 and 4 bit gray is
 * spread to 8, a transparent colour (tRNS) becomes alpha. Gamma and colour profiles are not applied. A
 * picture is good when all its rows decode; what comes after them may be damaged. Of an APNG, the default
 * image is read.
 *
 * libpng reports errors by longjmp. All state therefore lives in a png_job outside the function that calls
 * setjmp, and the functions between setjmp and libpng own nothing. */
#include "image/codec.h"
#include "image/exif.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* A compressed text chunk may unfold to TEXT_CHUNK_BYTES, and libpng keeps at most TEXT_CHUNKS; what is
 * kept here is TEXT_BYTES in all. A text beyond these limits is left out: the picture is still good. */
enum { TEXT_CHUNK_BYTES = 4 << 20, TEXT_CHUNKS = 64, TEXT_BYTES = 32 << 20 };
/* Deflate cannot shrink data more than 1032 to 1. */
enum { DEFLATE_LIMIT = 1032 };

typedef struct png_job {
    const encoded_picture *file;
    size_t at;            /* bytes consumed */
    size_t end_of_chunks; /* bytes that may be consumed */
    size_t text_bytes;    /* kept so far */
    png_structp codec;
    png_infop info, end;
    image *picture;
    unsigned char **rows;
    bool complete; /* all rows are there */
    bool short_file;
    kiln_status status;
    char reason[160];
} png_job;

static void on_error(png_structp codec, png_const_charp message)
{
    png_job *job = png_get_error_ptr(codec);
    size_t length = strnlen(message, sizeof job->reason - 1);
    memcpy(job->reason, message, length);
    job->reason[length] = '\0';
    png_longjmp(codec, 1);
}

static void on_warning(png_structp codec, png_const_charp message)
{
    (void)codec;
    (void)message; /* what matters ends in an error or in a missing row */
}

static void on_read(png_structp codec, png_bytep to, size_t size)
{
    png_job *job = png_get_io_ptr(codec);
    if (size > job->end_of_chunks - job->at) {
        job->short_file = true;
        png_error(codec, "the file ends early");
    }
    memcpy(to, job->file->bytes + job->at, size);
    job->at += size;
}

/* Where the last chunk that can be whole ends. libpng makes room for a chunk by its stated length before it
 * reads it, so one that claims more than the file has must not reach it; pixel data (IDAT) is streamed. */
static size_t find_end_of_chunks(const encoded_picture *file)
{
    enum { SIGNATURE = 8, FRAME = 12 };
    size_t at = SIGNATURE;
    while (at <= file->size && file->size - at >= FRAME) {
        const unsigned char *p = file->bytes + at;
        size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > file->size - at - FRAME)
            return memcmp(p + 4, "IDAT", 4) == 0 ? file->size : at;
        at += FRAME + length;
    }
    return file->size;
}

static kiln_status check_header(png_job *job, kiln_error *err)
{
    png_uint_32 width = png_get_image_width(job->codec, job->info);
    png_uint_32 height = png_get_image_height(job->codec, job->info);
    kiln_status status = codec_check_size(job->file, width, height, err);
    if (status != KILN_OK)
        return status;
    uint64_t unpacked = (uint64_t)png_get_rowbytes(job->codec, job->info) * height;
    if (unpacked / DEFLATE_LIMIT > job->file->size)
        return fail(
            err, KILN_BAD_FORMAT,
            "%s: a PNG of %u x %u cannot be in %zu bytes: the file is truncated or its header is wrong",
            job->file->name, (unsigned)width, (unsigned)height, job->file->size);
    return KILN_OK;
}

static void ask_for_plain_samples(png_job *job)
{
    int type = png_get_color_type(job->codec, job->info);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(job->codec);
    if (type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(job->codec, job->info) < 8)
        png_set_expand_gray_1_2_4_to_8(job->codec);
    if (png_get_valid(job->codec, job->info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(job->codec);
    const uint16_t probe = 1;
    if (png_get_bit_depth(job->codec, job->info) == 16 && *(const unsigned char *)&probe == 1)
        png_set_swap(job->codec);
    png_set_interlace_handling(job->codec);
    png_read_update_info(job->codec, job->info);
}

static kiln_status allocate(png_job *job, kiln_error *err)
{
    int height = (int)png_get_image_height(job->codec, job->info);
    kiln_status status = image_new((int)png_get_image_width(job->codec, job->info), height,
                                   png_get_channels(job->codec, job->info),
                                   png_get_bit_depth(job->codec, job->info), &job->picture, err);
    if (status != KILN_OK)
        return fail_within(err, status, "%s", job->file->name);
    if (png_get_rowbytes(job->codec, job->info) != image_row_bytes(job->picture))
        return fail(err, KILN_INTERNAL, "%s: libpng gives rows of %zu bytes where %zu were expected",
                    job->file->name, png_get_rowbytes(job->codec, job->info), image_row_bytes(job->picture));
    job->rows = malloc((size_t)height * sizeof *job->rows);
    if (!job->rows)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory for its rows", job->file->name);
    for (size_t y = 0; y < (size_t)height; y++)
        job->rows[y] = (unsigned char *)job->picture->pixels + y * image_row_bytes(job->picture);
    return KILN_OK;
}

/* The steps that libpng may leave by longjmp. */
static kiln_status read_rows(png_job *job, kiln_error *err)
{
    if (setjmp(png_jmpbuf(job->codec)))
        return job->complete ? KILN_OK : (job->status = KILN_BAD_FORMAT);
    png_read_info(job->codec, job->info);
    kiln_status status = check_header(job, err);
    if (status != KILN_OK)
        return status;
    ask_for_plain_samples(job);
    status = allocate(job, err);
    if (status != KILN_OK)
        return status;
    png_read_image(job->codec, job->rows);
    job->complete = true;
    png_read_end(job->codec, job->end);
    return KILN_OK;
}

static kiln_status explain(const png_job *job, kiln_error *err)
{
    if (job->short_file && job->end_of_chunks < job->file->size)
        return fail(
            err, KILN_BAD_FORMAT,
            "%s: the PNG is truncated or damaged: its chunk at byte %zu is longer than the rest of the file",
            job->file->name, job->end_of_chunks);
    if (job->short_file)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: the PNG is truncated: the file ends after %zu bytes, before the "
                    "last row",
                    job->file->name, job->file->size);
    return fail(err, KILN_BAD_FORMAT, "%s: the PNG is damaged: %s", job->file->name, job->reason);
}

static kiln_status collect_text(png_job *job, png_infop info, picture_text *text, kiln_error *err)
{
    png_textp chunks = NULL;
    int count = 0;
    png_get_text(job->codec, info, &chunks, &count);
    for (int i = 0; i < count; i++) {
        bool utf8 = chunks[i].compression == PNG_ITXT_COMPRESSION_NONE ||
                    chunks[i].compression == PNG_ITXT_COMPRESSION_zTXt;
        size_t size = utf8 ? chunks[i].itxt_length : chunks[i].text_length;
        if (!chunks[i].text || size > TEXT_BYTES - job->text_bytes ||
            !text_is_utf8(chunks[i].key, strlen(chunks[i].key)))
            continue;
        job->text_bytes += size;
        kiln_status status = picture_text_add_latin1(text, chunks[i].key, chunks[i].text, size, err);
        if (status != KILN_OK)
            return status;
    }
    return KILN_OK;
}

static int orientation_of(png_job *job)
{
    png_uint_32 size = 0;
    png_bytep block = NULL;
    if (png_get_eXIf_1(job->codec, job->info, &size, &block) ||
        png_get_eXIf_1(job->codec, job->end, &size, &block))
        return exif_orientation(block, size);
    return 1;
}

static kiln_status read_picture(png_job *job, picture_text *text, kiln_error *err)
{
    png_set_read_fn(job->codec, job, on_read);
    png_set_user_limits(job->codec, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
    png_set_chunk_malloc_max(job->codec, TEXT_CHUNK_BYTES);
    png_set_chunk_cache_max(job->codec, TEXT_CHUNKS);
    png_set_benign_errors(job->codec, 1);
    kiln_status status = read_rows(job, err);
    if (job->status != KILN_OK)
        return explain(job, err);
    if (status == KILN_OK)
        status = collect_text(job, job->info, text, err);
    if (status == KILN_OK)
        status = collect_text(job, job->end, text, err);
    if (status == KILN_OK)
        status = image_orient(&job->picture, orientation_of(job), err);
    return status;
}

kiln_status codec_png_read(const encoded_picture *file, image **out, picture_text *text, kiln_error *err)
{
    png_job job = {.file = file, .end_of_chunks = find_end_of_chunks(file)};
    kiln_status status = KILN_NO_MEMORY;
    *out = NULL;
    job.codec = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    if (job.codec) {
        job.info = png_create_info_struct(job.codec);
        job.end = png_create_info_struct(job.codec);
    }
    if (job.info && job.end)
        status = read_picture(&job, text, err);
    else
        fail(err, status, "%s: not enough memory to read it", file->name);
    png_destroy_read_struct(&job.codec, &job.info, &job.end);
    free(job.rows);
    if (status == KILN_OK)
        *out = job.picture;
    else
        image_free(job.picture);
    return status;
}
