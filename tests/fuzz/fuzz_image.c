/* floors: base tensor formats image */
/* fuzz_image.c - any bytes as a picture: read, and what is read is consistent and can be written again. The
 * checksums of a PNG's chunks are put right first, or hardly any change would get past them. */
#include "image/infotext.h"
#include "image/picture_file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PIXELS = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static uint32_t crc32_of(const unsigned char *bytes, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void repair_png(unsigned char *data, size_t size)
{
    for (size_t at = 8; size >= 12 && memcmp(data, "\x89PNG", 4) == 0 && at <= size - 12;) {
        const unsigned char *p = data + at;
        size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > size - 12 - at)
            break;
        uint32_t crc = crc32_of(p + 4, length + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + length + i] = (unsigned char)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

static void read_and_write(const unsigned char *data, size_t size)
{
    image *picture;
    picture_text *text;
    infotext *info;
    kiln_error err = {0};
    if (image_read_memory(data, size, "fuzz", MAX_PIXELS, &picture, &text, &err) != KILN_OK) {
        expect(!picture && !text && err.text[0]);
        return;
    }
    expect((int64_t)picture->width * picture->height <= MAX_PIXELS);
    if (infotext_from_picture(text, "fuzz", &info, &err) == KILN_OK)
        infotext_free(info);
    if (picture->width * picture->height <= 4096) {
        unsigned char *bytes;
        size_t written;
        if (image_write_memory(IMAGE_FORMAT_PNG, picture, NULL, NULL, &bytes, &written, &err) != KILN_OK)
            abort();
        free(bytes);
    }
    picture_text_free(text);
    image_free(picture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = malloc(size + 1);
    if (copy && size > 0)
        memcpy(copy, data, size);
    copy = copy ? realloc(copy, size ? size : 1) : NULL;
    if (copy) {
        repair_png(copy, size);
        read_and_write(copy, size);
    }
    free(copy);
    return 0;
}
