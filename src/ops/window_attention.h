/* window_attention.h - where the tokens of a window lie, shared by the kernels of window attention. */
#ifndef KILN_OPS_WINDOW_ATTENTION_H
#define KILN_OPS_WINDOW_ATTENTION_H

#include "graph/attributes.h"

/* A map [N,H,W,C] cut into windows. */
typedef struct window_map {
    int64_t H, W, C;
    int height, width, shift_y, shift_x, heads;
    int64_t rows, columns; /* of windows */
} window_map;

static inline window_map window_map_of(shape map, const window_attention_attributes *p)
{
    return (window_map){.H = map.dim[1],
                        .W = map.dim[2],
                        .C = map.dim[3],
                        .height = p->height,
                        .width = p->width,
                        .shift_y = p->shift_y,
                        .shift_x = p->shift_x,
                        .heads = p->heads,
                        .rows = map.dim[1] / p->height,
                        .columns = map.dim[2] / p->width};
}

static inline int window_tokens(const window_map *m)
{
    return m->height * m->width;
}

/* The position, in pixels of its sample, of token t of window w. */
static inline int64_t window_position(const window_map *m, int64_t w, int t)
{
    int64_t y = w / m->columns * m->height + t / m->width + m->shift_y;
    int64_t x = w % m->columns * m->width + t % m->width + m->shift_x;
    return (y >= m->H ? y - m->H : y) * m->W + (x >= m->W ? x - m->W : x);
}

/* Tokens of one window see each other fully when they come from the same region: rolling brought the map's first rows
 * (columns) behind its last ones. */
static inline int window_region(const window_map *m, int64_t w, int t)
{
    int64_t y = w / m->columns * m->height + t / m->width, x = w % m->columns * m->width + t % m->width;
    return (m->shift_y && y >= m->H - m->shift_y ? 2 : 0) + (m->shift_x && x >= m->W - m->shift_x ? 1 : 0);
}

/* Does the window hold more than one region? */
static inline bool window_is_mixed(const window_map *m, int64_t w)
{
    return (m->shift_y && w / m->columns == m->rows - 1) || (m->shift_x && w % m->columns == m->columns - 1);
}

/* The row of the bias table for query t and key s. */
static inline int window_bias_row(const window_map *m, int t, int s)
{
    int down = t / m->width - s / m->width, right = t % m->width - s % m->width;
    return (down + m->height - 1) * (2 * m->width - 1) + right + m->width - 1;
}

/* Added to the scores of tokens from different regions, as the published models have it: not minus infinity. */
#define WINDOW_MASK (-100.0)

#endif
