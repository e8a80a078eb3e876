/* mask.c - see mask.h. */
#include "image/mask.h"

#include "image/image_tensor.h"
#include "image/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t pixel_count(const mask *m)
{
    return (size_t)m->width * (size_t)m->height;
}

kiln_status mask_new(int width, int height, mask **out, kiln_error *err)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        (int64_t)width * height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "a mask of %dx%d is too large, or nothing", width, height);
    mask *m = calloc(1, sizeof *m);
    if (m) {
        *m = (mask){width, height, calloc((size_t)width * (size_t)height, sizeof(float))};
        if (m->values) {
            *out = m;
            return KILN_OK;
        }
    }
    free(m);
    return fail(err, KILN_NO_MEMORY, "out of memory for a mask of %dx%d", width, height);
}

void mask_free(mask *m)
{
    if (!m)
        return;
    free(m->values);
    free(m);
}

/* ------------------------------------------------------------------------------------ from pictures */

static float sample(const image *picture, size_t i)
{
    return picture->bits == 8 ? (float)((const uint8_t *)picture->pixels)[i] / 255.0f
                              : (float)((const uint16_t *)picture->pixels)[i] / 65535.0f;
}

/* One colour all over, so that only the alpha can tell anything. */
static bool one_colour(const image *picture)
{
    size_t channels = (size_t)picture->channels, size = (channels - 1) * (size_t)(picture->bits / 8),
           step = channels * (size_t)(picture->bits / 8);
    const unsigned char *p = picture->pixels;
    for (size_t i = 1; i < (size_t)picture->width * (size_t)picture->height; i++)
        if (memcmp(p, p + i * step, size) != 0)
            return false;
    return true;
}

kiln_status mask_of_picture(const image *picture, mask **out, kiln_error *err)
{
    kiln_status status = mask_new(picture->width, picture->height, out, err);
    if (status != KILN_OK)
        return status;
    if (!image_has_alpha(picture) || !one_colour(picture)) {
        image_to_mask(picture, (*out)->values);
        return KILN_OK;
    }
    size_t channels = (size_t)picture->channels;
    for (size_t i = 0; i < pixel_count(*out); i++)
        (*out)->values[i] = sample(picture, i * channels + channels - 1);
    return KILN_OK;
}

kiln_status mask_of_transparency(const image *picture, mask **out, kiln_error *err)
{
    *out = NULL;
    if (!image_has_alpha(picture))
        return fail(err, KILN_BAD_ARGUMENT, "the picture has no transparency to select by");
    kiln_status status = mask_new(picture->width, picture->height, out, err);
    size_t channels = (size_t)picture->channels;
    for (size_t i = 0; status == KILN_OK && i < pixel_count(*out); i++)
        (*out)->values[i] = 1 - sample(picture, i * channels + channels - 1);
    return status;
}

kiln_status mask_of_colour(const image *picture, const uint8_t colour[3], int tolerance, mask **out,
                           kiln_error *err)
{
    *out = NULL;
    image *bytes = NULL;
    kiln_status status = image_to_bytes(picture, 3, &bytes, err);
    if (status == KILN_OK)
        status = mask_new(picture->width, picture->height, out, err);
    const uint8_t *p = bytes ? bytes->pixels : NULL;
    for (size_t i = 0; status == KILN_OK && i < pixel_count(*out); i++) {
        bool near = true;
        for (size_t c = 0; c < 3; c++)
            near = near && abs(p[i * 3 + c] - colour[c]) <= tolerance;
        (*out)->values[i] = near;
    }
    image_free(bytes);
    return status;
}

/* ------------------------------------------------------------------------------------ polygons */

enum { SUBROWS = 4, SUBCOLUMNS = 4 };

/* Whether the polygon's boundary crosses the ray from (x, y) to the left an odd number of times. */
static bool inside(const mask_point *p, int count, double x, double y)
{
    bool in = false;
    for (int i = 0, j = count - 1; i < count; j = i++)
        if ((p[i].y > y) != (p[j].y > y) && x < (p[j].x - p[i].x) * (y - p[i].y) / (p[j].y - p[i].y) + p[i].x)
            in = !in;
    return in;
}

static int limited(double v, int most)
{
    return v < 0 ? 0 : v > most ? most : (int)v;
}

