/* redraw.c - kiln_redraw: a picture drawn again at a larger size, by overlapping tiles. */
#include "pipeline/redraw.h"

#include "image/composite.h"
#include "image/image_tensor.h"
#include "image/resize.h"
#include "pipeline/image_api.h"
#include "pipeline/seeding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ tiles */

/* Tiles of one size, spread evenly. */
static int tile_count(int length, int tile, int overlap)
{
    return length <= tile ? 1 : (length - overlap + tile - overlap - 1) / (tile - overlap);
}

static int tile_start(int k, int count, int length, int tile)
{
    return count == 1 ? 0 : (int)((int64_t)k * (length - tile) / (count - 1));
}

static int rounded_up(int side, int step)
{
    return (side + step - 1) / step * step;
}

static float ramp(int i, int size, int overlap)
{
    int edge = i < size - 1 - i ? i : size - 1 - i;
    return edge >= overlap ? 1 : ((float)edge + 0.5f) / (float)overlap;
}

/* A drawn tile into the sums; `box` is its place in the result, `stride` the width of what was drawn. */
static void add_tile(redrawing *r, mask_box box, const float *drawn, int stride)
{
    int overlap = r->overlap > 0 ? r->overlap : 1;
    for (int y = 0; y < box.height; y++)
        for (int x = 0; x < box.width; x++) {
            float w = ramp(y, box.height, overlap) * ramp(x, box.width, overlap);
            size_t i = (size_t)(box.y + y) * (size_t)r->width + (size_t)(box.x + x);
            const float *p = drawn + ((size_t)y * (size_t)stride + (size_t)x) * 3;
            r->weight[i] += w;
            for (size_t c = 0; c < 3; c++)
                r->sum[i * 3 + c] += w * p[c];
        }
}

/* The options of tile k. */
static kiln_draw_options tile_options(const redrawing *r, int k, int width, int height)
{
    kiln_draw_options o = words_options(&r->words, 0, &r->options->draw);
    o.width = width;
    o.height = height;
    o.batch = 1;
    o.init = NULL;
    seeding_take_part(&o, k);
    control_part_give(&r->controls, &o);
    return o;
}

/* Tiles go by the picture that they are drawn from: the enlarged one, or the small one of an x4 upscaler. */
static kiln_status draw_tile(redrawing *r, int k, mask_box box, char **text, kiln_error *err)
{
    int step = r->factor == 1 ? kiln_model_size_step(r->session->model) : 1;
    region where = {.box = box,
                    .width = rounded_up(box.width, step),
                    .height = rounded_up(box.height, step),
                    .own_scale = true};
    kiln_draw_options all = tile_options(r, k, where.width * r->factor, where.height * r->factor), o = all;
    control_part controls;
    float *start = NULL, *low = NULL, *drawn = NULL;
    kiln_status status = control_part_cut(&controls, &all, r->from->width, r->from->height, &where, err);
    control_part_give(&controls, &o);
    if (status == KILN_OK)
        status = region_pixels(&where, r->from, &start, err);
    work_source source = {.picture = start};
    if (status == KILN_OK && r->factor > 1) {
        status = redraw_low(r, &where, start, &low, err);
        source = (work_source){.low = low, .noise_level = r->options->noise_level, .low_alpha = r->low_alpha};
    }
    if (status == KILN_OK)
        status = work_pixels(r->session, &o, &source, &drawn, err);
    if (status == KILN_OK)
        add_tile(
            r,
            (mask_box){box.x * r->factor, box.y * r->factor, box.width * r->factor, box.height * r->factor},
            drawn, where.width * r->factor);
    if (status == KILN_OK && text)
        status = redraw_recipe(r, text, err);
    control_part_free(&controls);
    free(start);
    free(low);
    free(drawn);
    return status;
}

