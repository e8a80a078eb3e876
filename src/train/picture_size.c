/* picture_size.c - see picture_size.h. Trusts no length in the file. */
#include "train/picture_size.h"

#include "image/exif.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 4096, MAX_SIDE = 65500, MAX_SEGMENTS = 4096 };

typedef struct header {
    int fd;
    unsigned char bytes[HEADER_BYTES];
    size_t size;
} header;

static uint32_t big16(const unsigned char *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t big32(const unsigned char *p)
{
    return big16(p) << 16 | big16(p + 2);
}

static uint32_t little16(const unsigned char *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t little24(const unsigned char *p)
{
    return (uint32_t)p[2] << 16 | little16(p);
}

/* Bytes at `offset` of the file, from the header already read where it holds them. */
static bool read_at(const header *head, off_t offset, void *to, size_t size)
{
    if (offset >= 0 && (size_t)offset + size <= head->size) {
        memcpy(to, head->bytes + offset, size);
        return true;
    }
    return pread(head->fd, to, size, offset) == (ssize_t)size;
}

static kiln_status cut_off(kiln_error *err, const char *what)
{
    return fail(err, KILN_BAD_FORMAT, "the header of a %s is cut off or damaged", what);
}

static int segment_orientation(const header *head, off_t offset, size_t size)
{
    unsigned char *block = malloc(size ? size : 1);
    int orientation = 1;
    if (block && size > 6 && read_at(head, offset, block, size) && !memcmp(block, "Exif\0\0", 6))
        orientation = exif_orientation(block, size);
    free(block);
    return orientation;
}

static bool is_frame(unsigned char marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static kiln_status jpeg_size(const header *head, int *width, int *height, kiln_error *err)
{
    off_t at = 2;
    int orientation = 1;
    for (int i = 0; i < MAX_SEGMENTS; i++) {
        unsigned char part[9];
        if (!read_at(head, at, part, 4) || part[0] != 0xFF)
            break;
        if (part[1] == 0xFF) { /* fill bytes */
            at++;
            continue;
        }
        if (part[1] == 0x01 || (part[1] >= 0xD0 && part[1] <= 0xD8)) { /* markers without a length */
            at += 2;
            continue;
        }
        uint32_t length = big16(part + 2);
        if (length < 2 || part[1] == 0xD9 || part[1] == 0xDA)
            break;
        if (is_frame(part[1])) {
            if (!read_at(head, at, part, 9))
                break;
            bool turned = orientation >= 5;
            *height = (int)big16(turned ? part + 7 : part + 5);
            *width = (int)big16(turned ? part + 5 : part + 7);
            return KILN_OK;
        }
        if (part[1] == 0xE1 && orientation == 1)
            orientation = segment_orientation(head, at + 4, length - 2);
        at += 2 + (off_t)length;
    }
    return cut_off(err, "JPEG");
}

static kiln_status webp_size(const header *head, int *width, int *height, kiln_error *err)
{
    const unsigned char *b = head->bytes;
    if (head->size < 30)
        return cut_off(err, "WebP");
    if (!memcmp(b + 12, "VP8X", 4)) {
        *width = (int)little24(b + 24) + 1;
        *height = (int)little24(b + 27) + 1;
    } else if (!memcmp(b + 12, "VP8L", 4) && b[20] == 0x2F) {
        uint32_t bits = little16(b + 21) | little16(b + 23) << 16;
        *width = (int)(bits & 0x3FFF) + 1;
        *height = (int)(bits >> 14 & 0x3FFF) + 1;
    } else if (!memcmp(b + 12, "VP8 ", 4) && b[23] == 0x9D && b[24] == 0x01 && b[25] == 0x2A) {
        *width = (int)(little16(b + 26) & 0x3FFF);
        *height = (int)(little16(b + 28) & 0x3FFF);
    } else {
        return cut_off(err, "WebP");
    }
    return KILN_OK;
}

static kiln_status size_of(const header *head, int *width, int *height, kiln_error *err)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    const unsigned char *b = head->bytes;
    if (head->size == 0)
        return fail(err, KILN_BAD_FORMAT, "the file is empty");
    if (head->size >= 8 && !memcmp(b, png, 8)) {
        if (head->size < 24 || memcmp(b + 12, "IHDR", 4) != 0 || big32(b + 16) > MAX_SIDE ||
            big32(b + 20) > MAX_SIDE)
            return cut_off(err, "PNG");
        *width = (int)big32(b + 16);
        *height = (int)big32(b + 20);
        return KILN_OK;
    }
    if (head->size >= 4 && b[0] == 0xFF && b[1] == 0xD8)
        return jpeg_size(head, width, height, err);
    if (head->size >= 12 && !memcmp(b, "RIFF", 4) && !memcmp(b + 8, "WEBP", 4))
        return webp_size(head, width, height, err);
    return fail(err, KILN_BAD_FORMAT, "the content is not a PNG, JPEG or WebP picture");
}

kiln_status picture_size(const char *path, int *width_px, int *height_px, kiln_error *err)
{
    *width_px = *height_px = 0;
    header head = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (head.fd < 0)
        return fail_system(err, "cannot be opened");
    ssize_t got = pread(head.fd, head.bytes, sizeof head.bytes, 0);
    kiln_status status;
    if (got < 0) {
        status = fail_system(err, "cannot be read");
    } else {
        head.size = (size_t)got;
        status = size_of(&head, width_px, height_px, err);
    }
    close(head.fd);
    if (status == KILN_OK &&
        (*width_px < 1 || *height_px < 1 || *width_px > MAX_SIDE || *height_px > MAX_SIDE))
        status = fail(err, KILN_BAD_FORMAT, "its size is %d x %d pixels", *width_px, *height_px);
    if (status != KILN_OK)
        *width_px = *height_px = 0;
    return status;
}
