/* image_tensor.c - see image_tensor.h. */
#include "image/image_tensor.h"

#include <math.h>

/* Sample as a fraction 0..1 of full scale. */
static float fraction(const image *picture, size_t index)
{
    if (picture->bits == 8)
        return (float)((const uint8_t *)picture->pixels)[index] / 255.0f;
    return (float)((const uint16_t *)picture->pixels)[index] / 65535.0f;
}

void image_to_tensor(const image *picture, float *nhwc)
{
    size_t pixels = (size_t)picture->width * (size_t)picture->height, channels = (size_t)picture->channels;
    bool colour = channels >= 3;
    for (size_t i = 0; i < pixels; i++) {
        float alpha = image_has_alpha(picture) ? fraction(picture, i * channels + channels - 1) : 1.0f;
        for (size_t c = 0; c < 3; c++) {
            float v = fraction(picture, i * channels + (colour ? c : 0));
            if (alpha < 1.0f)
                v = v * alpha + (1.0f - alpha);
            nhwc[i * 3 + c] = 2.0f * v - 1.0f;
        }
    }
}

void image_to_mask(const image *picture, float *mask)
{
    size_t pixels = (size_t)picture->width * (size_t)picture->height, channels = (size_t)picture->channels;
    for (size_t i = 0; i < pixels; i++) {
        size_t at = i * channels;
        if (channels < 3) {
            mask[i] = fraction(picture, at);
        } else if (picture->bits == 8) {
            const uint8_t *p = (const uint8_t *)picture->pixels + at;
            mask[i] = (float)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768u) >> 16) / 255.0f;
        } else {
            mask[i] = 0.299f * fraction(picture, at) + 0.587f * fraction(picture, at + 1) +
                      0.114f * fraction(picture, at + 2);
        }
    }
}

kiln_status image_from_tensor(const float *nhwc, int width, int height, int channels, int bits, image **out,
                              kiln_error *err)
{
    kiln_status status = image_new(width, height, channels, bits, out, err);
    if (status != KILN_OK)
        return status;
    size_t row = (size_t)width * (size_t)channels, count = row * (size_t)height;
    float full = bits == 8 ? 255.0f : 65535.0f;
    for (size_t i = 0; i < count; i++) {
        float v = nhwc[i] / 2.0f + 0.5f;
        if (!isfinite(v)) {
            image_free(*out);
            *out = NULL;
            return fail(err, KILN_BAD_FORMAT, "the picture is not a number at column %zu, row %zu",
                        i % row / (size_t)channels, i / row);
        }
        v = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
        if (bits == 8)
            ((uint8_t *)(*out)->pixels)[i] = (uint8_t)lrintf(v * full);
        else
            ((uint16_t *)(*out)->pixels)[i] = (uint16_t)lrintf(v * full);
    }
    return KILN_OK;
}