static kiln_status draw_tiles(redrawing *r, char **text, kiln_error *err)
{
    const image *from = r->from;
    int tw = r->tile_width / r->factor, th = r->tile_height / r->factor, overlap = r->overlap / r->factor;
    tw = tw < from->width ? tw : from->width;
    th = th < from->height ? th : from->height;
    int columns = tile_count(from->width, tw, overlap < tw ? overlap : tw - 1),
        rows = tile_count(from->height, th, overlap < th ? overlap : th - 1);
    kiln_status status = KILN_OK;
    for (int k = 0; status == KILN_OK && k < rows * columns; k++) {
        mask_box box = {tile_start(k % columns, columns, from->width, tw),
                        tile_start(k / columns, rows, from->height, th), tw, th};
        status = draw_tile(r, k, box, k + 1 == rows * columns ? text : NULL, err);
    }
    return status;
}

/* ------------------------------------------------------------------------------------ the result */

/* The picture enlarged by other means: what ordinary tiles are drawn from, and the form and the alpha of the result. */
static kiln_status enlarge(redrawing *r, kiln_image **out, kiln_error *err)
{
    kiln_upscale_options o = redraw_enlarging(r);
    kiln_status status = kiln_upscale(r->upscaler, r->options->picture, &o, out, err);
    kiln_upscaler_close(r->upscaler); /* its memory is the tiles' now */
    r->upscaler = NULL;
    return status;
}

static kiln_status finish(const redrawing *r, image *result, kiln_error *err)
{
    size_t count = (size_t)r->width * (size_t)r->height;
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++) {
            r->sum[i * 3 + c] /= r->weight[i];
            if (!isfinite(r->sum[i * 3 + c]))
                return fail(err, KILN_BAD_FORMAT, "the picture is not a number at column %zu, row %zu",
                            i % (size_t)r->width, i / (size_t)r->width);
        }
    composite_colours(result, r->sum);
    return KILN_OK;
}

static kiln_status make_room(redrawing *r, kiln_error *err)
{
    size_t count = (size_t)r->width * (size_t)r->height;
    r->sum = calloc(count * 3, sizeof *r->sum);
    r->weight = calloc(count, sizeof *r->weight);
    return r->sum && r->weight
               ? KILN_OK
               : fail(err, KILN_NO_MEMORY, "out of memory for a picture of %dx%d", r->width, r->height);
}

/* An x4 upscaler gives four times the size; what was asked for may be another. */
static kiln_status fit(const redrawing *r, kiln_image **result, char *text, kiln_error *err)
{
    image *resized = NULL;
    kiln_image *fitted = NULL;
    kiln_status status = KILN_OK;
    if (r->to_width != r->width || r->to_height != r->height) {
        status = image_resize((*result)->picture, r->to_width, r->to_height, RESIZE_LANCZOS, &resized, err);
        if (status == KILN_OK)
            status = kiln_image_wrap(resized, &fitted, err);
        if (status != KILN_OK)
            return status;
        kiln_image_free(*result);
        *result = fitted;
    }
    return kiln_image_set_text(*result, PICTURE_TEXT_PARAMETERS, text, err);
}

static kiln_status redraw(redrawing *r, kiln_image **out, kiln_error *err)
{
    char *text = NULL;
    kiln_memory_plan memory;
    kiln_status status = redraw_open(r, err);
    if (status == KILN_OK)
        status = redraw_plan(r, &memory, err);
    if (status == KILN_OK)
        status = make_room(r, err);
    if (status == KILN_OK)
        status = enlarge(r, out, err);
    if (status == KILN_OK) {
        r->from = r->factor > 1 ? r->options->picture->picture : (*out)->picture;
        status = control_part_fit(&r->controls, &r->options->draw, r->from->width, r->from->height, err);
    }
    if (status == KILN_OK)
        status = words_encode(&r->words, r->session, &r->options->draw, err);
    if (status == KILN_OK)
        status = draw_tiles(r, &text, err);
    if (status == KILN_OK)
        status = finish(r, (*out)->picture, err);
    if (status == KILN_OK)
        status = fit(r, out, text, err);
    free(text);
    redraw_close(r);
    return status;
}

kiln_status kiln_redraw(kiln_session *s, const kiln_redraw_options *o, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    session_begin(s);
    redrawing r = {.session = s, .options = o};
    model_hash_begin(&s->model->hash);
    kiln_status status = redraw(&r, out, err);
    model_hash_end(&s->model->hash);
    if (status != KILN_OK) {
        kiln_image_free(*out);
        *out = NULL;
    }
    return status;
}
