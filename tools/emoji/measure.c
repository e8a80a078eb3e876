/* measure.c - see measure.h. */
#include "emoji/measure.h"

#include "emoji/colours.h"
#include "emoji/paint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRID = 28,
    REACH = 3, /* shifts of up to this many grid cells */
    WIDE = GRID + 2 * REACH,
    SCALES = 5,
    MIDDLE_SCALE = 2,
    CELLS = GRID * GRID,
    CHANNELS = 5 /* lightness, two colours, two edges */
};

static const float scales[SCALES] = {0.84f, 0.92f, 1, 1.09f, 1.18f};
static const float region = 1.06f;    /* the side of the square over the cell's width */
static const float edge_share = 0.4f; /* of the distance */

struct measure {
    const glyph_set *set;
    uint8_t *
        bank[TINT_COUNT + 1]; /* per tint: [glyph][scale][GRID][GRID] RGBA, premultiplied; made when needed */
};

/* The picture at a place: colours on the wide grid, and the features of each shifted cut of it. */
typedef struct view {
    float ground[3];
    float rgb[WIDE * WIDE][3];
    float feature[2 * REACH + 1][2 * REACH + 1][CHANNELS][CELLS];
    float energy[2 * REACH + 1][2 * REACH + 1][2]; /* of colours, of edges */
} view;

kiln_status measure_new(const glyph_set *set, measure **out, kiln_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail(err, KILN_NO_MEMORY, "not enough memory to measure");
    (*out)->set = set;
    return KILN_OK;
}

void measure_free(measure *m)
{
    if (!m)
        return;
    for (int i = 0; i <= TINT_COUNT; i++)
        free(m->bank[i]);
    free(m);
}

/* ---------------------------------------------------------------------------------- the picture */

static int by_value(const void *a, const void *b)
{
    return (int)*(const uint8_t *)a - (int)*(const uint8_t *)b;
}

void measure_background(const uint8_t *rgb, int width, int height, float ground[3])
{
    size_t room = 4 * ((size_t)width + (size_t)height);
    uint8_t *values = malloc(room);
    for (int c = 0; c < 3; c++) {
        size_t n = 0;
        for (int y = 0; values && y < height; y++)
            for (int x = 0; x < width; x++)
                if ((x < 2 || y < 2 || x >= width - 2 || y >= height - 2) && n < room)
                    values[n++] = rgb[3 * ((size_t)y * (size_t)width + (size_t)x) + (size_t)c];
        if (n)
            qsort(values, n, 1, by_value);
        size_t middle = n / 2;
        ground[c] = n ? (float)values[middle] / 255 : 1;
    }
    free(values);
}

/* Mean colour of a rectangle, by 3x3 samples; outside of the picture is background. */
static void sample(const uint8_t *rgb, int width, int height, float x, float y, float step,
                   const float ground[3], float out[3])
{
    float sum[3] = {0};
    for (int i = 0; i < 9; i++) {
        int column = i % 3, row = i / 3;
        float px = x + step * ((float)column + 0.5f) / 3, py = y + step * ((float)row + 0.5f) / 3;
        int ix = (int)floorf(px), iy = (int)floorf(py);
        bool inside = ix >= 0 && iy >= 0 && ix < width && iy < height;
        const uint8_t *p = inside ? rgb + 3 * ((size_t)iy * (size_t)width + (size_t)ix) : NULL;
        for (int c = 0; c < 3; c++)
            sum[c] += p ? (float)p[c] / 255 : ground[c];
    }
    for (int c = 0; c < 3; c++)
        out[c] = sum[c] / 9;
}

