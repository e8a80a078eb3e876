/* outpaint_open.c - an outpainting's options checked, its words encoded once for all windows, its canvas planned. */
#include "pipeline/outpaint_parts.h"

#include "pipeline/autoencode.h"
#include "pipeline/image_api.h"

#include <string.h>

kiln_outpaint_options kiln_outpaint_defaults(void)
{
    kiln_outpaint_options o = {.draw = kiln_draw_defaults(),
                               .fill = "noise",
                               .variation = 0.05,
                               .feather = 32,
                               .repeat = 1,
                               .match_colour = true};
    o.draw.strength = 0.9;
    return o;
}

/* ------------------------------------------------------------------------------------ targets */

/* How much of what is added goes to the lower end: 0, a half (rounded down) or all. */
static bool read_anchor(const char *anchor, int added_width, int added_height, int *left, int *up)
{
    static const struct {
        const char *name;
        int x, y; /* halves of what is added that lie left and above */
    } anchors[] = {{"center", 1, 1},    {"left", 0, 1},        {"right", 2, 1},
                   {"top", 1, 0},       {"bottom", 1, 2},      {"top-left", 0, 0},
                   {"top-right", 2, 0}, {"bottom-left", 0, 2}, {"bottom-right", 2, 2}};
    for (size_t i = 0; i < sizeof anchors / sizeof *anchors; i++)
        if (strcmp(anchor ? anchor : "center", anchors[i].name) == 0) {
            *left = anchors[i].x == 2 ? added_width : added_width * anchors[i].x / 2;
            *up = anchors[i].y == 2 ? added_height : added_height * anchors[i].y / 2;
            return true;
        }
    return false;
}

kiln_status kiln_outpaint_to(kiln_outpaint_options *o, int width, int height, int to_width, int to_height,
                             bool proportions, const char *anchor, kiln_error *err)
{
    if (width < 1 || height < 1 || to_width < 1 || to_height < 1 || width > IMAGE_MAX_SIDE ||
        height > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "a picture of %dx%d cannot become %d %s %d", width, height,
                    to_width, proportions ? "to" : "by", to_height);
    int64_t new_width = to_width, new_height = to_height;
    if (proportions) {
        new_width = width;
        new_height = height;
        if ((int64_t)width * to_height < (int64_t)height * to_width)
            new_width = ((int64_t)height * to_width + to_height - 1) / to_height;
        else
            new_height = ((int64_t)width * to_height + to_width - 1) / to_width;
    }
    if (new_width < width || new_height < height)
        return fail(err, KILN_BAD_ARGUMENT, "a picture of %dx%d does not fit into %lldx%lld", width, height,
                    (long long)new_width, (long long)new_height);
    if (new_width > IMAGE_MAX_SIDE || new_height > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "%lldx%lld is too large: %d pixels a side at most",
                    (long long)new_width, (long long)new_height, IMAGE_MAX_SIDE);
    int added_width = (int)new_width - width, added_height = (int)new_height - height;
    if (!read_anchor(anchor, added_width, added_height, &o->left, &o->up))
        return fail(err, KILN_BAD_ARGUMENT,
                    "the anchor is center, left, right, top, bottom, top-left, top-right, bottom-left or "
                    "bottom-right, not \"%s\"",
                    anchor);
    o->right = added_width - o->left;
    o->down = added_height - o->up;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ checks */

static kiln_status check_fill(const char *fill, kiln_error *err)
{
    static const char *const fills[] = {"edge", "mirror", "blurred", "noise", "latent noise"};
    for (size_t i = 0; fill && i < sizeof fills / sizeof *fills; i++)
        if (strcmp(fill, fills[i]) == 0)
            return KILN_OK;
    return fail(err, KILN_BAD_ARGUMENT,
                "the fill is \"edge\", \"mirror\", \"blurred\", \"noise\" or \"latent noise\", not \"%s\"",
                fill ? fill : "");
}

static kiln_status check(const kiln_outpaint_options *o, kiln_error *err)
{
    const struct {
        const char *name;
        double given, low, high;
    } numbers[] = {
        {"left", o->left, 0, IMAGE_MAX_SIDE}, {"right", o->right, 0, IMAGE_MAX_SIDE},
        {"up", o->up, 0, IMAGE_MAX_SIDE},     {"down", o->down, 0, IMAGE_MAX_SIDE},
        {"variation", o->variation, 0, 1},    {"feather", o->feather, 0, 1024},
        {"step", o->step, 0, IMAGE_MAX_SIDE}, {"repeat", o->repeat, 1, 1000},
    };
    kiln_status status = check_fill(o->fill, err);
    for (size_t i = 0; status == KILN_OK && i < sizeof numbers / sizeof *numbers; i++)
        status =
            request_check_number(numbers[i].name, numbers[i].given, numbers[i].low, numbers[i].high, err);
    if (status != KILN_OK)
        return status;
    if (!o->picture)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to go on from");
    if (!o->left && !o->right && !o->up && !o->down)
        return fail(err, KILN_BAD_ARGUMENT, "nothing is to be added: left, right, up and down are 0");
    int64_t width = kiln_image_width(o->picture) + (int64_t)o->repeat * (o->left + o->right),
            height = kiln_image_height(o->picture) + (int64_t)o->repeat * (o->up + o->down);
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "a canvas of %lldx%lld is too large", (long long)width,
                    (long long)height);
    return KILN_OK;
}

