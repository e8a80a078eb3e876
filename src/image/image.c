/* image.c - see image.h. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

kiln_status image_new(int width, int height, int channels, int bits, image **out, kiln_error *err)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        (int64_t)width * height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT,
                    "a picture of %d x %d is out of range: each side must be 1 to %d, with at most %" PRId64
                    " pixels in all",
                    width, height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    if (channels < 1 || channels > 4 || (bits != 8 && bits != 16))
        return fail(err, KILN_BAD_ARGUMENT, "a picture has 1 to 4 channels of 8 or 16 bits, not %d of %d",
                    channels, bits);
    image *made = malloc(sizeof *made);
    if (made) {
        *made = (image){.width = width, .height = height, .channels = channels, .bits = bits};
        made->pixels = calloc((size_t)width * (size_t)height, (size_t)channels * (size_t)(bits / 8));
    }
    if (!made || !made->pixels) {
        free(made);
        return fail(err, KILN_NO_MEMORY, "not enough memory for a picture of %d x %d", width, height);
    }
    *out = made;
    return KILN_OK;
}

void image_free(image *picture)
{
    if (picture)
        free(picture->pixels);
    free(picture);
}

static size_t pixel_bytes(const image *picture)
{
    return (size_t)picture->channels * (size_t)(picture->bits / 8);
}

size_t image_row_bytes(const image *picture)
{
    return (size_t)picture->width * pixel_bytes(picture);
}

size_t image_bytes(const image *picture)
{
    return (size_t)picture->height * image_row_bytes(picture);
}

kiln_status image_crop(const image *from, int x, int y, int width, int height, image **out, kiln_error *err)
{
    *out = NULL;
    if (x < 0 || y < 0 || width < 1 || height < 1 || width > from->width - x || height > from->height - y)
        return fail(err, KILN_BAD_ARGUMENT, "cannot cut %d x %d at (%d, %d) out of a picture of %d x %d",
                    width, height, x, y, from->width, from->height);
    kiln_status status = image_new(width, height, from->channels, from->bits, out, err);
    if (status != KILN_OK)
        return status;
    size_t row = image_row_bytes(*out);
    const unsigned char *source = (const unsigned char *)from->pixels + (size_t)y * image_row_bytes(from) +
                                  (size_t)x * pixel_bytes(from);
    for (int i = 0; i < height; i++)
        memcpy((unsigned char *)(*out)->pixels + (size_t)i * row, source + (size_t)i * image_row_bytes(from),
               row);
    return KILN_OK;
}

/* EXIF orientation as three elementary moves: swap x and y first, then mirror along x, then along y. */
typedef struct turn {
    bool swap, mirror_x, mirror_y;
} turn;

static const turn turns[9] = {
    [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
    [5] = {true, false, false}, [6] = {true, true, false}, [7] = {true, true, true},
    [8] = {true, false, true},
};

kiln_status image_orient(image **picture, int orientation, kiln_error *err)
{
    if (orientation < 2 || orientation > 8)
        return KILN_OK;
    const image *from = *picture;
    turn t = turns[orientation];
    image *to;
    kiln_status status = image_new(t.swap ? from->height : from->width, t.swap ? from->width : from->height,
                                   from->channels, from->bits, &to, err);
    if (status != KILN_OK)
        return status;
    size_t bytes = pixel_bytes(from);
    unsigned char *target = to->pixels;
    for (int y = 0; y < to->height; y++) {
        for (int x = 0; x < to->width; x++, target += bytes) {
            size_t u = (size_t)(t.mirror_x ? to->width - 1 - x : x);
            size_t v = (size_t)(t.mirror_y ? to->height - 1 - y : y);
            size_t at = t.swap ? u * (size_t)from->width + v : v * (size_t)from->width + u;
            memcpy(target, (const unsigned char *)from->pixels + at * bytes, bytes);
        }
    }
    image_free(*picture);
    *picture = to;
    return KILN_OK;
}

static unsigned sample_as_byte(const image *picture, size_t index)
{
    if (picture->bits == 8)
        return ((const uint8_t *)picture->pixels)[index];
    return (((const uint16_t *)picture->pixels)[index] * 255u + 32767u) / 65535u;
}

/* colour*alpha + white*(1-alpha), rounded. */
static unsigned over_white(unsigned colour, unsigned alpha)
{
    return (colour * alpha + 255u * (255u - alpha) + 127u) / 255u;
}

static void convert_pixel(const image *from, size_t pixel, uint8_t *to, int channels)
{
    size_t base = pixel * (size_t)from->channels;
    bool colour = from->channels >= 3, keeps_alpha = channels == 2 || channels == 4;
    unsigned rgb[3], alpha = 255;
    for (size_t c = 0; c < 3; c++)
        rgb[c] = sample_as_byte(from, base + (colour ? c : 0));
    if (image_has_alpha(from))
        alpha = sample_as_byte(from, base + (size_t)from->channels - 1);
    if (!keeps_alpha)
        for (size_t c = 0; c < 3; c++)
            rgb[c] = over_white(rgb[c], alpha);
    if (channels >= 3)
        for (size_t c = 0; c < 3; c++)
            to[c] = (uint8_t)rgb[c];
    else
        to[0] =
            (uint8_t)(colour ? (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 32768u) >> 16 : rgb[0]);
    if (keeps_alpha)
        to[channels - 1] = (uint8_t)alpha;
}

kiln_status image_to_bytes(const image *from, int channels, image **out, kiln_error *err)
{
    kiln_status status = image_new(from->width, from->height, channels, 8, out, err);
    if (status != KILN_OK)
        return status;
    uint8_t *to = (*out)->pixels;
    size_t pixels = (size_t)from->width * (size_t)from->height;
    for (size_t i = 0; i < pixels; i++)
        convert_pixel(from, i, to + i * (size_t)channels, channels);
    return KILN_OK;
}
