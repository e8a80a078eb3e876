/* select.c - kiln_select: shapes, colours and transparency to a mask. */
#include "image/mask.h"
#include "pipeline/image_api.h"

#include <math.h>
#include <stdlib.h>

static void join(mask *onto, const mask *other)
{
    for (size_t i = 0; i < (size_t)onto->width * (size_t)onto->height; i++)
        onto->values[i] = fmaxf(onto->values[i], other->values[i]);
}

static kiln_status add_rectangle(mask *m, const kiln_selection *s, kiln_error *err)
{
    if (s->width == 0 && s->height == 0)
        return KILN_OK;
    if (s->width < 1 || s->height < 1)
        return fail(err, KILN_BAD_ARGUMENT, "a selected rectangle has a width and a height, not %dx%d",
                    s->width, s->height);
    int64_t right = (int64_t)s->x + s->width, bottom = (int64_t)s->y + s->height;
    for (int y = 0; y < m->height; y++)
        for (int x = 0; x < m->width; x++)
            if (x >= s->x && x < right && y >= s->y && y < bottom)
                m->values[(size_t)y * (size_t)m->width + (size_t)x] = 1;
    return KILN_OK;
}

static kiln_status add_polygon(mask *m, const kiln_selection *s, kiln_error *err)
{
    if (s->point_count == 0)
        return KILN_OK;
    if (s->point_count < 3 || s->point_count > 100000 || !s->points)
        return fail(err, KILN_BAD_ARGUMENT, "a polygon has 3 to 100000 points, not %d", s->point_count);
    mask_point *points = malloc((size_t)s->point_count * sizeof *points);
    if (!points)
        return fail(err, KILN_NO_MEMORY, "out of memory for a polygon");
    kiln_status status = KILN_OK;
    for (int i = 0; i < s->point_count; i++) {
        points[i] = (mask_point){s->points[i].x, s->points[i].y};
        if (!isfinite(points[i].x) || !isfinite(points[i].y))
            status = fail(err, KILN_BAD_ARGUMENT, "point %d of the polygon is not a number", i + 1);
    }
    if (status == KILN_OK)
        mask_add_polygon(m, points, s->point_count);
    free(points);
    return status;
}

static kiln_status add_from_picture(mask *m, const image *picture, const kiln_selection *s, kiln_error *err)
{
    mask *other = NULL;
    kiln_status status = KILN_OK;
    if (s->transparent) {
        status = mask_of_transparency(picture, &other, err);
        if (status == KILN_OK)
            join(m, other);
        mask_free(other);
        other = NULL;
    }
    if (status != KILN_OK || !s->by_colour)
        return status;
    if (s->tolerance < 0 || s->tolerance > 255)
        return fail(err, KILN_BAD_ARGUMENT, "the tolerance of a colour is 0 to 255, not %d", s->tolerance);
    status = mask_of_colour(picture, s->colour, s->tolerance, &other, err);
    if (status == KILN_OK)
        join(m, other);
    mask_free(other);
    return status;
}

kiln_status kiln_select(const kiln_image *picture, const kiln_selection *s, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    if (!picture || !s)
        return fail(err, KILN_BAD_ARGUMENT, "there is no %s", picture ? "selection" : "picture");
    const image *from = picture->picture;
    mask *m = NULL;
    image *grey = NULL;
    kiln_status status = mask_new(from->width, from->height, &m, err);
    if (status == KILN_OK)
        status = add_rectangle(m, s, err);
    if (status == KILN_OK)
        status = add_polygon(m, s, err);
    if (status == KILN_OK)
        status = add_from_picture(m, from, s, err);
    if (status == KILN_OK)
        status = image_new(from->width, from->height, 1, 8, &grey, err);
    for (size_t i = 0; status == KILN_OK && i < (size_t)from->width * (size_t)from->height; i++)
        ((uint8_t *)grey->pixels)[i] = (uint8_t)lrintf(m->values[i] * 255);
    mask_free(m);
    return status == KILN_OK ? kiln_image_wrap(grey, out, err) : status;
}
