/* clip_pixels.c - a picture as CLIP's vision encoder takes it, number for number as transformers' CLIPImageProcessor
 * makes it with PIL: 8-bit RGB, resized, cropped, then (v / 255 - mean) / deviation. */
#include "pipeline/clip.h"

#include "image/resize.h"

#include <math.h>
#include <string.h>

/* A strip so long that its enlargement would be no picture: what lies far from the middle is cut off by the crop
 * anyway. */
static kiln_status cut_strip(const image *from, int short_side, image **out, kiln_error *err)
{
    int least = from->width < from->height ? from->width : from->height;
    int64_t longest = (int64_t)least * (IMAGE_MAX_SIDE / short_side);
    *out = NULL;
    int width = from->width > longest ? (int)longest : from->width,
        height = from->height > longest ? (int)longest : from->height;
    if (width == from->width && height == from->height)
        return KILN_OK;
    return image_crop(from, (from->width - width) / 2, (from->height - height) / 2, width, height, out, err);
}

static kiln_status resize(const image *from, const clip_preparation *p, image **out, kiln_error *err)
{
    static const resize_filter filters[] = {RESIZE_NEAREST, RESIZE_LANCZOS, RESIZE_BILINEAR, RESIZE_BICUBIC,
                                            RESIZE_BOX};
    int width = p->short_side, height = p->short_side;
    if (!p->exact && from->width > from->height)
        width = (int)((int64_t)p->short_side * from->width / from->height);
    else if (!p->exact)
        height = (int)((int64_t)p->short_side * from->height / from->width);
    return image_resize(from, width, height, filters[p->filter], out, err);
}

/* The square in the middle; where the picture is smaller, black joins it as transformers pads. */
static void crop(const image *from, const clip_preparation *p, float *pixels)
{
    int left = from->width - p->crop, top = from->height - p->crop;
    /* Rounded down, for negative numbers too. */
    left = left >= 0 ? left / 2 : -((1 - left) / 2);
    top = top >= 0 ? top / 2 : -((1 - top) / 2);
    const uint8_t *bytes = from->pixels;
    for (int y = 0; y < p->crop; y++)
        for (int x = 0; x < p->crop; x++)
            for (int c = 0; c < 3; c++) {
                int row = y + top, column = x + left;
                bool inside = row >= 0 && row < from->height && column >= 0 && column < from->width;
                float v =
                    inside ? (float)bytes[((size_t)row * (size_t)from->width + (size_t)column) * 3 + c] : 0;
                *pixels++ = ((float)(v * (1.0 / 255.0)) - p->mean[c]) / p->deviation[c];
            }
}

kiln_status clip_pixels(const image *from, const clip_preparation *p, float *pixels, kiln_error *err)
{
    image *cut = NULL, *rgb = NULL, *resized = NULL;
    kiln_status status = cut_strip(from, p->short_side, &cut, err);
    if (status == KILN_OK)
        status = image_to_bytes(cut ? cut : from, 3, &rgb, err);
    if (status == KILN_OK)
        status = resize(rgb, p, &resized, err);
    if (status == KILN_OK)
        crop(resized, p, pixels);
    image_free(cut);
    image_free(rgb);
    image_free(resized);
    return status;
}