kiln_status outpaint_make_plan(outpainting *p, const image *picture, kiln_error *err)
{
    const kiln_outpaint_options *o = p->options;
    const kiln_model *m = p->session->model;
    int own_width, own_height, f = autoencode_factor(m), step = kiln_model_size_step(m);
    kiln_model_size(m, &own_width, &own_height);
    p->plan = (outpaint_plan){.width = picture->width + o->left + o->right,
                              .height = picture->height + o->up + o->down,
                              .known = {o->left, o->up, picture->width, picture->height},
                              .window_width = o->draw.width ? o->draw.width : own_width,
                              .window_height = o->draw.height ? o->draw.height : own_height,
                              .alignment = f};
    if (p->plan.window_width < 2 * step || p->plan.window_height < 2 * step || p->plan.window_width % step ||
        p->plan.window_height % step)
        return fail(err, KILN_BAD_ARGUMENT, "a window's sides are multiples of %d from %d on, not %dx%d",
                    step, 2 * step, p->plan.window_width, p->plan.window_height);
    int least = p->plan.window_width < p->plan.window_height ? p->plan.window_width : p->plan.window_height;
    p->plan.step = o->step ? o->step : least / 2;
    /* Something known has to be in the window, and whole latents are drawn. */
    int most = least - f;
    p->plan.step = p->plan.step > most ? most : p->plan.step;
    p->plan.step = p->plan.step < f ? f : p->plan.step / f * f;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ words */

kiln_status outpaint_open(outpainting *p, kiln_error *err)
{
    const kiln_draw_options *o = &p->options->draw;
    kiln_status status = check(p->options, err);
    if (status == KILN_OK)
        status = outpaint_make_plan(p, p->options->picture->picture, err);
    if (status == KILN_OK)
        status = kiln_outpaint_plan(p->session, p->options, &(kiln_memory_plan){0}, err);
    p->progress = o->progress;
    p->progress_self = o->user;
    return status == KILN_OK ? words_encode(&p->words, p->session, o, err) : status;
}

void outpaint_close(outpainting *p)
{
    words_close(&p->words);
}

kiln_status kiln_outpaint_plan(kiln_session *s, const kiln_outpaint_options *o, kiln_memory_plan *out,
                               kiln_error *err)
{
    *out = (kiln_memory_plan){0};
    session_begin(s);
    outpainting p = {.session = s, .options = o};
    request r = {0};
    kiln_status status = check(o, err);
    if (status == KILN_OK)
        status = outpaint_make_plan(&p, o->picture->picture, err);
    if (status != KILN_OK)
        return status;
    kiln_draw_options draw = o->draw;
    draw.width = p.plan.window_width;
    draw.height = p.plan.window_height;
    status = request_resolve(s, &draw, (request_kind){.picture = true, .mask = true}, &r, err);
    if (status == KILN_OK)
        status = request_plan_memory(s, &r, err);
    *out = r.memory;
    request_fini(&r);
    return status;
}
