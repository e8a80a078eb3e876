/* inpaint_region.c - one region drawn anew: see inpaint.h. */
#include "pipeline/inpaint.h"

#include "image/composite.h"
#include "image/fill.h"
#include "pipeline/autoencode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The reach of the colours' correction at the seam, px of the drawing. */
static const double seam_reach = 16;

static masked_content content_of(const char *name)
{
    if (strcmp(name, "latent noise") == 0)
        return CONTENT_NOISE;
    return strcmp(name, "latent nothing") == 0 ? CONTENT_NOTHING : CONTENT_PICTURE;
}

/* Whatever has a pixel of at least `least` is drawn. */
static void touch_latents(const mask *pixels, float least, mask *latents)
{
    for (int y = 0; y < pixels->height; y++)
        for (int x = 0; x < pixels->width; x++)
            if (pixels->values[(size_t)y * (size_t)pixels->width + (size_t)x] >= least)
                latents->values[(size_t)(y * latents->height / pixels->height) * (size_t)latents->width +
                                (size_t)(x * latents->width / pixels->width)] = 1;
}

static kiln_status make_masks(inpainting *p, kiln_error *err)
{
    const request *r = &p->work.request;
    kiln_status status = region_mask(&p->region, p->mask, &p->pixel_mask, err);
    if (status == KILN_OK)
        status = mask_resize(p->pixel_mask, r->latent_width, r->latent_height, &p->latent_mask, err);
    if (status != KILN_OK || p->options->soft)
        return status;
    mask_box box;
    mask_round(p->latent_mask);
    if (p->touched)
        touch_latents(p->pixel_mask, 1, p->latent_mask);
    /* So thin that no latent is half covered: nothing would be drawn. */
    else if (!mask_bounds(p->latent_mask, &box))
        touch_latents(p->pixel_mask, 1e-3f, p->latent_mask);
    return KILN_OK;
}

static kiln_status make_start(inpainting *p, const inpaint_fill *fill, kiln_error *err)
{
    kiln_status status = region_pixels(&p->region, p->picture, &p->original, err);
    if (status != KILN_OK)
        return status;
    size_t count = (size_t)p->region.width * (size_t)p->region.height * 3;
    p->start = malloc(count * sizeof *p->start);
    if (!p->start)
        return fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    memcpy(p->start, p->original, count * sizeof *p->start);
    if (fill)
        status = fill->fill(fill->self, p, p->start, err);
    else if (strcmp(p->options->content, "fill") == 0)
        status = fill_blurred(p->start, p->pixel_mask->values, p->region.width, p->region.height, err);
    return status;
}

kiln_status inpaint_open(inpainting *p, kiln_session *s, const kiln_inpaint_options *o, const image *picture,
                         const mask *m, region where, const inpaint_fill *fill, kiln_error *err)
{
    *p = (inpainting){.options = o,
                      .draw = o->draw,
                      .picture = picture,
                      .mask = m,
                      .region = where,
                      .work.session = s,
                      .touched = fill != NULL};
    p->draw.width = where.width;
    p->draw.height = where.height;
    kiln_status status =
        control_part_cut(&p->controls, &o->draw, picture->width, picture->height, &where, err);
    control_part_give(&p->controls, &p->draw);
    if (status == KILN_OK)
        status = work_open(&p->work, s, &p->draw, (request_kind){.picture = true, .mask = true}, err);
    if (status == KILN_OK)
        status = make_masks(p, err);
    if (status == KILN_OK)
        status = make_start(p, fill, err);
    if (status != KILN_OK)
        return status;
    p->soft = (soft_inpainting){(float)o->soft_bias, (float)o->soft_preservation, (float)o->soft_contrast};
    p->work.source = (work_source){.picture = p->start,
                                   .mask = p->pixel_mask->values,
                                   .latent_mask = p->latent_mask->values,
                                   .content = content_of(o->content),
                                   .mask_weight = (float)o->mask_weight,
                                   .soft = o->soft ? &p->soft : NULL};
    p->work.request.add_fields = inpaint_add_fields;
    p->work.request.add_self = o;
    return work_prepare(&p->work, err);
}

