/* png_write.c - pixels and text to PNG, with libpng.
 *
 * Text goes before the pixels, as tEXt when it is Latin-1 and as iTXt (UTF-8) when it is not: what PIL
 * does, and so what A1111's readers expect. A Latin-1 text whose bytes would also pass for UTF-8 is
 * written as iTXt, so that what is written is what is read. No time stamp: same input, same bytes. */
#include "image/codec.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { ZLIB_LEVEL = 6, KEYWORD_BYTES = 79 };

typedef struct png_job {
    const image *picture;
    png_structp codec;
    png_infop info;
    png_text *chunks;
    char **latin1; /* texts made for chunks */
    size_t count;
    byte_buffer *to;
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
    (void)message;
}

static void on_write(png_structp codec, png_bytep bytes, size_t size)
{
    png_job *job = png_get_io_ptr(codec);
    if (!byte_buffer_add(job->to, bytes, size))
        png_error(codec, "not enough memory");
}

static void on_flush(png_structp codec)
{
    (void)codec;
}

/* The text in Latin-1, or NULL when it must be written as UTF-8 (or memory is short, which costs only the
 * older chunk type). */
static char *latin1_of(const char *text)
{
    size_t size = strlen(text), written = 0;
    char *made = malloc(size + 1);
    while (made && *text) {
        uint32_t c = text_next_character(&text);
        if (c > 0xFF) {
            free(made);
            return NULL;
        }
        made[written++] = (char)(unsigned char)c;
    }
    if (made)
        made[written] = '\0';
    if (made && written != size && text_is_utf8(made, written)) {
        free(made);
        return NULL;
    }
    return made;
}

static bool keyword_is_good(const char *keyword)
{
    size_t length = strlen(keyword);
    for (size_t i = 0; i < length; i++)
        if (keyword[i] < ' ' || keyword[i] > '~' || (keyword[i] == ' ' && keyword[i + 1] == ' '))
            return false;
    return length >= 1 && length <= KEYWORD_BYTES && keyword[0] != ' ' && keyword[length - 1] != ' ';
}

static kiln_status prepare_text(png_job *job, const picture_text *text, const encoding *how, kiln_error *err)
{
    if (!text || text->count == 0)
        return KILN_OK;
    job->chunks = calloc(text->count, sizeof *job->chunks);
    job->latin1 = calloc(text->count, sizeof *job->latin1);
    if (!job->chunks || !job->latin1)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory for its text", how->name);
    for (; job->count < text->count; job->count++) {
        const picture_text_entry *entry = &text->entries[job->count];
        png_text *chunk = &job->chunks[job->count];
        if (!keyword_is_good(entry->keyword))
            return fail(err, KILN_BAD_ARGUMENT,
                        "%s: '%s' cannot be a keyword in a PNG: it needs 1 to 79 printable characters",
                        how->name, entry->keyword);
        char *latin1 = job->latin1[job->count] = latin1_of(entry->text);
        chunk->compression = latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        chunk->key = entry->keyword;
        chunk->text = latin1 ? latin1 : entry->text;
        *(latin1 ? &chunk->text_length : &chunk->itxt_length) = strlen(chunk->text);
    }
    return KILN_OK;
}

static bool write_all(png_job *job)
{
    static const int types[5] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                 PNG_COLOR_TYPE_RGB_ALPHA};
    const image *picture = job->picture;
    const uint16_t probe = 1;
    if (setjmp(png_jmpbuf(job->codec)))
        return false;
    png_set_write_fn(job->codec, job, on_write, on_flush);
    png_set_compression_level(job->codec, ZLIB_LEVEL);
    png_set_IHDR(job->codec, job->info, (png_uint_32)picture->width, (png_uint_32)picture->height,
                 picture->bits, types[picture->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (job->count > 0)
        png_set_text(job->codec, job->info, job->chunks, (int)job->count);
    png_write_info(job->codec, job->info);
    if (picture->bits == 16 && *(const unsigned char *)&probe == 1)
        png_set_swap(job->codec);
    for (size_t y = 0; y < (size_t)picture->height; y++)
        png_write_row(job->codec, (png_const_bytep)picture->pixels + y * image_row_bytes(picture));
    png_write_end(job->codec, NULL);
    return true;
}

kiln_status codec_png_write(const image *picture, const picture_text *text, const encoding *how,
                            byte_buffer *to, kiln_error *err)
{
    png_job job = {.picture = picture, .to = to};
    job.codec = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    if (job.codec) {
        job.info = png_create_info_struct(job.codec);
        png_set_user_limits(job.codec, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
    }
    kiln_status status = job.info ? prepare_text(&job, text, how, err)
                                  : fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", how->name);
    if (status == KILN_OK && !write_all(&job))
        status = fail(err, to->short_of_memory ? KILN_NO_MEMORY : KILN_INTERNAL,
                      "%s: cannot encode as PNG: %s", how->name, job.reason);
    png_destroy_write_struct(&job.codec, &job.info);
    for (size_t i = 0; i < job.count; i++)
        free(job.latin1[i]);
    free(job.latin1);
    free(job.chunks);
    return status;
}
