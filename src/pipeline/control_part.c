/* control_part.c - see control_part.h. */
#include "pipeline/control_part.h"

#include "image/image_tensor.h"
#include "image/resize.h"
#include "pipeline/image_api.h"

#include <stdlib.h>

/* Whether there is something to cut; what cannot be is refused later, by steering_check. */
static bool has_controls(const kiln_draw_options *o)
{
    return o->controls && o->control_count > 0 && o->control_count <= KILN_MAX_CONTROLS;
}

static kiln_status fit(const image *from, int width, int height, image **out, kiln_error *err)
{
    *out = NULL;
    if (from->width == width && from->height == height)
        return KILN_OK;
    return image_resize(from, width, height, RESIZE_LANCZOS, out, err);
}

kiln_status control_part_fit(control_part *p, const kiln_draw_options *o, int width, int height,
                             kiln_error *err)
{
    *p = (control_part){0};
    kiln_status status = KILN_OK;
    for (int i = 0; has_controls(o) && status == KILN_OK && i < o->control_count; i++) {
        image *fitted = NULL;
        p->controls[i] = o->controls[i];
        if (!o->controls[i].picture)
            continue;
        status = fit(o->controls[i].picture->picture, width, height, &fitted, err);
        if (status == KILN_OK && fitted)
            status = kiln_image_wrap(fitted, &p->pictures[i], err);
        if (p->pictures[i])
            p->controls[i].picture = p->pictures[i];
    }
    return status;
}

/* One control picture's part. */
static kiln_status cut(const image *from, int width, int height, const region *where, image **out,
                       kiln_error *err)
{
    image *fitted = NULL;
    float *pixels = NULL;
    *out = NULL;
    kiln_status status = fit(from, width, height, &fitted, err);
    const image *whole = fitted ? fitted : from;
    if (status == KILN_OK && where->own_scale) {
        status = region_pixels(where, whole, &pixels, err);
        if (status == KILN_OK)
            status = image_from_tensor(pixels, where->width, where->height, 3, 8, out, err);
    } else if (status == KILN_OK) {
        status = image_crop(whole, where->box.x, where->box.y, where->box.width, where->box.height, out, err);
    }
    free(pixels);
    image_free(fitted);
    return status;
}

kiln_status control_part_cut(control_part *p, const kiln_draw_options *o, int width, int height,
                             const region *where, kiln_error *err)
{
    *p = (control_part){0};
    kiln_status status = KILN_OK;
    for (int i = 0; has_controls(o) && status == KILN_OK && i < o->control_count; i++) {
        image *part = NULL;
        p->controls[i] = o->controls[i];
        if (!o->controls[i].picture)
            continue;
        status = cut(o->controls[i].picture->picture, width, height, where, &part, err);
        if (status == KILN_OK)
            status = kiln_image_wrap(part, &p->pictures[i], err);
        if (p->pictures[i])
            p->controls[i].picture = p->pictures[i];
    }
    return status;
}

void control_part_give(const control_part *p, kiln_draw_options *o)
{
    if (has_controls(o))
        o->controls = p->controls;
}

void control_part_free(control_part *p)
{
    for (int i = 0; i < KILN_MAX_CONTROLS; i++)
        kiln_image_free(p->pictures[i]);
    *p = (control_part){0};
}
