/* outpaint_walk.c - see outpaint.h. */
#include "pipeline/outpaint.h"

enum { LEFT, RIGHT, UP, DOWN, SIDES };

void outpaint_walk_begin(outpaint_walk *w, const outpaint_plan *plan)
{
    *w = (outpaint_walk){.plan = *plan};
}

/* Pixels still to go on a side. */
static int missing(const outpaint_plan *p, int side)
{
    const mask_box *k = &p->known;
    switch (side) {
    case LEFT:
        return k->x;
    case RIGHT:
        return p->width - k->x - k->width;
    case UP:
        return k->y;
    default:
        return p->height - k->y - k->height;
    }
}

/* The next strip on a side, and the known rectangle with it. */
static void take_strip(outpaint_walk *w, int depth)
{
    mask_box *k = &w->plan.known;
    mask_box s = *k;
    bool across = w->side == LEFT || w->side == RIGHT;
    if (across)
        s.width = depth;
    else
        s.height = depth;
    if (w->side == LEFT)
        s.x = k->x -= depth;
    else if (w->side == RIGHT)
        s.x = k->x + k->width;
    else if (w->side == UP)
        s.y = k->y -= depth;
    else
        s.y = k->y + k->height;
    if (across)
        k->width += depth;
    else
        k->height += depth;
    w->strip = s;
}

static int tiles_along(int length, int window)
{
    int overlap = window / 4;
    return length <= window ? 1 : (length - overlap + window - overlap - 1) / (window - overlap);
}

static int tile_start(int k, int count, int length, int window)
{
    return count == 1 ? 0 : (int)((int64_t)k * (length - window) / (count - 1));
}

static bool next_strip(outpaint_walk *w)
{
    while (w->side < SIDES && missing(&w->plan, w->side) == 0)
        w->side++;
    if (w->side == SIDES)
        return false;
    int depth = missing(&w->plan, w->side);
    take_strip(w, depth < w->plan.step ? depth : w->plan.step);
    w->tile = 0;
    w->tiles = w->side == LEFT || w->side == RIGHT ? tiles_along(w->strip.height, w->plan.window_height)
                                                   : tiles_along(w->strip.width, w->plan.window_width);
    return true;
}

/* Across a strip that goes out to lower places the window begins with the strip; to higher ones it ends with it, moved so that
 * the seam falls on a multiple of the alignment from the window's beginning. */
static void across_strip(const outpaint_walk *w, bool lower, int strip, int depth, int window, int limit,
                         int *start, int *length)
{
    int end = strip + depth;
    *start = lower ? strip : end - window;
    if (!lower && *start > 0)
        *start += (strip - *start) % w->plan.alignment;
    if (*start < 0)
        *start = 0;
    *length = *start + window > limit ? limit - *start : window;
}

bool outpaint_walk_next(outpaint_walk *w, mask_box *window, mask_box *around)
{
    if (w->tile == w->tiles && !next_strip(w))
        return false;
    const outpaint_plan *p = &w->plan;
    const mask_box *s = &w->strip;
    *around = p->known;
    if (w->side == LEFT || w->side == RIGHT) {
        across_strip(w, w->side == LEFT, s->x, s->width, p->window_width, p->width, &window->x,
                     &window->width);
        window->height = s->height < p->window_height ? s->height : p->window_height;
        window->y = s->y + tile_start(w->tile, w->tiles, s->height, window->height);
        around->width -= s->width;
        around->x += w->side == LEFT ? s->width : 0;
    } else {
        across_strip(w, w->side == UP, s->y, s->height, p->window_height, p->height, &window->y,
                     &window->height);
        window->width = s->width < p->window_width ? s->width : p->window_width;
        window->x = s->x + tile_start(w->tile, w->tiles, s->width, window->width);
        around->height -= s->height;
        around->y += w->side == UP ? s->height : 0;
    }
    w->tile++;
    return true;
}

int outpaint_walk_count(const outpaint_plan *plan)
{
    outpaint_walk w;
    mask_box window, around;
    int count = 0;
    for (outpaint_walk_begin(&w, plan); outpaint_walk_next(&w, &window, &around);)
        count++;
    return count;
}