void mask_add_polygon(mask *m, const mask_point *p, int count)
{
    double low_x = INFINITY, low_y = INFINITY, high_x = -INFINITY, high_y = -INFINITY;
    for (int i = 0; i < count; i++) {
        low_x = fmin(low_x, p[i].x);
        low_y = fmin(low_y, p[i].y);
        high_x = fmax(high_x, p[i].x);
        high_y = fmax(high_y, p[i].y);
    }
    if (!(low_x < high_x) || !(low_y < high_y))
        return;
    for (int y = limited(floor(low_y), m->height); y < limited(ceil(high_y), m->height); y++)
        for (int x = limited(floor(low_x), m->width); x < limited(ceil(high_x), m->width); x++) {
            int hits = 0;
            for (int k = 0; k < SUBROWS * SUBCOLUMNS; k++)
                hits += inside(p, count, x + (k % SUBCOLUMNS + 0.5) / SUBCOLUMNS,
                               y + (k / SUBCOLUMNS + 0.5) / SUBROWS); /* NOLINT(bugprone-integer-division) */
            float *at = &m->values[(size_t)y * (size_t)m->width + (size_t)x];
            *at = fmaxf(*at, (float)hits / (SUBROWS * SUBCOLUMNS));
        }
}

/* ------------------------------------------------------------------------------------ simple changes */

void mask_invert(mask *m)
{
    for (size_t i = 0; i < pixel_count(m); i++)
        m->values[i] = 1 - m->values[i];
}

void mask_round(mask *m)
{
    for (size_t i = 0; i < pixel_count(m); i++)
        m->values[i] = m->values[i] >= 0.5f;
}

bool mask_bounds(const mask *m, mask_box *out)
{
    int low_x = m->width, low_y = m->height, high_x = -1, high_y = -1;
    for (int y = 0; y < m->height; y++)
        for (int x = 0; x < m->width; x++)
            if (m->values[(size_t)y * (size_t)m->width + (size_t)x] > 0) {
                low_x = x < low_x ? x : low_x;
                high_x = x > high_x ? x : high_x;
                low_y = y < low_y ? y : low_y;
                high_y = y;
            }
    *out = (mask_box){low_x, low_y, high_x - low_x + 1, high_y - low_y + 1};
    return high_x >= 0;
}

kiln_status mask_crop(const mask *m, mask_box box, mask **out, kiln_error *err)
{
    kiln_status status = mask_new(box.width, box.height, out, err);
    for (int y = 0; status == KILN_OK && y < box.height; y++)
        memcpy((*out)->values + (size_t)y * (size_t)box.width,
               m->values + (size_t)(box.y + y) * (size_t)m->width + (size_t)box.x,
               (size_t)box.width * sizeof(float));
    return status;
}

kiln_status mask_resize(const mask *m, int width, int height, mask **out, kiln_error *err)
{
    kiln_status status = mask_new(width, height, out, err);
    if (status == KILN_OK)
        status = resize_floats(m->values, m->width, m->height, 1, (*out)->values, width, height,
                               RESIZE_BICUBIC, err);
    if (status != KILN_OK) {
        mask_free(*out);
        *out = NULL;
        return status;
    }
    for (size_t i = 0; i < pixel_count(*out); i++)
        (*out)->values[i] = fminf(fmaxf((*out)->values[i], 0), 1);
    return KILN_OK;
}

/* Lengthen one side of a box to `wanted`, evenly to both ends, within 0..limit. */
static void stretch(int *start, int *length, int64_t wanted, int limit)
{
    int size = wanted > limit ? limit : (int)wanted;
    if (size <= *length)
        return;
    int at = *start - (size - *length) / 2;
    at = at < 0 ? 0 : at + size > limit ? limit - size : at;
    *start = at;
    *length = size;
}

mask_box mask_box_around(mask_box box, int padding, int aspect_width, int aspect_height, int width,
                         int height)
{
    int64_t right = (int64_t)box.x + box.width + padding, bottom = (int64_t)box.y + box.height + padding;
    int64_t left = (int64_t)box.x - padding, top = (int64_t)box.y - padding;
    box.x = left < 0 ? 0 : (int)left;
    box.y = top < 0 ? 0 : (int)top;
    box.width = (right > width ? width : (int)right) - box.x;
    box.height = (bottom > height ? height : (int)bottom) - box.y;
    /* Wider than asked for in proportion: higher then; else wider. */
    if ((int64_t)box.width * aspect_height > (int64_t)box.height * aspect_width)
        stretch(&box.y, &box.height, ((int64_t)box.width * aspect_height + aspect_width / 2) / aspect_width,
                height);
    else
        stretch(&box.x, &box.width, ((int64_t)box.height * aspect_width + aspect_height / 2) / aspect_height,
                width);
    return box;
}
