/* inpaint.c - kiln_inpaint: the mask made ready, the region chosen, and each picture of the batch drawn into a copy. */
#include "pipeline/inpaint.h"

#include "pipeline/image_api.h"

#include <string.h>

kiln_inpaint_options kiln_inpaint_defaults(void)
{
    return (kiln_inpaint_options){.draw = kiln_draw_defaults(),
                                  .mask_blur = 4,
                                  .content = "original",
                                  .padding = 32,
                                  .mask_weight = 1,
                                  .match_colour = true,
                                  .soft_bias = 1,
                                  .soft_preservation = 0.5,
                                  .soft_contrast = 4,
                                  .soft_threshold = 0.5,
                                  .soft_difference = 2};
}

kiln_status inpaint_check(const kiln_inpaint_options *o, kiln_error *err)
{
    static const char *const contents[] = {"original", "fill", "latent noise", "latent nothing"};
    const struct {
        const char *name;
        double given, low, high;
    } numbers[] = {
        {"mask_grow", o->mask_grow, -4096, 4096},
        {"mask_blur", o->mask_blur, 0, 256},
        {"padding", o->padding, 0, 4096},
        {"mask_weight", o->mask_weight, 0, 1},
        {"soft_bias", o->soft_bias, 0, 8},
        {"soft_preservation", o->soft_preservation, 0, 8},
        {"soft_contrast", o->soft_contrast, 1, 32},
        {"soft_influence", o->soft_influence, 0, 1},
        {"soft_threshold", o->soft_threshold, 0, 8},
        {"soft_difference", o->soft_difference, 0, 8},
    };
    kiln_status status = KILN_OK;
    for (size_t i = 0; status == KILN_OK && i < sizeof numbers / sizeof *numbers; i++)
        status =
            request_check_number(numbers[i].name, numbers[i].given, numbers[i].low, numbers[i].high, err);
    if (status != KILN_OK)
        return status;
    for (size_t i = 0; o->content && i < sizeof contents / sizeof *contents; i++)
        if (strcmp(o->content, contents[i]) == 0)
            return KILN_OK;
    return fail(
        err, KILN_BAD_ARGUMENT,
        "the masked content is \"original\", \"fill\", \"latent noise\" or \"latent nothing\", not \"%s\"",
        o->content ? o->content : "");
}

/* The mask as it is drawn by: rounded, turned round, grown, softened. */
static kiln_status make_mask(const kiln_inpaint_options *o, mask **out, kiln_error *err)
{
    *out = NULL;
    if (!o->picture || !o->mask)
        return fail(err, KILN_BAD_ARGUMENT, "there is no %s", o->picture ? "mask" : "picture");
    const image *picture = o->picture->picture, *given = o->mask->picture;
    if (given->width != picture->width || given->height != picture->height)
        return fail(err, KILN_BAD_ARGUMENT,
                    "the mask is %dx%d and the picture %dx%d: a mask has the size of its picture",
                    given->width, given->height, picture->width, picture->height);
    kiln_status status = mask_of_picture(given, out, err);
    if (status != KILN_OK)
        return status;
    if (!o->soft)
        mask_round(*out);
    if (o->invert)
        mask_invert(*out);
    status = mask_grow(*out, o->mask_grow, err);
    if (status == KILN_OK)
        status = mask_blur(*out, o->mask_blur, err);
    mask_box box;
    if (status == KILN_OK && !mask_bounds(*out, &box))
        status = fail(err, KILN_BAD_ARGUMENT, "the mask selects nothing: what is %s in it would be drawn",
                      o->invert ? "black" : "white");
    return status;
}

static int rounded_up(int side, int step)
{
    return (side + step - 1) / step * step;
}

/* Longer sides are no drawing of any model: attention over a picture of that size takes days. */
enum { WHOLE_SIDE_MAX = 16384 };

