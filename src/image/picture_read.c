/* picture_read.c - which format a file has, and its decoder. See picture_file.h. */
#include "image/codec.h"
#include "image/picture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Larger files than this are no pictures within IMAGE_MAX_PIXELS, but they could fill the memory. */
#define FILE_MAX_BYTES ((size_t)3 << 30)

typedef kiln_status decoder(const encoded_picture *, image **, picture_text *, kiln_error *);

/* How files begin. A row without a decoder is known by name only. */
static const struct kind {
    size_t at, length;
    const char *bytes;
    const char *name;
    decoder *read;
} kinds[] = {
    {0, 8, "\x89PNG\r\n\x1A\n", "a PNG", codec_png_read},
    {0, 3, "\xFF\xD8\xFF", "a JPEG", codec_jpeg_read},
    {8, 4, "WEBP", "a WebP", codec_webp_read},
    {0, 4, "GIF8", "a GIF", NULL},
    {4, 8, "jP  \r\n\x87\n", "a JPEG 2000 picture", NULL},
    {0, 4, "\xFF\x4F\xFF\x51", "a JPEG 2000 picture", NULL},
    {4, 8, "JXL \r\n\x87\n", "a JPEG XL picture", NULL},
    {0, 2, "\xFF\x0A", "a JPEG XL picture", NULL},
    {4, 8, "ftypavif", "an AVIF picture", NULL},
    {4, 8, "ftypavis", "an AVIF picture", NULL},
    {4, 7, "ftyphei", "a HEIF picture", NULL},
    {4, 8, "ftypmif1", "a HEIF picture", NULL},
    {0, 4, "II*\0", "a TIFF", NULL},
    {0, 4, "MM\0*", "a TIFF", NULL},
    {0, 2, "BM", "a Windows bitmap", NULL},
    {0, 4, "8BPS", "a Photoshop document", NULL},
    {0, 4, "qoif", "a QOI picture", NULL},
    {0, 4, "\0\0\1\0", "a Windows icon", NULL},
    {0, 4, "<svg", "an SVG drawing", NULL},
    {0, 4, "%PDF", "a PDF document", NULL},
};

static const struct kind *kind_of(const encoded_picture *file)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        if (file->size >= k->at + k->length && memcmp(file->bytes + k->at, k->bytes, k->length) == 0)
            return k;
    }
    return NULL;
}

kiln_status codec_check_size(const encoded_picture *file, int64_t width, int64_t height, kiln_error *err)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        width * height > file->max_pixels)
        return fail(err, KILN_UNSUPPORTED,
                    "%s: a picture of %" PRId64 " x %" PRId64
                    " is out of range: each side must be 1 to %d, with at "
                    "most %" PRId64 " pixels in all",
                    file->name, width, height, IMAGE_MAX_SIDE, file->max_pixels);
    return KILN_OK;
}

static kiln_status find_decoder(const encoded_picture *file, decoder **out, kiln_error *err)
{
    const struct kind *kind = kind_of(file);
    if (file->size == 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the file is empty", file->name);
    if (!kind)
        return fail(err, KILN_BAD_FORMAT, "%s: not a picture in PNG, JPEG or WebP", file->name);
    if (!kind->read)
        return fail(err, KILN_UNSUPPORTED, "%s: %s; only PNG, JPEG and WebP are supported", file->name,
                    kind->name);
    *out = kind->read;
    return KILN_OK;
}

kiln_status image_read_memory(const void *bytes, size_t size, const char *name, int64_t max_pixels,
                              image **out, picture_text **text, kiln_error *err)
{
    encoded_picture file = {bytes, size, name, max_pixels > 0 ? max_pixels : IMAGE_MAX_PIXELS};
    decoder *read = NULL;
    *out = NULL;
    if (text)
        *text = NULL;
    if (file.max_pixels > IMAGE_MAX_PIXELS)
        file.max_pixels = IMAGE_MAX_PIXELS;
    kiln_status status = find_decoder(&file, &read, err);
    if (status != KILN_OK)
        return status;
    picture_text *list = picture_text_new();
    if (!list)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", name);
    status = read(&file, out, list, err);
    if (status == KILN_OK && text)
        *text = list;
    else
        picture_text_free(list);
    return status;
}

static kiln_status read_all(int file, const char *path, byte_buffer *to, kiln_error *err)
{
    unsigned char chunk[16384];
    for (;;) {
        ssize_t got = read(file, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_system(err, "%s: cannot read it", path);
        if (got == 0)
            return KILN_OK;
        if (to->size + (size_t)got > FILE_MAX_BYTES)
            return fail(err, KILN_UNSUPPORTED, "%s: too large for a picture (more than 3 GiB)", path);
        if (!byte_buffer_add(to, chunk, (size_t)got))
            return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", path);
    }
}

kiln_status image_read(const char *path, image **out, picture_text **text, kiln_error *err)
{
    struct stat about;
    byte_buffer content = {0};
    *out = NULL;
    if (text)
        *text = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail_system(err, "%s: cannot open it", path);
    kiln_status status = KILN_OK;
    if (fstat(file, &about) == 0 && S_ISDIR(about.st_mode))
        status = fail(err, KILN_BAD_ARGUMENT, "%s: a folder, not a picture", path);
    if (status == KILN_OK)
        status = read_all(file, path, &content, err);
    close(file);
    if (status == KILN_OK)
        status = image_read_memory(content.bytes, content.size, path, 0, out, text, err);
    byte_buffer_fini(&content);
    return status;
}
