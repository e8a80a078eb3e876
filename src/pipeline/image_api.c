/* image_api.c - the public calls for pictures; the work is done in src/image. */
#include "pipeline/image_api.h"

#include "image/picture_file.h"

#include <stdlib.h>
#include <string.h>

kiln_status kiln_image_wrap(image *picture, kiln_image **out, kiln_error *err)
{
    *out = calloc(1, sizeof **out);
    picture_text *texts = picture_text_new();
    if (!*out || !texts) {
        free(*out);
        *out = NULL;
        picture_text_free(texts);
        image_free(picture);
        return fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    }
    (*out)->picture = picture;
    (*out)->texts = texts;
    return KILN_OK;
}

kiln_status kiln_image_new(int width, int height, int channels, int bits, const void *pixels,
                           kiln_image **out, kiln_error *err)
{
    *out = NULL;
    if (channels < 1 || channels > 4 || (bits != 8 && bits != 16))
        return fail(err, KILN_BAD_ARGUMENT, "a picture has 1 to 4 channels of 8 or 16 bits, not %d of %d",
                    channels, bits);
    image *picture = NULL;
    kiln_status status = image_new(width, height, channels, bits, &picture, err);
    if (status != KILN_OK)
        return status;
    if (pixels)
        memcpy(picture->pixels, pixels, image_bytes(picture));
    return kiln_image_wrap(picture, out, err);
}

void kiln_image_free(kiln_image *k)
{
    if (!k)
        return;
    image_free(k->picture);
    picture_text_free(k->texts);
    free(k);
}

int kiln_image_width(const kiln_image *k)
{
    return k->picture->width;
}

int kiln_image_height(const kiln_image *k)
{
    return k->picture->height;
}

int kiln_image_channels(const kiln_image *k)
{
    return k->picture->channels;
}

int kiln_image_bits(const kiln_image *k)
{
    return k->picture->bits;
}

const void *kiln_image_pixels(const kiln_image *k)
{
    return k->picture->pixels;
}

const char *kiln_image_text(const kiln_image *k, const char *keyword)
{
    return picture_text_get(k->texts, keyword);
}

kiln_status kiln_image_set_text(kiln_image *k, const char *keyword, const char *text, kiln_error *err)
{
    if (!text_is_utf8(text, strlen(text)))
        return fail(err, KILN_BAD_ARGUMENT, "the text for '%s' is not UTF-8", keyword);
    for (size_t i = 0; i < k->texts->count; i++)
        if (strcmp(k->texts->entries[i].keyword, keyword) == 0) {
            char *copy = strdup(text);
            if (!copy)
                return fail(err, KILN_NO_MEMORY, "out of memory for a text");
            free(k->texts->entries[i].text);
            k->texts->entries[i].text = copy;
            return KILN_OK;
        }
    return picture_text_add(k->texts, keyword, text, err);
}

kiln_status kiln_image_read(const char *path, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    image *picture = NULL;
    picture_text *texts = NULL;
    kiln_status status = image_read(path, &picture, &texts, err);
    if (status != KILN_OK)
        return status;
    status = kiln_image_wrap(picture, out, err);
    if (status != KILN_OK) {
        picture_text_free(texts);
        return status;
    }
    picture_text_free((*out)->texts);
    (*out)->texts = texts;
    return KILN_OK;
}

kiln_status kiln_image_write(const char *path, const kiln_image *k, int quality, kiln_error *err)
{
    if (quality < 0 || quality > 100)
        return fail(err, KILN_BAD_ARGUMENT, "the quality is 1 to 100 (0: the default), not %d", quality);
    return image_write(path, k->picture, k->texts, &(image_write_options){.quality = quality}, err);
}

kiln_status kiln_image_write_check(const char *path, kiln_error *err)
{
    return image_write_check(path, err);
}