static kiln_status check_region(const region *r, kiln_error *err)
{
    if (r->width <= WHOLE_SIDE_MAX && r->height <= WHOLE_SIDE_MAX)
        return KILN_OK;
    return fail(
        err, KILN_BAD_ARGUMENT,
        "a picture of %dx%d is not drawn whole, where %d px a side are the most: only_masked draws the part "
        "around the mask alone",
        r->box.width, r->box.height, WHOLE_SIDE_MAX);
}

/* What is drawn, and how large. */
static region choose_region(const kiln_model *m, const kiln_inpaint_options *o, const mask *drawn)
{
    int own_width, own_height, step = kiln_model_size_step(m);
    kiln_model_size(m, &own_width, &own_height);
    region r = {.box = {0, 0, drawn->width, drawn->height}, .width = o->draw.width, .height = o->draw.height};
    if (o->only_masked) {
        mask_box box;
        r.width = r.width ? r.width : own_width;
        r.height = r.height ? r.height : own_height;
        if (mask_bounds(drawn, &box) && r.width > 0 && r.height > 0)
            r.box = mask_box_around(box, o->padding, r.width, r.height, drawn->width, drawn->height);
    } else if (!r.width && !r.height) {
        r.width = rounded_up(drawn->width, step);
        r.height = rounded_up(drawn->height, step);
        r.own_scale = true;
    } else {
        r.width = r.width ? r.width : own_width;
        r.height = r.height ? r.height : own_height;
    }
    return r;
}

/* Everything but the drawing; the mask is that of the region. */
static kiln_status prepare(kiln_session *s, const kiln_inpaint_options *o, mask **m, region *r,
                           kiln_error *err)
{
    *m = NULL;
    mask *whole = NULL;
    kiln_status status = inpaint_check(o, err);
    if (status == KILN_OK)
        status = make_mask(o, &whole, err);
    if (status == KILN_OK) {
        *r = choose_region(s->model, o, whole);
        status = check_region(r, err);
    }
    if (status == KILN_OK)
        status = mask_crop(whole, r->box, m, err);
    mask_free(whole);
    return status;
}

kiln_status kiln_inpaint_plan(kiln_session *s, const kiln_inpaint_options *o, kiln_memory_plan *out,
                              kiln_error *err)
{
    *out = (kiln_memory_plan){0};
    session_begin(s);
    mask *m = NULL;
    region where;
    request r = {0};
    kiln_status status = prepare(s, o, &m, &where, err);
    if (status == KILN_OK) {
        kiln_draw_options draw = o->draw;
        draw.width = where.width;
        draw.height = where.height;
        status = request_resolve(s, &draw, (request_kind){.picture = true, .mask = true}, &r, err);
        if (status == KILN_OK)
            status = request_plan_memory(s, &r, err);
        *out = r.memory;
        request_fini(&r);
    }
    mask_free(m);
    return status;
}

static kiln_status paint_one(inpainting *p, int index, kiln_image **out, kiln_error *err)
{
    const image *from = p->picture;
    image *copy = NULL;
    kiln_status status = image_crop(from, 0, 0, from->width, from->height, &copy, err);
    if (status == KILN_OK)
        status = kiln_image_wrap(copy, out, err);
    if (status == KILN_OK)
        status = inpaint_paint(p, index, copy, err);
    return status == KILN_OK ? work_sign(&p->work, *out, err) : status;
}

static kiln_status paint_all(kiln_session *s, const void *options, kiln_image **out, kiln_error *err)
{
    const kiln_inpaint_options *o = options;
    mask *m = NULL;
    region where;
    kiln_status status = prepare(s, o, &m, &where, err);
    if (status == KILN_OK) {
        inpainting p;
        status = inpaint_open(&p, s, o, o->picture->picture, m, where, NULL, err);
        for (int k = 0; status == KILN_OK && k < o->draw.batch; k++)
            status = paint_one(&p, k, &out[k], err);
        inpaint_close(&p);
    }
    mask_free(m);
    return status;
}

kiln_status kiln_inpaint(kiln_session *s, const kiln_inpaint_options *o, kiln_image **out, kiln_error *err)
{
    return work_paint_batch(s, &o->draw, paint_all, o, out, err);
}