/* Features of a grid of differences from the background. */
static void features(const float *rgb, int stride, float out[CHANNELS][CELLS], float energy[2])
{
    for (int y = 0; y < GRID; y++)
        for (int x = 0; x < GRID; x++) {
            const float *p = rgb + 3 * (y * stride + x);
            int i = y * GRID + x;
            out[0][i] = 0.3f * p[0] + 0.55f * p[1] + 0.15f * p[2];
            out[1][i] = 0.6f * (p[0] - p[1]);
            out[2][i] = 0.4f * (p[2] - 0.5f * (p[0] + p[1]));
        }
    for (int y = 0; y < GRID; y++)
        for (int x = 0; x < GRID; x++) {
            int i = y * GRID + x;
            out[3][i] = x + 1 < GRID ? out[0][i + 1] - out[0][i] : 0;
            out[4][i] = y + 1 < GRID ? out[0][i + GRID] - out[0][i] : 0;
        }
    energy[0] = energy[1] = 0;
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < CELLS; i++)
            energy[c > 2] += out[c][i] * out[c][i];
}

static void look(const uint8_t *rgb, int width, int height, const scene_object *o, view *v)
{
    measure_background(rgb, width, height, v->ground);
    float side = region * o->height * (float)height * GLYPH_WIDTH / GLYPH_HEIGHT, step = side / GRID;
    float left = o->x * (float)width - side / 2 - REACH * step,
          top = o->y * (float)height - side / 2 - REACH * step;
    for (int i = 0; i < WIDE * WIDE; i++) {
        int column = i % WIDE, row = i / WIDE;
        sample(rgb, width, height, left + (float)column * step, top + (float)row * step, step, v->ground,
               v->rgb[i]);
        for (int c = 0; c < 3; c++)
            v->rgb[i][c] -= v->ground[c];
    }
    for (int y = 0; y <= 2 * REACH; y++)
        for (int x = 0; x <= 2 * REACH; x++)
            features(v->rgb[y * WIDE + x], WIDE, v->feature[y][x], v->energy[y][x]);
}

/* --------------------------------------------------------------------------------- the candidates */

static bool draw_small(const glyph *g, float scale, int tint, uint8_t *to)
{
    patch p;
    float height = scale * GRID / region * GLYPH_HEIGHT / GLYPH_WIDTH;
    bool ok = patch_init(&p, g, GRID / 2.0f, GRID / 2.0f, height, tint);
    for (int y = 0; ok && y < p.height; y++)
        for (int x = 0; x < p.width; x++) {
            int gx = p.x + x, gy = p.y + y;
            if (gx < 0 || gy < 0 || gx >= GRID || gy >= GRID)
                continue;
            for (int c = 0; c < 4; c++)
                to[4 * (gy * GRID + gx) + c] =
                    (uint8_t)lrintf(255 * fminf(fmaxf(p.rgba[4 * (y * p.width + x) + c], 0), 1));
        }
    patch_fini(&p);
    return ok;
}

static const uint8_t *bank_entry(const measure *m, int tint, int number, int scale)
{
    return m->bank[tint + 1] + 4 * (size_t)CELLS * ((size_t)number * SCALES + (size_t)scale);
}

static kiln_status need_bank(measure *m, int tint, kiln_error *err)
{
    if (m->bank[tint + 1])
        return KILN_OK;
    uint8_t *bank = calloc((size_t)m->set->count * SCALES * CELLS, 4);
    m->bank[tint + 1] = bank;
    for (int g = 0; bank && g < m->set->count; g++)
        for (int s = 0; s < SCALES; s++) {
            const glyph *item = &m->set->items[g];
            if (!draw_small(item, scales[s], item->recolours ? tint : NO_TINT,
                            (uint8_t *)bank_entry(m, tint, g, s)))
                return fail(err, KILN_NO_MEMORY, "not enough memory for the candidates");
        }
    return bank ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory for the candidates");
}

static void lay(const uint8_t *entry, const float ground[3], float out[CHANNELS][CELLS], float energy[2])
{
    float rgb[CELLS][3];
    for (int i = 0; i < CELLS; i++)
        for (int c = 0; c < 3; c++)
            rgb[i][c] = ((float)entry[4 * i + c] - (float)entry[4 * i + 3] * ground[c]) / 255;
    features(rgb[0], GRID, out, energy);
}