void inpaint_close(inpainting *p)
{
    work_close(&p->work);
    control_part_free(&p->controls);
    mask_free(p->pixel_mask);
    mask_free(p->latent_mask);
    free(p->original);
    free(p->start);
}

/* Where drawing and picture have to be equal: neither the pixel nor its latent is under the mask. */
static kiln_status match_colours(const inpainting *p, float *drawn, kiln_error *err)
{
    int width = p->region.width, height = p->region.height, columns = p->latent_mask->width;
    float *kept = malloc((size_t)width * (size_t)height * sizeof *kept);
    if (!kept)
        return fail(err, KILN_NO_MEMORY, "out of memory to match colours");
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            size_t i = (size_t)y * (size_t)width + (size_t)x,
                   k = (size_t)(y * p->latent_mask->height / height) * (size_t)columns +
                       (size_t)(x * columns / width);
            kept[i] = p->pixel_mask->values[i] <= 0 && p->latent_mask->values[k] <= 0;
        }
    kiln_status status = match_seam(drawn, p->original, kept, width, height, seam_reach, err);
    free(kept);
    return status;
}

/* How much of the drawing each pixel of the box takes. As in A1111, the soft edge is doubled when the whole picture is
 * drawn: half a mask is wholly drawn already. */
static kiln_status make_share(const inpainting *p, const float *x, mask **out, kiln_error *err)
{
    kiln_status status = mask_crop(p->mask, (mask_box){0, 0, p->mask->width, p->mask->height}, out, err);
    if (status != KILN_OK)
        return status;
    size_t count = (size_t)p->region.box.width * (size_t)p->region.box.height;
    if (!p->options->soft) {
        for (size_t i = 0; !p->options->only_masked && i < count; i++)
            (*out)->values[i] = fminf(2 * (*out)->values[i], 1);
        return KILN_OK;
    }
    mask *drawn = NULL, *back = NULL;
    status = mask_new(p->region.width, p->region.height, &drawn, err);
    if (status == KILN_OK)
        status = inpaint_soft_share(p, x, drawn->values, err);
    if (status == KILN_OK && p->region.own_scale)
        status = mask_crop(drawn, (mask_box){0, 0, p->region.box.width, p->region.box.height}, &back, err);
    else if (status == KILN_OK)
        status = mask_resize(drawn, p->region.box.width, p->region.box.height, &back, err);
    for (size_t i = 0; status == KILN_OK && i < count; i++)
        (*out)->values[i] = (*out)->values[i] > 0 ? back->values[i] : 0;
    mask_free(drawn);
    mask_free(back);
    return status;
}

/* A picture that is not a number anywhere would be a lie: better none. */
static kiln_status check_finite(const float *drawn, size_t count, kiln_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(drawn[i]))
            return fail(err, KILN_BAD_FORMAT, "what was drawn is not a number at some pixel");
    return KILN_OK;
}

kiln_status inpaint_paint(inpainting *p, int index, image *onto, kiln_error *err)
{
    size_t count = (size_t)p->region.width * (size_t)p->region.height * 3;
    float *x = malloc(p->work.n * sizeof *x), *drawn = malloc(count * sizeof *drawn), *back = NULL;
    mask *share = NULL;
    kiln_status status = x && drawn ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    if (status == KILN_OK)
        status = work_latents(&p->work, index, x, err);
    if (status == KILN_OK)
        status = work_decode(&p->work, x, drawn, err);
    if (status == KILN_OK)
        status = check_finite(drawn, count, err);
    if (status == KILN_OK && p->options->match_colour)
        status = match_colours(p, drawn, err);
    if (status == KILN_OK)
        status = make_share(p, x, &share, err);
    if (status == KILN_OK)
        status = region_back(&p->region, drawn, &back, err);
    if (status == KILN_OK)
        composite(onto, (place){p->region.box.x, p->region.box.y, p->region.box.width, p->region.box.height},
                  back, share->values);
    free(x);
    free(drawn);
    free(back);
    mask_free(share);
    return status;
}
