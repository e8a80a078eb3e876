/* draw.c - kiln_draw: from a prompt, and perhaps a start picture, to pictures, or to their latents. */
#include "pipeline/work.h"

#include "image/image_tensor.h"
#include "image/resize.h"
#include "pipeline/hires.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

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

/* Where the results go: pictures, or their latents. One of the two is NULL. */
typedef struct results {
    kiln_image **pictures;
    kiln_map **latents;
} results;

static void results_clear(const results *r, int count, bool release)
{
    for (int i = 0; i < count; i++) {
        if (r->pictures) {
            if (release)
                kiln_image_free(r->pictures[i]);
            r->pictures[i] = NULL;
        } else {
            if (release)
                kiln_map_free(r->latents[i]);
            r->latents[i] = NULL;
        }
    }
}

/* The latents of picture `index`, all passes done. *out: [C,h,w] of the last, free(). */
static kiln_status latents_of(const passes *p, int index, float **out, kiln_error *err)
{
    float *x = malloc(p->first->n * sizeof *x), *y = p->second ? malloc(p->last->n * sizeof *y) : NULL;
    kiln_status status =
        x && (y || !p->second) ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the latents");
    if (status == KILN_OK)
        status = work_latents(p->first, index, x, err);
    if (status == KILN_OK && p->second)
        status = hires_draw(p->second, p->first, index, x, y, err);
    *out = y ? y : x;
    if (y)
        free(x);
    return status;
}

static kiln_status make_picture(const passes *p, const float *x, kiln_image **out, kiln_error *err)
{
    int width = p->last->request.width, height = p->last->request.height;
    float *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    image *picture = NULL;
    kiln_status status = pixels ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    if (status == KILN_OK)
        status = work_decode(p->last, x, pixels, err);
    if (status == KILN_OK)
        status = image_from_tensor(pixels, width, height, 3, 8, &picture, err);
    free(pixels);
    if (status == KILN_OK)
        status = kiln_image_wrap(picture, out, err);
    return status == KILN_OK ? work_sign(p->first, *out, err) : status;
}

static kiln_status make_map(const passes *p, const float *x, kiln_map **out, kiln_error *err)
{
    const drawing *d = &p->last->drawing;
    kiln_status status = map_new("latents", out, err);
    return status ? status
                  : map_add(*out, "latents",
                            SHAPE4(1, drawing_channels(d->session->model), d->height, d->width), x, err);
}

static kiln_status draw_one(const passes *p, int index, const results *out, kiln_error *err)
{
    float *x;
    kiln_status status = latents_of(p, index, &x, err);
    if (status == KILN_OK)
        status = out->pictures ? make_picture(p, x, &out->pictures[index], err)
                               : make_map(p, x, &out->latents[index], err);
    free(x);
    return status;
}

/* With the requests resolved and found to fit. */
static kiln_status draw_all(const passes *p, const results *out, kiln_error *err)
{
    float *init = NULL;
    kiln_status status = load_init(p->first, &init, err);
    if (status == KILN_OK)
        status = work_prepare(p->first, err);
    if (status == KILN_OK && p->second)
        status = hires_prepare(p->second, p->first, err);
    for (int k = 0; status == KILN_OK && k < p->first->request.options->batch; k++)
        status = draw_one(p, k, out, err);
    free(init);
    return status;
}

static kiln_status draw_passes(work *first, const results *out, kiln_error *err)
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

static kiln_status draw_results(kiln_session *s, const kiln_draw_options *options, const results *out,
                                kiln_error *err)
{
    session_begin(s);
    /* Before the first write to out: as many places as a sane batch has, and no more, are the caller's. */
    kiln_status status = request_check_batch(options, err);
    if (status != KILN_OK)
        return status;
    results_clear(out, options->batch, false);
    work w;
    status = work_open(&w, s, options, (request_kind){.picture = options->init}, err);
    if (status == KILN_OK) {
        if (out->pictures)
            model_hash_begin(&s->model->hash);
        status = draw_passes(&w, out, err);
        if (out->pictures)
            model_hash_end(&s->model->hash);
    }
    if (status != KILN_OK)
        results_clear(out, options->batch, true);
    work_close(&w);
    return status;
}

kiln_status kiln_draw(kiln_session *s, const kiln_draw_options *options, kiln_image **out, kiln_error *err)
{
    return draw_results(s, options, &(results){.pictures = out}, err);
}

kiln_status kiln_draw_latents(kiln_session *s, const kiln_draw_options *options, kiln_map **out,
                              kiln_error *err)
{
    return draw_results(s, options, &(results){.latents = out}, err);
}

int kiln_session_evaluations(const kiln_session *s)
{
    return s->evaluations;
}

kiln_status kiln_draw_solver(kiln_session *s, const kiln_draw_options *options, kiln_solver *out,
                             kiln_error *err)
{
    static const kiln_equation equations[] = {[EQUATION_NONE] = KILN_EQUATION_NONE,
                                              [EQUATION_ODE] = KILN_EQUATION_ODE,
                                              [EQUATION_SDE] = KILN_EQUATION_SDE};
    *out = (kiln_solver){0};
    session_begin(s);
    work w;
    kiln_status status = work_open(&w, s, options, (request_kind){.picture = options->init}, err);
    if (status == KILN_OK) {
        const sampler_plan *solver = w.request.sampler;
        *out = (kiln_solver){.sampler = sampler_plan_name(solver),
                             .schedule = sampler_plan_curve(solver),
                             .equation = equations[sampler_plan_equation(solver, w.request.guided)],
                             .adaptive = solver->adaptive};
    }
    work_close(&w);
    return status;
}