/* Sum of products of two rows of numbers, in eight parts so that it can be done eight at a time. */
static float product(const float *a, const float *b, int count)
{
    float part[8] = {0};
    for (int i = 0; i < count; i += 8)
        for (int k = 0; k < 8; k++)
            part[k] += a[i + k] * b[i + k];
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

static float least(const measure *m, const view *v, int tint, int number, int scale, int stride)
{
    float f[CHANNELS][CELLS], energy[2], best = INFINITY;
    lay(bank_entry(m, tint, number, scale), v->ground, f, energy);
    int start = stride == 1 ? 0 : REACH - stride;
    for (int y = start; y <= 2 * REACH - start; y += stride)
        for (int x = start; x <= 2 * REACH - start; x += stride) {
            float both = product(f[0], v->feature[y][x][0], 3 * CELLS);
            float edges = product(f[3], v->feature[y][x][3], 2 * CELLS);
            const float *seen = v->energy[y][x];
            float colour = 1 - 2 * both / (seen[0] + energy[0] + 1e-3f);
            float edge = 1 - 2 * edges / (seen[1] + energy[1] + 1e-3f);
            best = fminf(best, (1 - edge_share) * colour + edge_share * edge);
        }
    return best;
}

static float least_of_all_scales(const measure *m, const view *v, int tint, int number)
{
    float best = INFINITY;
    for (int s = 0; s < SCALES; s++)
        best = fminf(best, least(m, v, tint, number, s, 1));
    return best;
}

typedef struct candidate {
    float distance;
    int number;
} candidate;

static int by_distance(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->number - y->number;
}

static void rank_all(const measure *m, const view *v, const scene_object *where, candidate *all, int *rank,
                     int *best)
{
    int count = m->set->count, kept = count < MEASURE_KEPT ? count : MEASURE_KEPT, at = -1;
    for (int i = 0; i < count; i++)
        all[i] = (candidate){least(m, v, where->tint, i, MIDDLE_SCALE, 2), i};
    qsort(all, (size_t)count, sizeof *all, by_distance);
    for (int i = 0; i < kept; i++) {
        all[i].distance = least_of_all_scales(m, v, where->tint, all[i].number);
        if (all[i].number == where->glyph)
            at = i;
    }
    *rank = MEASURE_LAST;
    if (at >= 0) {
        *rank = 0;
        for (int i = 0; i < kept; i++)
            *rank += all[i].distance <= all[at].distance;
    }
    qsort(all, (size_t)kept, sizeof *all, by_distance);
    if (best)
        *best = all[0].number;
}

kiln_status measure_rank(measure *m, const uint8_t *rgb, int width, int height, const scene_object *where,
                         int *rank, int *best, kiln_error *err)
{
    kiln_status status = need_bank(m, where->tint, err);
    if (status)
        return status;
    view *v = calloc(1, sizeof *v);
    candidate *all = malloc((size_t)m->set->count * sizeof *all);
    if (v && all) {
        look(rgb, width, height, where, v);
        rank_all(m, v, where, all, rank, best);
    } else {
        status = fail(err, KILN_NO_MEMORY, "not enough memory to measure");
    }
    free(v);
    free(all);
    return status;
}

kiln_status measure_tint(measure *m, const uint8_t *rgb, int width, int height, const scene_object *where,
                         int *tint, kiln_error *err)
{
    view *v = calloc(1, sizeof *v);
    if (!v)
        return fail(err, KILN_NO_MEMORY, "not enough memory to measure");
    look(rgb, width, height, where, v);
    float nearest = INFINITY;
    kiln_status status = KILN_OK;
    for (int t = NO_TINT; !status && t < TINT_COUNT; t++) {
        status = need_bank(m, t, err);
        float d = status ? INFINITY : least_of_all_scales(m, v, t, where->glyph);
        if (d < nearest) {
            nearest = d;
            *tint = t;
        }
    }
    free(v);
    return status;
}
