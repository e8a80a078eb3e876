/* draw.c - kiln_draw: from a prompt, and perhaps a start picture, to pictures. */
#include "pipeline/work.h"

#include "image/image_tensor.h"
#include "image/resize.h"
#include "pipeline/hires.h"
#include "pipeline/image_api.h"

#include <stdlib.h>

/* The start picture at the size of the drawing. */
static kiln_status load_init(work *w, float **out, kiln_error *err)
{
    const kiln_image *from = w->request.options->init;
    if (!from)
        return KILN_OK;
    int width = w->request.width, height = w->request.height;
    image *resized = NULL;
    kiln_status status = KILN_OK;
    if (from->picture->width != width || from->picture->height != height)
        status = image_resize(from->picture, width, height, RESIZE_LANCZOS, &resized, err);
    *out = malloc((size_t)width * (size_t)height * 3 * sizeof(float));
    if (status == KILN_OK && !*out)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the start picture");
    if (status == KILN_OK)
        image_to_tensor(resized ? resized : from->picture, *out);
    image_free(resized);
    w->source.picture = *out;
    return status;
}

/* A drawing of one pass, or of two: `second` is NULL or open. */
typedef struct passes {
    work *first;
    hires *second;
    work *last; /* whichever gives the picture */
} passes;

static kiln_status draw_one(const passes *p, int index, kiln_image **out, kiln_error *err)
{
    int width = p->last->request.width, height = p->last->request.height;
    float *x = malloc(p->first->n * sizeof *x), *y = malloc(p->last->n * sizeof *y),
          *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    image *picture = NULL;
    kiln_status status =
        x && y && pixels ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    if (status == KILN_OK)
        status = work_latents(p->first, index, x, err);
    if (status == KILN_OK && p->second)
        status = hires_draw(p->second, p->first, index, x, y, err);
    if (status == KILN_OK)
        status = work_decode(p->last, p->second ? y : x, pixels, err);
    if (status == KILN_OK)
        status = image_from_tensor(pixels, width, height, 3, 8, &picture, err);
    free(x);
    free(y);
    free(pixels);
    if (status == KILN_OK)
        status = kiln_image_wrap(picture, out, err);
    return status == KILN_OK ? work_sign(p->first, *out, err) : status;
}

/* With the requests resolved and found to fit. */
static kiln_status draw_all(const passes *p, kiln_image **out, kiln_error *err)
{
    float *init = NULL;
    kiln_status status = load_init(p->first, &init, err);
    if (status == KILN_OK)
        status = work_prepare(p->first, err);
    if (status == KILN_OK && p->second)
        status = hires_prepare(p->second, p->first, err);
    for (int k = 0; status == KILN_OK && k < p->first->request.options->batch; k++)
        status = draw_one(p, k, &out[k], err);
    free(init);
    return status;
}

static kiln_status draw_passes(work *first, kiln_image **out, kiln_error *err)
{
    const kiln_draw_options *o = first->request.options;
    if (!hires_wanted(o))
        return draw_all(&(passes){first, NULL, first}, out, err);
    hires second;
    first->request.add_fields = hires_add_fields;
    first->request.add_self = o;
    kiln_status status = hires_open(&second, first, err);
    if (status == KILN_OK)
        status = draw_all(&(passes){first, &second, &second.work}, out, err);
    hires_close(&second);
    return status;
}

kiln_status kiln_draw(kiln_session *s, const kiln_draw_options *options, kiln_image **out, kiln_error *err)
{
    session_begin(s);
    /* Before the first write to out: as many places as a sane batch has, and no more, are the caller's. */
    kiln_status status = request_check_batch(options, err);
    if (status != KILN_OK)
        return status;
    for (int i = 0; i < options->batch; i++)
        out[i] = NULL;
    work w;
    status = work_open(&w, s, options, (request_kind){.picture = options->init}, err);
    if (status == KILN_OK) {
        model_hash_begin(&s->model->hash);
        status = draw_passes(&w, out, err);
        model_hash_end(&s->model->hash);
    }
    for (int i = 0; status != KILN_OK && i < options->batch; i++) {
        kiln_image_free(out[i]);
        out[i] = NULL;
    }
    work_close(&w);
    return status;
}
