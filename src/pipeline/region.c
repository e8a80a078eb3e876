/* region.c - see region.h. */
#include "pipeline/region.h"

#include "image/fill.h"
#include "image/image_tensor.h"
#include "image/resize.h"

#include <stdlib.h>
#include <string.h>

/* [height, width, channels] rows of one size into the top left corner of another. */
static void copy_rows(const float *from, int from_width, int rows, float *to, int to_width, size_t channels)
{
    int width = from_width < to_width ? from_width : to_width;
    for (int y = 0; y < rows; y++)
        memcpy(to + (size_t)y * (size_t)to_width * channels, from + (size_t)y * (size_t)from_width * channels,
               (size_t)width * channels * sizeof(float));
}

static kiln_status fail_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for a part of the picture");
}

kiln_status region_pixels(const region *r, const image *picture, float **out, kiln_error *err)
{
    image *part = NULL, *resized = NULL;
    float *small = NULL;
    const mask_box *b = &r->box;
    *out = NULL;
    kiln_status status = image_crop(picture, b->x, b->y, b->width, b->height, &part, err);
    if (status == KILN_OK && !r->own_scale)
        status = image_resize(part, r->width, r->height, RESIZE_LANCZOS, &resized, err);
    const image *from = resized ? resized : part;
    if (status == KILN_OK) {
        small = malloc((size_t)from->width * (size_t)from->height * 3 * sizeof *small);
        *out = malloc((size_t)r->width * (size_t)r->height * 3 * sizeof **out);
        if (!small || !*out)
            status = fail_memory(err);
    }
    if (status == KILN_OK) {
        image_to_tensor(from, small);
        copy_rows(small, from->width, from->height, *out, r->width, 3);
        fill_edge(*out, r->width, r->height, (fill_box){0, 0, from->width, from->height});
    }
    free(small);
    image_free(part);
    image_free(resized);
    if (status != KILN_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

kiln_status region_mask(const region *r, const mask *m, mask **out, kiln_error *err)
{
    if (!r->own_scale)
        return mask_resize(m, r->width, r->height, out, err);
    kiln_status status = mask_new(r->width, r->height, out, err);
    if (status == KILN_OK)
        copy_rows(m->values, m->width, m->height, (*out)->values, r->width, 1);
    return status;
}

kiln_status region_back(const region *r, const float *drawn, float **out, kiln_error *err)
{
    const mask_box *b = &r->box;
    *out = malloc((size_t)b->width * (size_t)b->height * 3 * sizeof **out);
    if (!*out)
        return fail_memory(err);
    if (r->own_scale) {
        copy_rows(drawn, r->width, b->height, *out, b->width, 3);
        return KILN_OK;
    }
    kiln_status status =
        resize_floats(drawn, r->width, r->height, 3, *out, b->width, b->height, RESIZE_LANCZOS, err);
    if (status != KILN_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
